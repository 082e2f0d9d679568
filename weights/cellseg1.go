package weights

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// OpenCellSeg1 reads a file of CellSeg1's adapters, in the encoder and in the
// mask decoder, and returns the model that it makes of base, the SAM that was
// adapted. CellSeg1 trains with pictures of 512 pixels and does not write that
// into the file: imageSize is the side of the pictures that the model is to
// see. If base has another, its positions are interpolated, as CellSeg1 does.
//
// base must stay open as long as the result is used, which is closed by itself.
// Errors wrap ErrFormat.
//
// Source: peft/sam_lora_image_encoder_mask_decoder.py, load_lora_parameters;
// segment_anything/build_sam.py, load_from (cellseg1 9437fb6).
func OpenCellSeg1(base *Checkpoint, path string, imageSize int) (*Checkpoint, error) {
	return openFile(path, func(tensors map[string]*Tensor, _ map[string]string, file *mapping) (*Checkpoint, error) {
		out, err := resized(base, imageSize)
		if err != nil {
			return nil, err
		}
		if err := addCellSeg1(out, tensors); err != nil {
			return nil, err
		}
		if out, err = mergeLowRank(out); err != nil {
			return nil, err
		}
		return newCheckpoint(out, Adapters, file), nil
	})
}

// cellSeg1Name matches the names in a file of adapters: which layers', A or B,
// and a number, which counts q and v of each layer.
var cellSeg1Name = regexp.MustCompile(`^(w|sa|cti|cit)_([ab])_(\d{3})$`)

// cellSeg1Final are the adapters of the last attention.
var cellSeg1Final = map[string]string{
	"fati_qa": "q_proj.w_a", "fati_qb": "q_proj.w_b", "fati_va": "v_proj.w_a", "fati_vb": "v_proj.w_b",
}

// addCellSeg1 adds the tensors of a file of adapters to a model's, under the
// names that they have in the model that was trained.
func addCellSeg1(model, adapters map[string]*Tensor) error {
	found := 0
	for _, old := range slices.Sorted(maps.Keys(adapters)) {
		t, name := adapters[old], ""
		m := cellSeg1Name.FindStringSubmatch(old)
		switch {
		case m != nil:
			n, _ := strconv.Atoi(m[3])
			layer, part := strconv.Itoa(n/2), [2]string{"q", "v"}[n%2]
			if m[1] == "w" {
				name = "image_encoder.blocks." + layer + ".attn.qkv.linear_" + m[2] + "_" + part + ".weight"
				found++
				break
			}
			attention := map[string]string{"sa": "self_attn", "cti": "cross_attn_token_to_image", "cit": "cross_attn_image_to_token"}[m[1]]
			name = "mask_decoder.transformer.layers." + layer + "." + attention + "." + part + "_proj.w_" + m[2] + ".weight"
		case cellSeg1Final[old] != "":
			name = "mask_decoder.transformer.final_attn_token_to_image." + cellSeg1Final[old] + ".weight"
		case strings.HasPrefix(old, "prompt_encoder.") || strings.HasPrefix(old, "mask_decoder."):
			// Those that were trained as a whole.
			before := model[old]
			if before == nil || !slices.Equal(before.Shape, t.Shape) {
				return fmt.Errorf("%s: shape %v, which the model does not have: these adapters are of another one", old, t.Shape)
			}
			model[old] = t
			continue
		default:
			return fmt.Errorf("%.80q: no adapter of CellSeg1", old)
		}
		t.Name = name
		model[name] = t
	}
	if found == 0 {
		return errors.New("no adapters of CellSeg1, whose names are w_a_000 and so on")
	}
	depth := 0
	for model["image_encoder.blocks."+strconv.Itoa(depth)+".attn.qkv.weight"] != nil {
		depth++
	}
	if found != 4*depth {
		return fmt.Errorf("%d adapters of encoder blocks, want %d for the %d blocks of the model: they are of another one", found, 4*depth, depth)
	}
	return nil
}

// resized returns the tensors of a SAM for pictures of another side: tables of
// positions are interpolated between their first and their last entries.
func resized(c *Checkpoint, side int) (map[string]*Tensor, error) {
	out := make(map[string]*Tensor, len(c.tensors))
	for name, t := range c.tensors {
		out[name] = &Tensor{Name: name, Shape: t.Shape, DType: t.DType, src: t.src}
	}
	pos, patch := out["image_encoder.pos_embed"], out["image_encoder.patch_embed.proj.weight"]
	if pos == nil || patch == nil || len(pos.Shape) != 4 || pos.Shape[1] != pos.Shape[2] || len(patch.Shape) != 4 || patch.Shape[2] < 1 {
		return nil, errors.New("the model to adapt is no SAM with a ViT")
	}
	const maxGrid = 1 << 10
	if side < 1 || side%patch.Shape[2] != 0 || side/patch.Shape[2] > maxGrid {
		return nil, fmt.Errorf("pictures of %d pixels, want a multiple of the patch's %d, %d times it at most", side, patch.Shape[2], maxGrid)
	}
	from, to := pos.Shape[1], side/patch.Shape[2]
	if from == to {
		return out, nil
	}
	c1 := pos.Shape[3]
	pos.src = stretched{pos.src, from, to, from, to, c1}
	pos.Shape = []int{pos.Shape[0], to, to, c1}
	for name, t := range out {
		if global := len(t.Shape) == 2 && t.Shape[0] == 2*from-1; global && (strings.HasSuffix(name, ".attn.rel_pos_h") || strings.HasSuffix(name, ".attn.rel_pos_w")) {
			t.src = stretched{t.src, 2*from - 1, 2*to - 1, 1, 1, t.Shape[1]}
			t.Shape = []int{2*to - 1, t.Shape[1]}
		}
	}
	return out, nil
}

// stretched is a map [h, w, c] brought to [toH, toW, c]: the corners stay what
// they are.
type stretched struct {
	of             source
	h, toH, w, toW int
	c              int
}

// float32s is torch's interpolate(mode="bilinear", align_corners=True), in
// float32.
func (s stretched) float32s() ([]float32, error) {
	x, err := s.of.float32s()
	if err != nil {
		return nil, err
	}
	if len(x) != s.h*s.w*s.c {
		return nil, fmt.Errorf("%d values, want %d", len(x), s.h*s.w*s.c)
	}
	at := func(i, n, to int) (lo, hi int, t float32) {
		if to < 2 {
			return 0, 0, 0
		}
		v := float32(n-1) / float32(to-1) * float32(i)
		lo = min(int(v), n-1)
		return lo, min(lo+1, n-1), v - float32(lo)
	}
	out := make([]float32, 0, s.toH*s.toW*s.c)
	for i := range s.toH {
		y0, y1, ty := at(i, s.h, s.toH)
		for j := range s.toW {
			x0, x1, tx := at(j, s.w, s.toW)
			for k := range s.c {
				v := func(y, u int) float32 { return x[(y*s.w+u)*s.c+k] }
				top := float32((1-tx)*v(y0, x0)) + float32(tx*v(y0, x1))
				bottom := float32((1-tx)*v(y1, x0)) + float32(tx*v(y1, x1))
				out = append(out, float32((1-ty)*top)+float32(ty*bottom))
			}
		}
	}
	return out, nil
}

func (s stretched) release() { s.of.release() }
