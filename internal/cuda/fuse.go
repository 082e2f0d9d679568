//go:build gpu && cgo && linux

package cuda

import (
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
)

// step is what one kernel computes: a node, or a product, convolution or norm
// together with the activation and the sum that follow it.
type step struct {
	op   graph.Op // of the first node
	node int      // whose result the step makes: the last one
	in   []int    // nodes that are the inputs of op
	act  int      // activation
	add  int      // node that is added to the result, or -1
}

// reads are all nodes that the step reads, the one added last.
func (s step) reads() []int {
	if s.add < 0 {
		return s.in
	}
	return append(s.in[:len(s.in):len(s.in)], s.add)
}

// inPlace is the index among the step's reads of what its result may overwrite, or
// -1. A product may overwrite what is added to it.
func (s step) inPlace() int {
	if s.add >= 0 {
		return len(s.in)
	}
	if p, ok := s.op.(graph.InPlacer); ok {
		return p.InPlace()
	}
	return -1
}

// fuse returns the steps of a list of nodes, in order. The results of the
// nodes keep are made as they are.
func fuse(nodes []graph.Node, keep map[int]bool) []step {
	users := make([][]int, len(nodes))
	for i, n := range nodes {
		for _, j := range n.In {
			users[j] = append(users[j], i)
		}
	}
	// next is the only user of a node's result, or -1.
	next := func(i int) int {
		if keep[i] || len(users[i]) != 1 {
			return -1
		}
		return users[i][0]
	}
	ends := map[int]step{} // by the step's last node
	within := map[int]bool{}
	for i, n := range nodes {
		if n.Op == nil || within[i] {
			continue
		}
		s := step{op: n.Op, node: i, in: n.In, add: -1}
		activates, adds := fusible(n.Op)
		if j := next(i); activates && j >= 0 {
			if act := activationOf(nodes[j].Op); act != actNone {
				s.act, s.node = act, j
			}
		}
		if j := next(s.node); adds && j >= 0 {
			if other := addend(nodes, j, s.node); other >= 0 {
				s.add, s.node = other, j
			}
		}
		for j := i; j != s.node; {
			j = users[j][0]
			within[j] = true
		}
		ends[s.node] = s
	}
	var steps []step
	for i := range nodes {
		if s, ok := ends[i]; ok {
			steps = append(steps, s)
		}
	}
	return steps
}

// fusible reports whether an op's kernel takes an activation, and a sum.
func fusible(o graph.Op) (activates, adds bool) {
	switch o.(type) {
	case op.Linear, op.Conv:
		return true, true
	case op.LayerNorm, op.Upscale2x2:
		return true, false
	}
	return false, false
}

func activationOf(o graph.Op) int {
	switch o.(type) {
	case op.ReLU:
		return actReLU
	case op.GELU:
		return actGELU
	}
	return actNone
}

// addend is the node that node j adds to x, or -1 if j is no sum that repeats
// the other one over x.
func addend(nodes []graph.Node, j, x int) int {
	if _, ok := nodes[j].Op.(op.Add); !ok {
		return -1
	}
	a, b := nodes[j].In[0], nodes[j].In[1]
	if a == x {
		return b
	}
	if nodes[a].Shape.TotalSize() == nodes[b].Shape.TotalSize() {
		return a
	}
	return -1
}
