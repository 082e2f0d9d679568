package golden

import "fmt"

// Config is the shape of a reference model, in segment_anything's terms.
type Config struct {
	ImgSize      int   `json:"img_size"` // side of the encoder's input
	Patch        int   // side of a patch
	Width        int   // embed_dim
	Depth        int   // encoder blocks
	Heads        int   // encoder heads
	MLPRatio     int   `json:"mlp_ratio"` // encoder MLP width over Width
	Window       int   // side of an attention window
	Globals      []int // blocks with global attention
	Prompt       int   // prompt width, out_chans, transformer_dim
	DecoderDepth int   `json:"decoder_depth"` // layers of the two-way transformer
	DecoderHeads int   `json:"decoder_heads"`
	DecoderMLP   int   `json:"decoder_mlp"`
	MaskChans    int   `json:"mask_chans"` // mask_in_chans
	IoUDepth     int   `json:"iou_depth"`  // layers of the IoU head
	IoUHidden    int   `json:"iou_hidden"`
}

// Grid returns the side of the embedding in tokens.
func (c Config) Grid() int { return c.ImgSize / c.Patch }

// Model is a model of segment_anything with counter-based weights, and what it
// made of some pictures. Its tensors are read on demand.
type Model struct {
	Name     string `json:"model"`
	What     string
	Seed     uint64 // of the weights
	Config   Config
	Pictures []*Run

	// Differences are the largest distances from segment_anything that were
	// measured when an "hf_" model was made, by what makes them.
	Differences map[string]float64

	file *File
}

// Run is what a model made of one counter-based picture: the stages of its
// encoder and its prompts.
type Run struct {
	Size    Size   // of the picture
	Input   Size   // after the resize, before padding
	Seed    uint64 // PictureRGB(Size, Seed)
	Prompts []*Prompt

	file *File
	key  string
}

// Prompt is one prompt in pixels of the picture, and what the model said.
type Prompt struct {
	Name     string
	Points   [][2]float64
	Labels   []int // 1 foreground, 0 background
	Box      *[4]float64
	MaskSeed *uint64 `json:"mask_seed"` // the mask prompt is MaskLogits(4*Grid, MaskSeed)
	Feed     string  // the mask prompt is the logits of the earlier prompt of this name
	FeedMask int     `json:"feed_mask"` // which of its four
	Area     [4]int  // pixels above 0 of each full-size mask

	file *File
	key  string
}

// LoadModel reads the reference model name, such as "small_a" or "full_b".
func LoadModel(name string) (*Model, error) {
	f, err := Load(name)
	if err != nil {
		return nil, err
	}
	m := &Model{file: f}
	if err := f.Meta(m); err != nil {
		return nil, err
	}
	for i, p := range m.Pictures {
		p.file, p.key = f, fmt.Sprintf("p%d", i)
		for j, q := range p.Prompts {
			q.file, q.key = f, fmt.Sprintf("p%d/q%d", i, j)
			if len(q.Points) != len(q.Labels) {
				return nil, fmt.Errorf("golden: read %s: prompt %q: %d points, %d labels", name, q.Name, len(q.Points), len(q.Labels))
			}
		}
	}
	return m, nil
}

// DensePE returns the prompt encoder's positional encoding of the grid,
// [C, H, W].
func (m *Model) DensePE() (*Tensor[float32], error) { return m.file.Float32s("dense_pe") }

// Has tells whether the picture has a stage. All have "embedding", the first
// picture of a model has all stages that its configuration has.
func (p *Run) Has(stage string) bool { return p.file.Has(p.key + "/" + stage) }

// Stage returns what a stage of the image encoder put out:
//
//   - "patch": patch embedding plus position embedding, [H, W, C]
//   - "window_block": after the first block with windows, [H, W, C]
//   - "global_block": after the first block with global attention, [H, W, C]
//   - "embedding": after the neck, [C, H, W]
func (p *Run) Stage(stage string) (*Tensor[float32], error) {
	return p.file.Float32s(p.key + "/" + stage)
}

// Has tells whether the prompt has a stage. All have "lowres", "iou" and
// "logits", prompts of the first picture have all stages.
func (q *Prompt) Has(stage string) bool { return q.file.Has(q.key + "/" + stage) }

// Stage returns what a stage of the prompt encoder or of the mask decoder put
// out. T is 1 + 4 + the number of sparse embeddings, G the grid.
//
//   - "sparse": sparse prompt embeddings, [N, C]
//   - "dense": dense prompt embedding, [C, G, G]; only with a mask prompt
//   - "mask_input": the mask fed back, [4G, 4G]; only if small
//   - "tokens": tokens after the two-way transformer, [T, C]
//   - "image_tokens": the image side of it, [G*G, C]
//   - "upscaled": upscaled features, [C/8, 4G, 4G]
//   - "lowres": low-resolution logits, [4, 4G, 4G]
//   - "iou": predicted IoU, [4]
//   - "logits": logits at the picture's size, [4, H, W]
//
// In the last three, index 0 is what multimask_output=False gives, 1 to 3 what
// multimask_output=True gives.
//
// Models named "hf_" have only these three, and "shipped_lowres" and
// "shipped_iou", see HFCheckpoint.
func (q *Prompt) Stage(stage string) (*Tensor[float32], error) {
	return q.file.Float32s(q.key + "/" + stage)
}

// Masks returns the four binary masks at the picture's size, logits > 0, in
// the order of "logits".
func (q *Prompt) Masks() (*Masks, error) { return q.file.Masks(q.key + "/masks") }

// HFCheckpoint returns a checkpoint file, .safetensors, in Hugging Face's
// layout, as SamModel.save_pretrained wrote it: the weights of the reference
// model "hf_small".
//
// That model's stages are SamModel's outputs with its differences from
// segment_anything taken away: the picture resized by Pillow, the eps of the
// decoder's layer norms 1e-5, coordinates in float32. Stages and masks named
// "shipped_" are what SamImageProcessor and SamModel give as they come: the
// picture resized by torchvision, eps 1e-6, coordinates in float64. The result
// must not be modified.
func HFCheckpoint() ([]byte, error) {
	b, err := files.ReadFile("testdata/hf_small.safetensors")
	if err != nil {
		return nil, fmt.Errorf("golden: load hf_small.safetensors: %w; %s", err, rebuild("hf_small"))
	}
	return b, nil
}

// ShippedMasks returns the binary masks that Hugging Face gives as it comes.
func (q *Prompt) ShippedMasks() (*Masks, error) { return q.file.Masks(q.key + "/shipped_masks") }
