package cpu

import (
	"slices"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/op"
)

// fewer lets only the tokens that are read in the end look at the map: if all
// that follows is a sum, a norm and picks of rows, the rows are picked first.
func (d *decoder) fewer(k *look) {
	one := func(v *value) *value {
		if r := d.readers[v]; !v.keep && len(r) == 1 {
			return r[0]
		}
		return nil
	}
	out := one(k.at)
	if out == nil {
		return
	}
	if l, ok := out.projects(); !ok || l.x != k.at {
		return
	}
	sum := one(out)
	if sum == nil {
		return
	}
	o, tokens, ok := sum.sum()
	if !ok || o != out {
		return
	}
	norm := one(sum)
	if norm == nil || norm.keep {
		return
	}
	if _, ok := norm.op.(op.LayerNorm); !ok || norm.in[0] != sum {
		return
	}
	query, ok := k.at.in[0].projects()
	if !ok || !d.inner(k.at.in[0]) {
		return
	}
	with, positions, ok := query.x.sum()
	if !ok || with != tokens || positions.shape[0] != tokens.shape[0] {
		return
	}
	var which []int
	for _, r := range d.readers[norm] {
		p, ok := r.op.(op.Pick)
		if !ok || p.Rows != k.attention.NQ {
			return
		}
		which = append(which, p.Which...)
	}
	slices.Sort(which)
	which = slices.Compact(which)
	if len(which) == 0 || len(which) == k.attention.NQ {
		return
	}
	rows := k.attention.Batch * len(which)
	pick := func(v *value) *value {
		return &value{op: op.Pick{Rows: k.attention.NQ, Which: which}, in: []*value{v}, shape: tensor.Shape{rows, v.shape[1]}}
	}
	fewer := pick(tokens)
	at := &value{op: op.Add{}, in: []*value{fewer, pick(positions)}, shape: fewer.shape}
	q := *k.at.in[0]
	q.in = append([]*value{at}, q.in[1:]...)
	q.shape, q.node = tensor.Shape{rows, q.shape[1]}, nil
	k.at.in[0] = &q
	k.attention.NQ = len(which)
	k.at.op = k.attention
	sum.in = []*value{out, fewer}
	for _, v := range []*value{k.at, out, sum, norm} {
		v.shape = tensor.Shape{rows, v.shape[1]}
	}
	for _, r := range d.readers[norm] {
		p := r.op.(op.Pick)
		own := make([]int, len(p.Which))
		for i, w := range p.Which {
			own[i], _ = slices.BinarySearch(which, w)
		}
		r.op = op.Pick{Rows: len(which), Which: own}
	}
}
