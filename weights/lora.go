package weights

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// isAdapted reports whether modules of micro-sam's parameter-efficient training
// wrap the encoder's layers.
func isAdapted(tensors map[string]*Tensor) bool {
	return anyName(tensors, ".qkv.qkv_proj.", ".w_a_linear_", ".w_b_linear_", "_FacTs.", ".FacTu.", ".FacTv.",
		".qkv.layer.", ".mlp_proj.", ".down_proj.", ".absmax", ".quant_state.", ".quant_map")
}

// refuseAdapters names the variants that are not low-rank adaptation.
func refuseAdapters(tensors map[string]*Tensor) error {
	const mend = "only LoRA is merged: export the model without adapters"
	switch {
	case anyName(tensors, "_FacTs.", ".FacTu.", ".FacTv."):
		return errors.New("a micro-sam model with FacT adapters: " + mend)
	case anyName(tensors, ".qkv.layer."):
		return errors.New("a micro-sam model with SSF (scale and shift) layers: " + mend)
	case anyName(tensors, ".mlp_proj.", ".down_proj."):
		return errors.New("a micro-sam model with AdaptFormer adapters: " + mend)
	case anyName(tensors, ".absmax", ".quant_state.", ".quant_map"):
		return errors.New("a micro-sam model with quantized weights (QLoRA): export it with micro-sam's export_custom_qlora_model")
	}
	return nil
}

var (
	loraMatrix = regexp.MustCompile(`^(.*\.(?:attn\.qkv|mlp))\.w_([ab])_linear_([qkv12])\.weight$`)
	loraBase   = regexp.MustCompile(`^(.*\.attn\.qkv)\.qkv_proj\.(.*)$`)
	loraMLP    = regexp.MustCompile(`^(.*\.mlp)\.mlp_layer\.(.*)$`)
)

// mergeLoRA folds low-rank adapters into the weights that they adapt:
// W += B·A, on the rows of q, k and v for the joint projection.
//
// Source: micro_sam/models/peft_sam.py, AttentionLoRA and MLPLoRA (3acdcd72),
// where the factor alpha is 1.
func mergeLoRA(in map[string]*Tensor) (map[string]*Tensor, error) {
	if err := refuseAdapters(in); err != nil {
		return nil, err
	}
	out := make(map[string]*Tensor, len(in))
	type site struct{ weight, part string } // of the adapted weight
	adapters := map[site][2]*Tensor{}       // A and B
	for _, old := range slices.Sorted(maps.Keys(in)) {
		name := old
		if m := loraMatrix.FindStringSubmatch(old); m != nil {
			weight := m[1] + ".weight"
			if m[3] == "1" || m[3] == "2" {
				weight = m[1] + ".lin" + m[3] + ".weight"
			}
			s := site{weight, m[3]}
			ab := adapters[s]
			ab[m[2][0]-'a'] = in[old]
			adapters[s] = ab
			continue
		} else if m := loraBase.FindStringSubmatch(old); m != nil {
			name = m[1] + "." + m[2]
		} else if m := loraMLP.FindStringSubmatch(old); m != nil {
			name = m[1] + "." + m[2]
		}
		if _, ok := out[name]; ok {
			return nil, fmt.Errorf("two tensors named %s", name)
		}
		in[old].Name = name
		out[name] = in[old]
	}
	for s, ab := range adapters {
		base, ok := out[s.weight]
		if !ok {
			return nil, fmt.Errorf("a LoRA adapter of %s, which is not in the file", s.weight)
		}
		if strings.HasSuffix(s.weight, ".attn.qkv.weight") != strings.Contains("qkv", s.part) {
			return nil, fmt.Errorf("a LoRA adapter %q of %s: unknown", s.part, s.weight)
		}
		m, ok := base.src.(*merged)
		if !ok {
			m = &merged{base: base.src, shape: base.Shape}
			out[s.weight] = &Tensor{Name: base.Name, Shape: base.Shape, DType: base.DType, src: m}
		}
		if err := m.add(s.part, ab[0], ab[1]); err != nil {
			return nil, fmt.Errorf("%s: LoRA adapter %s: %w", s.weight, s.part, err)
		}
	}
	for _, t := range out {
		if m, ok := t.src.(*merged); ok {
			slices.SortFunc(m.parts, func(a, b lowRank) int { return a.row - b.row })
		}
	}
	return out, nil
}

// merged is a weight [N, K] with low-rank matrices added to some of its rows.
type merged struct {
	base  source
	shape []int
	parts []lowRank
}

// lowRank is B·A, added to the rows from row on: A [R, K], B [rows, R].
type lowRank struct {
	row  int
	a, b *Tensor
}

// add checks the shapes of an adapter.
func (m *merged) add(part string, a, b *Tensor) error {
	if a == nil || b == nil {
		return fmt.Errorf("one of its two matrices is %w", ErrMissing)
	}
	if len(m.shape) != 2 || len(a.Shape) != 2 || len(b.Shape) != 2 {
		return fmt.Errorf("shapes %v and %v for a weight %v: %w", a.Shape, b.Shape, m.shape, ErrShape)
	}
	rows, row := m.shape[0], 0
	if i := strings.Index("qkv", part); i >= 0 {
		rows /= 3
		row = i * rows
	}
	rank := a.Shape[0]
	if rank != b.Shape[1] || a.Shape[1] != m.shape[1] || b.Shape[0] != rows || rank > rows || rank > m.shape[1] {
		return fmt.Errorf("shapes %v and %v for a weight %v: %w", a.Shape, b.Shape, m.shape, ErrShape)
	}
	m.parts = append(m.parts, lowRank{row, a, b})
	return nil
}

// float32s returns the sum. It is added up in float64 and rounded once, so that
// the order of the adapters does not matter.
func (m *merged) float32s() ([]float32, error) {
	base, err := m.base.float32s()
	if err != nil {
		return nil, err
	}
	dst := slices.Clone(base)
	k := m.shape[1]
	line := make([]float64, k)
	for _, p := range m.parts {
		a, err := p.a.values()
		if err != nil {
			return nil, err
		}
		b, err := p.b.values()
		if err != nil {
			return nil, err
		}
		rank := p.a.Shape[0]
		for i := range p.b.Shape[0] {
			row := dst[(p.row+i)*k:][:k]
			for j, v := range row {
				line[j] = float64(v)
			}
			for r, s := range b[i*rank:][:rank] {
				for j, v := range a[r*k:][:k] {
					line[j] += float64(s) * float64(v)
				}
			}
			for j, v := range line {
				row[j] = float32(v)
			}
		}
	}
	return dst, nil
}

func (m *merged) release() {
	m.base.release()
	for _, p := range m.parts {
		p.a.Release()
		p.b.Release()
	}
}
