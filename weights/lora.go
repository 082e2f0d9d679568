package weights

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// isAdapted reports whether modules of a parameter-efficient training wrap the
// layers: micro-sam's, or CellSeg1's.
func isAdapted(tensors map[string]*Tensor) bool {
	return anyName(tensors, ".qkv.qkv_proj.", ".w_a_linear_", ".w_b_linear_", "_FacTs.", ".FacTu.", ".FacTv.",
		".qkv.layer.", ".proj.layer.", ".lin1.layer.", ".mlp_proj.", ".down_proj.", ".absmax", ".quant_state.", ".quant_map",
		".qkv.linear_a_", ".qkv.linear_b_", "_proj.w_a.", "_proj.w_b.")
}

// mergeAdapters folds adapters into the weights that they adapt, and gives all
// tensors the names that they have without. It returns which layout this was.
func mergeAdapters(in map[string]*Tensor) (map[string]*Tensor, Layout, error) {
	if anyName(in, ".absmax", ".quant_state.", ".quant_map") {
		return nil, 0, errors.New("a micro-sam model with quantized weights (QLoRA): export it with micro-sam's export_custom_qlora_model")
	}
	layout := LoRA
	if anyName(in, "_FacTs.", ".layer.", ".mlp_proj.", ".linear_a_", "_proj.w_a.") {
		layout = Adapters
	}
	out, err := mergeScales(in)
	if err == nil {
		out, err = mergeAdaptFormer(out)
	}
	if err == nil {
		out, err = mergeLowRank(out)
	}
	return out, layout, err
}

// Names of low-rank adapters and of the layers that they wrap.
var (
	// micro-sam's LoRA: a weight, A or B, and rows or layer.
	loraMatrix = regexp.MustCompile(`^(.*\.(?:attn\.qkv|mlp))\.w_([ab])_linear_([qkv12])\.weight$`)
	// CellSeg1's (SAMed's), in the encoder and in the decoder.
	samedMatrix   = regexp.MustCompile(`^(.*\.attn\.qkv)\.linear_([ab])_([qv])\.weight$`)
	samedDecoder  = regexp.MustCompile(`^(mask_decoder\.transformer\..*\.[qkv]_proj)\.w_([ab])\.weight$`)
	samedOriginal = regexp.MustCompile(`^(mask_decoder\.transformer\..*\.[qkv]_proj)\.proj\.(.*)$`)
	// micro-sam's FacT, which has B in two parts.
	factMatrix = regexp.MustCompile(`^(.*\.attn\.qkv)\.(q_FacTs|v_FacTs|FacTu|FacTv)\.weight$`)

	loraBase = regexp.MustCompile(`^(.*\.attn\.qkv)\.(?:qkv_proj|qkv)\.(.*)$`)
	loraMLP  = regexp.MustCompile(`^(.*\.mlp)\.mlp_layer\.(.*)$`)
)

// site is where an adapter goes: the weight, and q, k or v of a joint
// projection, 1 or 2 of a perceptron, or all.
type site struct{ weight, part string }

// mergeLowRank folds low-rank adapters into the weights that they adapt:
// W += B·A, or B·M·A, on the rows of q, k and v for the joint projection.
//
// Source: micro_sam/models/peft_sam.py, AttentionLoRA, MLPLoRA, where the factor
// alpha is 1, and FacTSurgery, whose dropout is one of training (3acdcd72);
// peft/sam_lora_image_encoder_mask_decoder.py (cellseg1 9437fb6).
func mergeLowRank(in map[string]*Tensor) (map[string]*Tensor, error) {
	out := make(map[string]*Tensor, len(in))
	adapters := map[site]*lowRank{}
	at := func(weight, part string) *lowRank {
		s := site{weight, part}
		if adapters[s] == nil {
			adapters[s] = &lowRank{}
		}
		return adapters[s]
	}
	for _, old := range slices.Sorted(maps.Keys(in)) {
		name, t := old, in[old]
		if m := loraMatrix.FindStringSubmatch(old); m != nil {
			weight := m[1] + ".weight"
			if m[3] == "1" || m[3] == "2" {
				weight = m[1] + ".lin" + m[3] + ".weight"
			}
			at(weight, m[3]).set(m[2], t)
			continue
		} else if m := samedMatrix.FindStringSubmatch(old); m != nil {
			at(m[1]+".weight", m[3]).set(m[2], t)
			continue
		} else if m := samedDecoder.FindStringSubmatch(old); m != nil {
			at(m[1]+".weight", "all").set(m[2], t)
			continue
		} else if m := factMatrix.FindStringSubmatch(old); m != nil {
			for _, part := range []string{"q", "v"} {
				p := at(m[1]+".weight", part)
				p.three = true
				switch m[2] {
				case "FacTu":
					p.a = t
				case "FacTv":
					p.b = t
				case part + "_FacTs":
					p.mid = t
				}
			}
			continue
		}
		for _, wrapped := range []*regexp.Regexp{loraBase, loraMLP, samedOriginal} {
			if m := wrapped.FindStringSubmatch(old); m != nil {
				name = m[1] + "." + m[2]
				break
			}
		}
		if _, ok := out[name]; ok {
			return nil, fmt.Errorf("two tensors named %s", name)
		}
		t.Name = name
		out[name] = t
	}
	sites := slices.SortedFunc(maps.Keys(adapters), func(a, b site) int {
		return cmp.Or(cmp.Compare(a.weight, b.weight), cmp.Compare(a.part, b.part))
	})
	for _, s := range sites {
		p := adapters[s]
		base, ok := out[s.weight]
		if !ok {
			return nil, fmt.Errorf("a low-rank adapter of %s, which is not in the file", s.weight)
		}
		if strings.HasSuffix(s.weight, ".attn.qkv.weight") != strings.Contains("qkv", s.part) {
			return nil, fmt.Errorf("a low-rank adapter %q of %s: unknown", s.part, s.weight)
		}
		m, ok := base.src.(*merged)
		if !ok {
			m = &merged{base: base.src, shape: base.Shape}
			out[s.weight] = &Tensor{Name: base.Name, Shape: base.Shape, DType: base.DType, src: m}
		}
		if err := m.add(s.part, p); err != nil {
			return nil, fmt.Errorf("%s: low-rank adapter %s: %w", s.weight, s.part, err)
		}
	}
	for _, t := range out {
		if m, ok := t.src.(*merged); ok {
			slices.SortFunc(m.parts, func(a, b *lowRank) int { return a.row - b.row })
		}
	}
	return out, nil
}

// merged is a weight [N, K] with low-rank matrices added to some of its rows.
type merged struct {
	base  source
	shape []int
	parts []*lowRank
}

// lowRank is B·A or B·M·A, added to the rows from row on: A [R, K], M [R, R],
// B [rows, R].
type lowRank struct {
	row       int
	a, mid, b *Tensor
	three     bool // M belongs to it
}

func (p *lowRank) set(matrix string, t *Tensor) {
	if matrix == "a" {
		p.a = t
	} else {
		p.b = t
	}
}

// add checks the shapes of an adapter.
func (m *merged) add(part string, p *lowRank) error {
	a, b := p.a, p.b
	if a == nil || b == nil || p.three && p.mid == nil {
		return fmt.Errorf("one of its matrices is %w", ErrMissing)
	}
	if len(m.shape) != 2 || len(a.Shape) != 2 || len(b.Shape) != 2 {
		return fmt.Errorf("shapes %v and %v for a weight %v: %w", a.Shape, b.Shape, m.shape, ErrShape)
	}
	rows := m.shape[0]
	if i := strings.Index("qkv", part); i >= 0 {
		rows /= 3
		p.row = i * rows
	}
	rank := a.Shape[0]
	if rank != b.Shape[1] || a.Shape[1] != m.shape[1] || b.Shape[0] != rows || rank > rows || rank > m.shape[1] {
		return fmt.Errorf("shapes %v and %v for a weight %v: %w", a.Shape, b.Shape, m.shape, ErrShape)
	}
	if p.three && !slices.Equal(p.mid.Shape, []int{rank, rank}) {
		return fmt.Errorf("shapes %v, %v and %v for a weight %v: %w", a.Shape, p.mid.Shape, b.Shape, m.shape, ErrShape)
	}
	m.parts = append(m.parts, p)
	return nil
}

// left returns B, or B·M, in float64.
func (p *lowRank) left() ([]float64, error) {
	b, err := p.b.values()
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(b))
	if !p.three {
		for i, v := range b {
			out[i] = float64(v)
		}
		return out, nil
	}
	mid, err := p.mid.values()
	if err != nil {
		return nil, err
	}
	rank := p.a.Shape[0]
	for i, v := range b {
		row := out[i/rank*rank:][:rank]
		for r, w := range mid[i%rank*rank:][:rank] {
			row[r] += float64(v) * float64(w)
		}
	}
	return out, nil
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
		b, err := p.left()
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
					line[j] += s * float64(v)
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
		if p.three {
			p.mid.Release()
		}
	}
}
