package train

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/weights"
)

// Adapters are low-rank matrices on the queries and the values of the image
// encoder's last blocks (LoRA). Everything else of the encoder stays as it is.
//
// Source: Hu et al. 2021; micro_sam/models/peft_sam.py, AttentionLoRA.
type Adapters struct {
	enc   *vit.Encoder
	first int             // block
	pairs []*graph.Weight // for each block: A and B of the queries, A and B of the values
}

// NewAdapters returns adapters of that rank for the encoder's last blocks. A
// is drawn as torch draws a linear layer's weight, B is zero, so that the
// encoder is the same at first.
func NewAdapters(enc *vit.Encoder, blocks, rank int, seed uint64) (*Adapters, error) {
	c := enc.Config()
	inner := c.Heads * c.HeadDim
	if blocks < 1 || blocks > c.Depth || rank < 1 || rank > min(inner, c.Width) {
		return nil, fmt.Errorf("train: adapters of rank %d for %d blocks: want a rank of 1 to %d and 1 to %d blocks", rank, blocks, min(inner, c.Width), c.Depth)
	}
	a := &Adapters{enc: enc, first: c.Depth - blocks}
	rng := rand.New(rand.NewPCG(seed, 0x10a4))
	for i := a.first; i < c.Depth; i++ {
		for _, part := range []string{"q", "v"} {
			name := func(side string) string {
				return fmt.Sprintf("image_encoder.blocks.%d.attn.qkv.w_%s_linear_%s.weight", i, side, part)
			}
			draw := make([]float32, rank*c.Width)
			bound := 1 / math.Sqrt(float64(c.Width)) // kaiming_uniform_ with a = √5
			for j := range draw {
				draw[j] = float32((2*rng.Float64() - 1) * bound)
			}
			a.pairs = append(a.pairs, filled(name("a"), draw, rank, c.Width), filled(name("b"), make([]float32, inner*rank), inner, rank))
		}
	}
	return a, nil
}

// Adapt returns adapters for the last blocks of a ViT, or all if it has fewer,
// and the compiled part of it before them, [Adapters.Head]. It returns an error
// for another encoder.
func Adapt(encoder interface{ Name() string }, blocks, rank int, seed uint64) (*Adapters, graph.Program, error) {
	enc, ok := encoder.(*vit.Encoder)
	if !ok {
		return nil, nil, fmt.Errorf("low-rank adapters of an encoder %q: only those of %q have them", encoder.Name(), "vit")
	}
	a, err := NewAdapters(enc, min(blocks, enc.Config().Depth), rank, seed)
	if err != nil {
		return nil, nil, err
	}
	head, err := a.Head()
	return a, head, err
}

// filled is a weight of these values.
func filled(name string, data []float32, shape ...int) *graph.Weight {
	return graph.NewWeight(name, shape, func(use func([]float32)) error { use(data); return nil })
}

// Blocks is how many blocks have adapters.
func (a *Adapters) Blocks() int { return len(a.pairs) / 4 }

// Weights are the matrices.
func (a *Adapters) Weights() []*graph.Weight { return slices.Clone(a.pairs) }

// Apply makes the adapted weights what the encoder reads that is added to b
// afterwards.
func (a *Adapters) Apply(b *graph.Builder) {
	c := a.enc.Config()
	for i := range a.Blocks() {
		w := a.enc.QKV(a.first + i)
		in := []*G.Node{b.Weight(w)}
		for _, p := range a.pairs[4*i : 4*i+4] {
			in = append(in, b.Weight(p))
		}
		if n := b.Apply(op.LowRank{First: []int{0, 2 * c.Heads * c.HeadDim}}, in...); n != nil {
			b.Replace(w, n)
		}
	}
}

// hidden is the name of the input of the first block with adapters.
const hidden = "hidden"

// Tail adds the encoder from the first block with adapters on and returns its
// input, [Grid*Grid, Width], and the embedding.
func (a *Adapters) Tail(b *graph.Builder) (in, out *G.Node) {
	c := a.enc.Config()
	a.Apply(b)
	in = b.Input(hidden, c.Grid()*c.Grid(), c.Width)
	return in, a.enc.BuildFrom(b, a.first, in)
}

// Head compiles the part of the encoder before the adapters, which no training
// changes. Its input is [vit.Picture].
func (a *Adapters) Head() (graph.Program, error) {
	b := graph.NewBuilder()
	return cpu.Compile(b, graph.CompileOptions{}, a.enc.BuildTo(b, a.first))
}

// Merged returns the adapted weights by their checkpoint names, for values of
// the matrices in the order of Weights.
func (a *Adapters) Merged(values [][]float32) (map[string]weights.TensorData, error) {
	c := a.enc.Config()
	inner := c.Heads * c.HeadDim
	out := map[string]weights.TensorData{}
	for i := range a.Blocks() {
		w := a.enc.QKV(a.first + i)
		data, err := w.Values()
		if err != nil {
			return nil, fmt.Errorf("train: merge: %w", err)
		}
		for k, row := range []int{0, 2 * inner} {
			am, bm := values[4*i+2*k], values[4*i+2*k+1]
			rank := len(am) / c.Width
			// As package weights merges: added up in float64, rounded once.
			for r := range inner {
				dst := data[(row+r)*c.Width:][:c.Width]
				for j, v := range dst {
					sum := float64(v)
					for q := range rank {
						sum += float64(bm[r*rank+q]) * float64(am[q*c.Width+j])
					}
					dst[j] = float32(sum)
				}
			}
		}
		out[w.Name()] = weights.TensorData{Shape: w.Shape(), Data: data}
	}
	return out, nil
}

// tail is the compiled end of the encoder, with its gradient.
type tail struct {
	*Adapters
	program *cpu.Program
	slope   []float32 // of the embedding of the view in hand
}

// compile compiles the tail with the values that the adapters are bound to.
func (a *Adapters) compile(values [][]float32) (*tail, error) {
	b := graph.NewBuilder()
	names := map[string]bool{}
	for _, w := range a.pairs {
		names[w.Name()] = true
	}
	b.Variables(func(name string) bool { return names[name] })
	_, out := a.Tail(b)
	var wrt []*G.Node
	for _, w := range a.pairs {
		wrt = append(wrt, b.Weight(w))
	}
	slopes := b.Backward(op.Sum{}, []*G.Node{out}, []*G.Node{b.Input("slope", out.Shape()...)}, wrt)
	p, err := cpu.Compile(b, graph.CompileOptions{}, append([]*G.Node{out}, slopes...)...)
	if err != nil {
		return nil, fmt.Errorf("train: build: %w", err)
	}
	for i, w := range a.pairs {
		if err := p.Bind(w.Name(), values[i]); err != nil {
			return nil, fmt.Errorf("train: build: %w", err)
		}
	}
	return &tail{Adapters: a, program: p, slope: p.Input("slope")}, nil
}

// embed computes and returns the embedding of a view.
func (t *tail) embed(ctx context.Context, in []float32) ([]float32, error) {
	if err := t.program.Bind(hidden, in); err != nil {
		return nil, err
	}
	if err := t.program.RunFirst(ctx); err != nil {
		return nil, err
	}
	clear(t.slope)
	return t.program.Output(0), nil
}

// learn adds the gradients of the matrices for the slope of the embedding
// that embed gave last.
func (t *tail) learn(ctx context.Context, grads [][]float32) error {
	if err := t.program.RunRest(ctx); err != nil {
		return err
	}
	for i := range t.pairs {
		kernel.Add(grads[i], grads[i], t.program.Output(1+i))
	}
	return nil
}
