package weights

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// mergeScales folds the scales and shifts of micro-sam's SSF training into the
// layers before them: with a scale s and a shift t, weight and bias of each
// output become s*weight and s*bias + t. A layer X is kept as X.layer, beside
// X.scale and X.shift.
//
// Source: micro_sam/models/peft_sam.py, ScaleShiftLayer (3acdcd72).
func mergeScales(in map[string]*Tensor) (map[string]*Tensor, error) {
	out := make(map[string]*Tensor, len(in))
	layers := map[string]bool{}
	for name := range in {
		if at, _, ok := strings.Cut(name, ".layer."); ok && strings.HasPrefix(name, "image_encoder.") {
			layers[at] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		t, key := in[name], name
		if at, rest, ok := strings.Cut(name, ".layer."); ok && layers[at] {
			scale, shift := in[at+".scale"], in[at+".shift"]
			if scale == nil || shift == nil {
				return nil, fmt.Errorf("%s.layer: its scale or its shift is %w", at, ErrMissing)
			}
			if rest != "weight" && rest != "bias" {
				return nil, fmt.Errorf("%s: no part of a layer with a scale", name)
			}
			if len(t.Shape) == 0 || !slices.Equal(scale.Shape, t.Shape[:1]) || !slices.Equal(shift.Shape, t.Shape[:1]) {
				return nil, fmt.Errorf("%s: shape %v with scale %v and shift %v: %w", name, t.Shape, scale.Shape, shift.Shape, ErrShape)
			}
			key = at + "." + rest
			s := scaled{x: t, scale: scale}
			if rest == "bias" {
				s.shift = shift
			}
			t = &Tensor{Name: key, Shape: t.Shape, DType: t.DType, src: s}
		} else if at, ok := strings.CutSuffix(name, ".scale"); ok && layers[at] {
			continue
		} else if at, ok := strings.CutSuffix(name, ".shift"); ok && layers[at] {
			continue
		}
		if _, ok := out[key]; ok {
			return nil, fmt.Errorf("two tensors named %s", key)
		}
		out[key] = t
	}
	for at := range layers {
		if out[at+".bias"] == nil {
			return nil, fmt.Errorf("%s.layer.bias, which takes up the shift, is %w", at, ErrMissing)
		}
	}
	return out, nil
}

// scaled is x [N, ...] times scale [N], plus shift [N] if there is one, rounded
// once.
type scaled struct{ x, scale, shift *Tensor }

func (s scaled) float32s() ([]float32, error) {
	x, err := s.x.values()
	if err != nil {
		return nil, err
	}
	scale, err := s.scale.values()
	if err != nil {
		return nil, err
	}
	var shift []float32
	if s.shift != nil {
		if shift, err = s.shift.values(); err != nil {
			return nil, err
		}
	}
	out := make([]float32, len(x))
	n := len(x) / max(len(scale), 1)
	for i, v := range x {
		y := float64(float64(v) * float64(scale[i/n]))
		if shift != nil {
			y += float64(shift[i/n])
		}
		out[i] = float32(y)
	}
	return out, nil
}

func (s scaled) release() {
	s.x.Release()
	s.scale.Release()
	if s.shift != nil {
		s.shift.Release()
	}
}

// mergeAdaptFormer gives the perceptrons that AdaptFormer wraps their plain
// names, and multiplies its factor alpha into its upward projection. What is
// left of it, mlp.adapter.down and mlp.adapter.up, is a branch of the encoder's
// block.
//
// Source: micro_sam/models/peft_sam.py, AdaptFormer (3acdcd72).
func mergeAdaptFormer(in map[string]*Tensor) (map[string]*Tensor, error) {
	out := make(map[string]*Tensor, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		t, key := in[name], adaptFormer.Replace(name)
		if at, ok := strings.CutSuffix(name, ".mlp.alpha"); ok && in[at+".mlp.up_proj.weight"] != nil {
			continue
		}
		at, ok := strings.CutSuffix(name, ".mlp.up_proj.weight")
		if !ok {
			at, ok = strings.CutSuffix(name, ".mlp.up_proj.bias")
		}
		if ok {
			alpha := in[at+".mlp.alpha"]
			if alpha == nil {
				return nil, fmt.Errorf("%s.mlp: an AdaptFormer adapter whose factor alpha is fixed, and not in the file: train with alpha \"learnable_scalar\"", at)
			}
			if !slices.Equal(alpha.Shape, []int{1}) {
				return nil, fmt.Errorf("%s.mlp.alpha: shape %v, want [1]: %w", at, alpha.Shape, ErrShape)
			}
			t = &Tensor{Name: key, Shape: t.Shape, DType: t.DType, src: multiple{t, alpha}}
		}
		if _, ok := out[key]; ok {
			return nil, fmt.Errorf("two tensors named %s", key)
		}
		t.Name = key
		out[key] = t
	}
	return out, nil
}

// adaptFormer gives names to what AdaptFormer adds that no other layer has.
var adaptFormer = strings.NewReplacer(".mlp.mlp_proj.", ".mlp.", ".mlp.down_proj.", ".mlp.adapter.down.", ".mlp.up_proj.", ".mlp.adapter.up.")

// multiple is x times a scalar.
type multiple struct{ x, by *Tensor }

func (m multiple) float32s() ([]float32, error) {
	x, err := m.x.values()
	if err != nil {
		return nil, err
	}
	by, err := m.by.values()
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = v * by[0]
	}
	return out, nil
}

func (m multiple) release() {
	m.x.Release()
	m.by.Release()
}
