package cpu

import (
	"slices"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// look is an attention of the tokens to a map: keys are projections of the
// map and its positions, values are projections of the map.
type look struct {
	at         *value // the attention
	attention  op.Attention
	x          *value // the map
	positions  *value // a parameter
	key, value project
}

// update is what an attention of a map to the tokens makes of the map, with
// the norm that follows it.
type update struct {
	at           *value // the norm
	attention    op.Attention
	x            *value // the map
	keys, values *value // of the tokens
	query        project
	positions    *value // a parameter
	known        *value // the map's queries, if they are made elsewhere: then there is no query
	out          project
}

// decoder is the search for what one pass over the map can do.
type decoder struct {
	*lowered
	readers map[*value][]*value
	updates map[*value]*update // by the map that they make
	panels  map[*value]*value  // of maps
}

// fuseDecoder finds the attentions between few tokens and a picture's map, and
// replaces each by steps that read the map once: see [twoWay]. What nobody
// reads of the tokens in the end does not look at the map, and the masks are
// made without the upscaled map: see [maskHead].
func (l *lowered) fuseDecoder() {
	d := &decoder{lowered: l, updates: map[*value]*update{}, panels: map[*value]*value{}}
	d.read()
	for _, v := range l.order {
		if u := d.update(v); u != nil {
			d.updates[v] = u
		}
	}
	var looks []*look
	for _, v := range l.order {
		if k := d.look(v); k != nil {
			looks = append(looks, k)
		}
	}
	looks = d.complete(looks)
	for _, k := range looks {
		d.fewer(k)
	}
	for _, k := range looks {
		d.fuse(k)
	}
	l.sort()
	d.read()
	for _, v := range l.order {
		d.maskHead(v)
	}
	l.sort()
}

// read notes who reads each value.
func (d *decoder) read() {
	d.readers = map[*value][]*value{}
	for _, v := range d.order {
		for _, x := range v.in {
			d.readers[x] = append(d.readers[x], v)
		}
	}
}

// inner reports whether v is read once, by what is looked at.
func (d *decoder) inner(v *value) bool { return !v.keep && len(d.readers[v]) == 1 }

// few reports whether so few tokens are better brought to the width of the
// map. That costs columns in each product with it, one for each head and
// token; projecting the map costs as many as the projection's width, but its
// passes over the map are fewer: at the published shapes both take the same
// time with 32 tokens.
func few(a op.Attention, tokens int) bool {
	return a.Heads*tokens <= max(2*a.Heads*a.HeadDim, 128)
}

// positioned reports whether v is a projection of a map and its positions.
func positioned(v *value) (l project, x, positions *value, ok bool) {
	if l, ok = v.projects(); !ok || l.bias == nil {
		return l, nil, nil, false
	}
	if x, positions, ok = l.x.sum(); !ok || !positions.parameter() {
		return l, nil, nil, false
	}
	return l, x, positions, true
}

// look returns the attention v of the tokens to a map, or nil.
func (d *decoder) look(v *value) *look {
	a, ok := v.op.(op.Attention)
	if !ok || v.keep || !few(a, a.NQ) || !d.inner(v.in[1]) || !d.inner(v.in[2]) || v.in[0].shape[0] != a.Batch*a.NQ {
		return nil
	}
	k := &look{at: v, attention: a}
	if k.key, k.x, k.positions, ok = positioned(v.in[1]); !ok {
		return nil
	}
	if k.value, ok = v.in[2].projects(); !ok || k.value.bias == nil || k.value.x != k.x || k.positions.shape[0] != a.NK {
		return nil
	}
	return k
}

// update returns the update of a map that v is, or nil.
func (d *decoder) update(v *value) *update {
	if _, ok := v.op.(op.LayerNorm); !ok || v.keep || !v.in[1].fixed() || !v.in[2].fixed() || !d.inner(v.in[0]) {
		return nil
	}
	o, x, ok := v.in[0].sum()
	if !ok || !d.inner(o) {
		return nil
	}
	u := &update{at: v, x: x}
	if u.out, ok = o.projects(); !ok || u.out.bias == nil || !d.inner(u.out.x) {
		return nil
	}
	at := u.out.x
	if u.attention, ok = at.op.(op.Attention); !ok || !few(u.attention, u.attention.NK) {
		return nil
	}
	u.keys, u.values = at.in[1], at.in[2]
	tokens := u.attention.Batch * u.attention.NK
	if u.keys.shape[0] != tokens || u.values.shape[0] != tokens {
		return nil
	}
	var of *value
	if u.query, of, u.positions, ok = positioned(at.in[0]); ok && of == x && d.inner(at.in[0]) && u.positions.shape[0] == u.attention.NQ {
		return u
	}
	if u.known = at.in[0]; u.known.shape[0] != u.attention.NQ {
		return nil // each prompt has a map of its own, and queries that are not its
	}
	return u
}

// complete returns the looks that can be had together: each map that is made
// by an update is looked at once, and nobody else reads it but the next
// update and the masks.
func (d *decoder) complete(looks []*look) []*look {
	for dropped := true; dropped; {
		dropped = false
		lookers := map[*value]int{}
		for _, k := range looks {
			lookers[k.x]++
		}
		for m := range d.updates {
			if lookers[m] != 1 || !d.ours(m, looks) {
				delete(d.updates, m)
				dropped = true
			}
		}
		looks = slices.DeleteFunc(looks, func(k *look) bool {
			// A map that is no update's may be looked at as it is, by one.
			bad := d.updates[k.x] == nil && (lookers[k.x] != 1 || !d.before(k.x))
			dropped = dropped || bad
			return bad
		})
	}
	return looks
}

// before reports whether an update of the map x follows: then x is needed in
// panels in any case.
func (d *decoder) before(x *value) bool {
	for _, u := range d.updates {
		if u.x == x {
			return true
		}
	}
	return false
}

// ours reports whether all readers of the map m go with it: the look at it,
// the next update, and the masks.
func (d *decoder) ours(m *value, looks []*look) bool {
	allowed := map[*value]bool{}
	for _, k := range looks {
		if k.x == m {
			allowed[k.key.x], allowed[k.at.in[2]] = true, true
		}
	}
	for _, u := range d.updates {
		if u.x == m {
			allowed[u.at.in[0]] = true
			if u.known == nil {
				allowed[u.query.x] = true
			}
		}
	}
	for _, r := range d.readers[m] {
		if _, masks := r.op.(op.Upscale2x2); masks && d.head(r) != nil {
			continue
		}
		if !allowed[r] {
			return false
		}
	}
	return true
}

// absorbed brings x, queries or keys or values of the tokens, to the width of
// the map by a form of the weight w.
func absorbed(x *value, a op.Attention, tokens, c int, heads *value, bias *value) *value {
	v := &value{
		op:    absorb{Batch: a.Batch, Tokens: tokens, Heads: a.Heads, HeadDim: a.HeadDim, C: c, Bias: bias != nil},
		in:    []*value{x, heads},
		shape: tensor.Shape{a.Batch * a.Heads * tokens, c},
	}
	if bias != nil {
		v.in = append(v.in, bias)
	}
	return v
}

// inPanels is the map x in panels.
func (d *decoder) inPanels(x *value, cells int) *value {
	if d.panels[x] == nil {
		d.panels[x] = panelsOf(x, cells)
	}
	return d.panels[x]
}

// fuse makes one step of a look and of the update of the map before it. A
// softmax sums to 1 for each head, so that the bias of the update's output
// goes with the values of one of them.
func (d *decoder) fuse(k *look) {
	a := k.attention
	width, c, q := a.Heads*a.HeadDim, k.x.shape[1], k.at.in[0]
	u := d.updates[k.x]
	x := k.x
	if u != nil {
		x = u.x
	}
	step := twoWay{Batch: a.Batch, Cells: a.NK, Heads: a.Heads, HeadDim: a.HeadDim, Tokens: a.NQ, Readers: a.NQ, Look: u == nil}
	in := []*value{
		d.inPanels(x, a.NK), projectedPanels(k.key.w, k.key.bias, k.positions, width, c),
		q, absorbed(q, a, a.NQ, c, inHeads(k.key.w, a.Heads, a.HeadDim, c), nil),
	}
	found := a.Batch * a.Heads * a.NQ
	shape := tensor.Shape{found, c}
	if u != nil {
		n := u.attention.NK
		step.Eps, step.Known, step.Tokens = u.at.op.(op.LayerNorm).Eps, u.known != nil, n
		var queries *value
		if step.Known {
			queries = panelsOf(u.known, a.NK)
		} else {
			queries = projectedPanels(u.query.w, u.query.bias, u.positions, width, c)
		}
		values := absorbed(u.values, a, n, c, outHeads(u.out.w, a.Heads, a.HeadDim, c), u.out.bias)
		in = append(in, queries, u.keys, values, u.at.in[1], u.at.in[2])
		if !step.Known {
			in = append(in, absorbed(u.keys, a, n, c, inHeads(u.query.w, a.Heads, a.HeadDim, c), nil))
		}
		shape[0] += a.Batch * kernel.PackedLen(a.NK, 1)
	}
	both := &value{op: step, in: in, shape: shape}
	if u != nil {
		d.panels[k.x] = both
	}
	k.at.op = perHead{Batch: a.Batch, Tokens: a.NQ, Heads: a.Heads, HeadDim: a.HeadDim}
	k.at.in = []*value{both, valueHeads(k.value.w, a.Heads, a.HeadDim, c), k.value.bias}
}
