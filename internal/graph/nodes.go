package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Node is a node of a graph as a backend sees it.
type Node struct {
	Node   *G.Node
	Op     Op    // nil for a leaf, and for an op of gorgonia's own: Node.Op()
	In     []int // its inputs' places in the list
	Shape  tensor.Shape
	Leaf   LeafKind
	Name   string    // of a leaf
	Weight *Weight   // of LeafWeight and LeafVariable
	Data   []float32 // of LeafConstant
}

// Nodes returns the nodes that outputs need, outputs included, each after its
// inputs. The order is that of gorgonia's TapeMachine.
func (b *Builder) Nodes(outputs ...*G.Node) ([]Node, error) {
	if b.err != nil {
		return nil, b.err
	}
	if err := b.checkHashes(); err != nil {
		return nil, err
	}
	sorted, err := G.Sort(b.g)
	if err != nil {
		return nil, fmt.Errorf("graph: sort: %w", err)
	}
	needed := map[int64]bool{}
	for _, n := range outputs {
		needed[n.ID()] = true
	}
	for _, n := range sorted { // consumers stand before their inputs
		if !needed[n.ID()] {
			continue
		}
		for it := b.g.From(n.ID()); it.Next(); {
			needed[it.Node().ID()] = true
		}
	}
	var list []Node
	at := map[int64]int{}
	for i := len(sorted) - 1; i >= 0; i-- {
		n := sorted[i]
		if !needed[n.ID()] {
			continue
		}
		e := Node{Node: n, Shape: n.Shape()}
		if o, ours := n.Op().(*nodeOp); ours {
			e.Op = o.op
		}
		for it := b.g.From(n.ID()); it.Next(); {
			e.In = append(e.In, at[it.Node().ID()])
		}
		if l := b.leaves[n.ID()]; l != nil {
			e.Leaf, e.Name, e.Weight, e.Data = l.kind, l.name, l.weight, l.data
		}
		at[n.ID()] = len(list)
		list = append(list, e)
	}
	return list, nil
}

// Inputs are the graph's inputs and variables, needed or not, by their names.
func (b *Builder) Inputs() map[string]*G.Node {
	in := map[string]*G.Node{}
	for name, n := range b.named {
		if k := b.leaves[n.ID()].kind; k == LeafInput || k == LeafVariable {
			in[name] = n
		}
	}
	return in
}
