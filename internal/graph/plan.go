package graph

import (
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"
)

// align is the alignment of planned tensors in float32s: one cache line.
const align = 16

// Plan says where each node's output lives in the program's arena.
type Plan struct {
	Arena  int // float32s of the arena
	Sum    int // float32s if every node had an array of its own
	order  []*G.Node
	pos    map[int64]int
	inputs [][]int // indices into order of each node's inputs
	offset []int   // into the arena, -1 for leaves
}

// span is the life of one arena slot: the steps from first to last, both
// included. Nodes that work in place share a slot.
type span struct {
	first, last int
	size        int
	offset      int
}

// plan assigns each node a place such that no two values that are alive at
// the same step overlap. keep stays alive until the end of the run.
//
// The order is the one gorgonia's TapeMachine uses, so that the plan holds
// there too. A node that is not one of ours may return a view of an input:
// its inputs then live as long as its output.
func plan(g *G.ExprGraph, keep []*G.Node) (*Plan, error) {
	sorted, err := G.Sort(g)
	if err != nil {
		return nil, fmt.Errorf("graph: sort: %w", err)
	}
	n := len(sorted)
	p := &Plan{order: make([]*G.Node, n), pos: make(map[int64]int, n), inputs: make([][]int, n), offset: make([]int, n)}
	for i, nd := range sorted {
		p.order[n-1-i] = nd
		p.pos[nd.ID()] = n - 1 - i
	}
	for i, nd := range p.order {
		for it := g.From(nd.ID()); it.Next(); {
			p.inputs[i] = append(p.inputs[i], p.pos[it.Node().ID()])
		}
	}
	last := p.lastUse(keep)
	slots, slotOf := p.slots(last)
	p.Arena = place(slots)
	for i := range p.order {
		p.offset[i] = -1
		if s := slotOf[i]; s >= 0 {
			p.offset[i] = slots[s].offset
			p.Sum += (p.order[i].Shape().TotalSize() + align - 1) / align * align
		}
	}
	return p, nil
}

// lastUse returns the last step at which each node's value is read.
func (p *Plan) lastUse(keep []*G.Node) []int {
	n := len(p.order)
	last := make([]int, n)
	for i := range last {
		last[i] = i
	}
	for _, k := range keep {
		last[p.pos[k.ID()]] = n
	}
	for i := n - 1; i >= 0; i-- { // consumers stand behind their inputs
		l := i
		if _, ours := p.order[i].Op().(*kernelOp); !ours {
			l = max(l, last[i])
		}
		for _, c := range p.inputs[i] {
			last[c] = max(last[c], l)
		}
	}
	return last
}

func (p *Plan) slots(last []int) ([]span, []int) {
	var slots []span
	slotOf := make([]int, len(p.order))
	for i, nd := range p.order {
		slotOf[i] = -1
		op, ours := nd.Op().(*kernelOp)
		if !ours {
			continue
		}
		size := (nd.Shape().TotalSize() + align - 1) / align * align
		if k := op.inPlace(); k >= 0 && k < len(p.inputs[i]) {
			c := p.inputs[i][k]
			once := 0
			for _, x := range p.inputs[i] {
				if x == c {
					once++
				}
			}
			fits := p.order[c].Shape().TotalSize() >= nd.Shape().TotalSize()
			if s := slotOf[c]; s >= 0 && once == 1 && fits && last[c] == i {
				slots[s].last = last[i]
				slotOf[i] = s
				continue
			}
		}
		slotOf[i] = len(slots)
		slots = append(slots, span{first: i, last: last[i], size: size})
	}
	return slots, slotOf
}

// place gives each slot the lowest offset at which it overlaps no slot alive
// at the same time, the largest slots first, and returns the arena's size.
func place(slots []span) int {
	order := make([]int, len(slots))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return slots[b].size - slots[a].size })
	var placed []int // by offset
	total := 0
	for _, i := range order {
		s := &slots[i]
		at := 0
		for _, j := range placed {
			o := &slots[j]
			if o.last < s.first || s.last < o.first {
				continue
			}
			if at+s.size <= o.offset {
				break
			}
			at = max(at, o.offset+o.size)
		}
		s.offset = at
		total = max(total, at+s.size)
		k, _ := slices.BinarySearchFunc(placed, at, func(j, at int) int {
			if slots[j].offset < at {
				return -1
			}
			return 1
		})
		placed = slices.Insert(placed, k, i)
	}
	return total
}
