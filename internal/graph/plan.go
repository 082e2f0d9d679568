package graph

import "slices"

// align is the alignment of planned tensors in float32s: one cache line.
const align = 16

// Step is one result of a program, as the plan of its memory sees it.
type Step struct {
	Size    int   // float32s of the result; 0: it needs no place in the arena
	In      []int // the steps whose results it reads, all before it
	InPlace int   // index into In of the result that it may overwrite, or -1
	View    bool  // the result may be a view of an input: they live as long as it does
}

// Plan says where each step's result lies in a program's arena.
type Plan struct {
	Arena  int   // float32s of the arena
	Sum    int   // float32s if every result had an array of its own
	Offset []int // of each step's result in the arena, -1 without a place
}

// span is the life of one slot of the arena: the steps from first to last,
// both included. Steps that work in place share a slot.
type span struct {
	first, last int
	size        int
	offset      int
}

// PlanBuffers assigns each result a place such that no two that are alive at
// the same step overlap. Those of the steps keep stay alive until the end.
func PlanBuffers(steps []Step, keep []int) *Plan {
	p := &Plan{Offset: make([]int, len(steps))}
	slots, slotOf := slots(steps, lastUse(steps, keep))
	p.Arena = place(slots)
	for i := range steps {
		p.Offset[i] = -1
		if s := slotOf[i]; s >= 0 {
			p.Offset[i] = slots[s].offset
			p.Sum += aligned(steps[i].Size)
		}
	}
	return p
}

func aligned(n int) int { return (n + align - 1) / align * align }

// lastUse returns the last step at which each result is read.
func lastUse(steps []Step, keep []int) []int {
	n := len(steps)
	last := make([]int, n)
	for i := range last {
		last[i] = i
	}
	for _, k := range keep {
		last[k] = n
	}
	for i := n - 1; i >= 0; i-- { // consumers stand behind their inputs
		l := i
		if steps[i].View {
			l = max(l, last[i])
		}
		for _, c := range steps[i].In {
			last[c] = max(last[c], l)
		}
	}
	return last
}

func slots(steps []Step, last []int) ([]span, []int) {
	var slots []span
	slotOf := make([]int, len(steps))
	for i, st := range steps {
		slotOf[i] = -1
		if st.Size == 0 {
			continue
		}
		if k := st.InPlace; k >= 0 && k < len(st.In) {
			c := st.In[k]
			once := 0
			for _, x := range st.In {
				if x == c {
					once++
				}
			}
			if s := slotOf[c]; s >= 0 && once == 1 && steps[c].Size >= st.Size && last[c] == i {
				slots[s].last = last[i]
				slotOf[i] = s
				continue
			}
		}
		slotOf[i] = len(slots)
		slots = append(slots, span{first: i, last: last[i], size: aligned(st.Size)})
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
