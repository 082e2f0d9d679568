// Package layer reads bound weights into the form in which graphs use them
// and adds the layers that the three networks share.
//
//	var r layer.Reader
//	lin := r.Linear(&p.Lin1W, &p.Lin1B)
//	norm := r.Norm(&p.Norm1W, &p.Norm1B, 1e-6)
//	if err := r.Err(); err != nil { ... }
//	y := lin.Apply(b, "lin1", norm.Apply(b, "norm1", x), kernel.ActGELU, nil)
package layer

import (
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/weights"
)

// Reader reads weights. Its first error sticks; after it, Reader returns
// empty layers.
type Reader struct {
	err error
	// Bytes counts what the layers read so far hold.
	Bytes int64
}

// Err is the first error so far.
func (r *Reader) Err() error { return r.err }

// Join adds what another reader read to r: its bytes and its error.
func (r *Reader) Join(o *Reader) {
	r.Bytes += o.Bytes
	if r.err == nil {
		r.err = o.err
	}
}

// Array returns a copy of the weight's values.
func (r *Reader) Array(p *weights.Param) []float32 {
	var out []float32
	r.Use(p, func(v []float32) { out = append([]float32(nil), v...) })
	r.Bytes += int64(4 * len(out))
	return out
}

// Use calls f with the weight's values, which f must not keep.
func (r *Reader) Use(p *weights.Param, f func([]float32)) {
	if r.err != nil {
		return
	}
	v, err := p.Float32s()
	if err != nil {
		r.err = err
		return
	}
	f(v)
	p.Release()
}

// Pack packs an [n, k] matrix and returns its packed form.
func (r *Reader) Pack(w []float32, n, k int) []float32 {
	d := kernel.Pack(w, n, k).Data()
	r.Bytes += int64(4 * len(d))
	return d
}

// Linear is a linear layer, or a 1 x 1 convolution.
type Linear struct {
	N, K int
	W    []float32 // packed
	B    []float32 // nil: no bias
}

// Linear reads a weight [N, K, ...] whose further sizes count to K, and a
// bias [N] or nil.
func (r *Reader) Linear(w, b *weights.Param) Linear {
	l := Linear{N: w.Shape[0], K: 1}
	for _, d := range w.Shape[1:] {
		l.K *= d
	}
	r.Use(w, func(v []float32) { l.W = r.Pack(v, l.N, l.K) })
	if b != nil {
		l.B = r.Array(b)
	}
	return l
}

// Conv reads the weights of a convolution whose stride is its size,
// [N, C, size, size], as a linear layer over patches in (y, x, channel)
// order.
func (r *Reader) Conv(w, b *weights.Param) Linear {
	n, c, size := w.Shape[0], w.Shape[1], w.Shape[2]
	l := Linear{N: n, K: c * size * size}
	r.Use(w, func(v []float32) { l.W = r.Pack(ChannelsLast(v, n, c, size), l.N, l.K) })
	if b != nil {
		l.B = r.Array(b)
	}
	return l
}

// ChannelsLast reorders convolution weights [out, in, size, size] to
// [out, size, size, in].
func ChannelsLast(w []float32, out, in, size int) []float32 {
	d := make([]float32, len(w))
	for o := 0; o < out; o++ {
		for i := 0; i < in; i++ {
			for k := 0; k < size*size; k++ {
				d[(o*size*size+k)*in+i] = w[(o*in+i)*size*size+k]
			}
		}
	}
	return d
}

// Apply adds act(x·wᵀ + bias) + add to the graph; add may be nil, and its
// rows may repeat.
func (l Linear) Apply(b *graph.Builder, name string, x *G.Node, act kernel.Act, add *G.Node) *G.Node {
	in := []*G.Node{x, b.Weight(name+".weight", l.W, len(l.W))}
	if l.B != nil {
		in = append(in, b.Weight(name+".bias", l.B, len(l.B)))
	}
	if add != nil {
		in = append(in, add)
	}
	return b.Apply(op.Linear{N: l.N, K: l.K, Act: act, Bias: l.B != nil, Add: add != nil}, in...)
}

// Norm is a layer norm over the channels of a row.
type Norm struct {
	Gamma, Beta []float32
	Eps         float32
}

// Norm reads the layer norm's scale and shift.
func (r *Reader) Norm(w, b *weights.Param, eps float32) Norm {
	return Norm{r.Array(w), r.Array(b), eps}
}

// Apply adds the layer norm of x to the graph.
func (n Norm) Apply(b *graph.Builder, name string, x *G.Node) *G.Node {
	return n.apply(b, name, x, op.LayerNorm{Eps: n.Eps})
}

// ApplyGELU adds the GELU of the layer norm of x to the graph.
func (n Norm) ApplyGELU(b *graph.Builder, name string, x *G.Node) *G.Node {
	return n.apply(b, name, x, op.LayerNorm{Eps: n.Eps, GELU: true})
}

func (n Norm) apply(b *graph.Builder, name string, x *G.Node, k op.LayerNorm) *G.Node {
	return b.Apply(k, x, b.Weight(name+".weight", n.Gamma, len(n.Gamma)), b.Weight(name+".bias", n.Beta, len(n.Beta)))
}
