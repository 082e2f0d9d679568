package weights

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// isHuggingFace reports whether names are those of SamModel in transformers.
func isHuggingFace(tensors map[string]*Tensor) bool {
	return anyName(tensors, ".vision_encoder.", ".prompt_encoder.shared_embedding.", ".mask_decoder.upscale_conv1.")
}

// hfNames turn Hugging Face's names into Meta's. All are applied, in order.
//
// Source: transformers, convert_sam_to_hf.py, replace_keys, read backwards.
var hfNames = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`^vision_encoder\.layers\.`), "image_encoder.blocks."},
	{regexp.MustCompile(`^vision_encoder\.patch_embed\.projection\.`), "image_encoder.patch_embed.proj."},
	{regexp.MustCompile(`^vision_encoder\.neck\.conv1\.`), "image_encoder.neck.0."},
	{regexp.MustCompile(`^vision_encoder\.neck\.layer_norm1\.`), "image_encoder.neck.1."},
	{regexp.MustCompile(`^vision_encoder\.neck\.conv2\.`), "image_encoder.neck.2."},
	{regexp.MustCompile(`^vision_encoder\.neck\.layer_norm2\.`), "image_encoder.neck.3."},
	{regexp.MustCompile(`^vision_encoder\.`), "image_encoder."},
	{regexp.MustCompile(`^(image_encoder\.blocks\.\d+|mask_decoder\.transformer\.layers\.\d+)\.layer_norm(\d)\.`), "$1.norm$2."},
	{regexp.MustCompile(`^mask_decoder\.transformer\.layer_norm_final_attn\.`), "mask_decoder.transformer.norm_final_attn."},
	{regexp.MustCompile(`^mask_decoder\.upscale_conv1\.`), "mask_decoder.output_upscaling.0."},
	{regexp.MustCompile(`^mask_decoder\.upscale_layer_norm\.`), "mask_decoder.output_upscaling.1."},
	{regexp.MustCompile(`^mask_decoder\.upscale_conv2\.`), "mask_decoder.output_upscaling.3."},
	{regexp.MustCompile(`^prompt_encoder\.mask_embed\.conv1\.`), "prompt_encoder.mask_downscaling.0."},
	{regexp.MustCompile(`^prompt_encoder\.mask_embed\.layer_norm1\.`), "prompt_encoder.mask_downscaling.1."},
	{regexp.MustCompile(`^prompt_encoder\.mask_embed\.conv2\.`), "prompt_encoder.mask_downscaling.3."},
	{regexp.MustCompile(`^prompt_encoder\.mask_embed\.layer_norm2\.`), "prompt_encoder.mask_downscaling.4."},
	{regexp.MustCompile(`^prompt_encoder\.mask_embed\.conv3\.`), "prompt_encoder.mask_downscaling.6."},
	{regexp.MustCompile(`^prompt_encoder\.point_embed\.`), "prompt_encoder.point_embeddings."},
	{regexp.MustCompile(`^prompt_encoder\.shared_embedding\.positional_embedding$`), gaussian},
}

const (
	gaussian      = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
	hfImageMatrix = "shared_image_embedding.positional_embedding"
)

// hfMLP matches the parts of a feed-forward head: proj_in, layers.N, proj_out.
var hfMLP = regexp.MustCompile(`^(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d+))\.(proj_in|proj_out|layers\.(\d+))\.(weight|bias)$`)

// fromHuggingFace renames the tensors of a SamModel.
func fromHuggingFace(in map[string]*Tensor) (map[string]*Tensor, error) {
	hidden := map[string]int{} // the number of layers.N of each head
	for name := range in {
		if m := hfMLP.FindStringSubmatch(name); m != nil && m[3] != "" {
			n, err := strconv.Atoi(m[3])
			if err != nil || n > len(in) {
				return nil, fmt.Errorf("%.80q: no such layer", name)
			}
			hidden[m[1]] = max(hidden[m[1]], n+1)
		}
	}
	out := make(map[string]*Tensor, len(in))
	for _, old := range slices.Sorted(maps.Keys(in)) {
		if old == hfImageMatrix {
			continue
		}
		t := in[old]
		name := hfName(old, hidden)
		if _, ok := out[name]; ok {
			return nil, fmt.Errorf("two tensors named %s", name)
		}
		t.Name = name
		out[name] = t
	}
	// The matrix is stored once or twice, depending on the version.
	image := in[hfImageMatrix]
	if prompt := out[gaussian]; prompt == nil && image != nil {
		image.Name = gaussian
		out[gaussian] = image
	} else if prompt != nil && image != nil {
		if err := sameValues(prompt, image); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func hfName(name string, hidden map[string]int) string {
	if m := hfMLP.FindStringSubmatch(name); m != nil {
		n := 0
		switch {
		case m[3] != "":
			n, _ = strconv.Atoi(m[3])
			n++
		case m[2] == "proj_out":
			n = hidden[m[1]] + 1
		}
		return fmt.Sprintf("%s.layers.%d.%s", m[1], n, m[4])
	}
	for _, r := range hfNames {
		if r.re.MatchString(name) {
			name = r.re.ReplaceAllString(name, r.with)
		}
	}
	return name
}

// sameValues makes sure that Hugging Face's two copies of the position
// encoding's matrix agree: Meta's model has but one.
func sameValues(a, b *Tensor) error {
	if a.Len() != b.Len() || a.Len() > 1<<20 {
		return fmt.Errorf("%s and %s: shapes %v and %v differ", a.Name, b.Name, a.Shape, b.Shape)
	}
	x, err := a.src.float32s()
	if err != nil {
		return fmt.Errorf("%s: %w", a.Name, err)
	}
	y, err := b.src.float32s()
	if err != nil {
		return fmt.Errorf("%s: %w", b.Name, err)
	}
	for i := range x {
		if x[i] != y[i] && !(x[i] != x[i] && y[i] != y[i]) {
			return fmt.Errorf("%s and %s differ at element %d: a SAM has but one", strings.TrimPrefix(a.Name, "prompt_encoder."), b.Name, i)
		}
	}
	return nil
}
