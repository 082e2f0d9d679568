// Package layer makes bound weights the leaves of graphs and adds the layers
// that the networks share.
//
//	var s layer.Set
//	lin := s.Linear(&p.Lin1W, &p.Lin1B)
//	norm := s.Norm(&p.Norm1W, &p.Norm1B, 1e-6)
//	y := lin.Apply(b, norm.Apply(b, x))
package layer

import (
	"errors"

	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/weights"
)

// Set is the weights of a network. Nothing is read before a backend asks.
type Set struct{ all []*graph.Weight }

// Weight returns a bound parameter as a leaf of graphs.
func (s *Set) Weight(p *weights.Param) *graph.Weight {
	w := graph.NewWeight(p.Name(), p.Shape, p.Use)
	s.Add(w)
	return w
}

// Add takes weights that are made of several parameters.
func (s *Set) Add(ws ...*graph.Weight) { s.all = append(s.all, ws...) }

// All are the weights, in the order in which they were taken.
func (s *Set) All() []*graph.Weight { return s.all }

// Bytes is the memory that the weights take in the backends' forms.
func (s *Set) Bytes() int64 {
	var n int64
	for _, w := range s.all {
		n += w.Bytes()
	}
	return n
}

// Detach lets go of the checkpoint, which is closed afterwards.
func (s *Set) Detach() error {
	var errs []error
	for _, w := range s.all {
		errs = append(errs, w.Detach())
	}
	return errors.Join(errs...)
}

// Linear is a linear layer or a convolution.
type Linear struct {
	W, B *graph.Weight // B is nil without a bias
}

// Linear takes a weight and a bias or nil.
func (s *Set) Linear(w, b *weights.Param) Linear {
	l := Linear{W: s.Weight(w)}
	if b != nil {
		l.B = s.Weight(b)
	}
	return l
}

// Apply adds x·wᵀ + bias to the graph.
func (l Linear) Apply(b *graph.Builder, x *G.Node) *G.Node { return l.apply(b, op.Linear{}, x) }

// Conv adds the convolution of x to the graph.
func (l Linear) Conv(b *graph.Builder, c op.Conv, x *G.Node) *G.Node { return l.apply(b, c, x) }

func (l Linear) apply(b *graph.Builder, o graph.Op, x *G.Node) *G.Node {
	in := []*G.Node{x, b.Weight(l.W)}
	if l.B != nil {
		in = append(in, b.Weight(l.B))
	}
	return b.Apply(o, in...)
}

// Norm is a layer norm over the channels of a row.
type Norm struct {
	Gamma, Beta *graph.Weight
	Eps         float32
}

// Norm takes the layer norm's scale and shift.
func (s *Set) Norm(w, b *weights.Param, eps float32) Norm {
	return Norm{s.Weight(w), s.Weight(b), eps}
}

// Apply adds the layer norm of x to the graph.
func (n Norm) Apply(b *graph.Builder, x *G.Node) *G.Node {
	return b.Apply(op.LayerNorm{Eps: n.Eps}, x, b.Weight(n.Gamma), b.Weight(n.Beta))
}
