// Package weights reads, names, binds and converts Segment Anything
// checkpoints.
//
// Open reads the file formats that checkpoints come in (.pth/.pt, .safetensors
// and .npz) without running anything that is in them, and gives every tensor
// the name it has in Meta's own files, such as
// image_encoder.blocks.0.attn.qkv.weight, whoever wrote the file: Meta,
// micro-sam's trainer, MedSAM's, or Hugging Face; see Layout. Other models and
// other files are refused by name. Tensors are float32, row-major; they alias
// the mapped file where its bytes allow it.
//
//	c, err := weights.Open("sam_vit_b_01ec64.pth")
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	var net struct {
//		Encoder *vit.Params `weight:"image_encoder"`
//	}
//	...
//	err = weights.Bind(c, &net)
//
// Bind is strict: every missing, unexpected and ill-shaped tensor is reported,
// all in one error. Convert writes any readable file as .safetensors, .npz or
// .pth, Save a checkpoint in memory. Random makes weights from a seed, alike in
// Go and in Python. Fingerprint tells whether two checkpoints are the same.
package weights
