package kernel

import (
	"fmt"
	"math"
)

// TwoWay is the picture's side of a two-way transformer for prompts of few
// tokens: an attention of the picture to the tokens, a layer norm, and the
// next attention of the tokens to the picture, in one pass over the map.
//
// No row of the map is projected. With x a row, t a token's key and W the
// matrix that would project x, (W·x)·t = x·(Wᵀ·t): the tokens, which are few,
// are brought to the map's width instead ("absorbed"), for each head by
// itself. The same holds for values and the projection of what an attention
// found. The sums are the same but for their order.
//
// Source: transformer.py, TwoWayAttentionBlock (segment-anything dca509f).
type TwoWay struct {
	Prompts  int
	Cells    int // rows of a map
	Channels int
	Heads    int
	HeadDim  int
	Tokens   int  // of a prompt, that the picture looks at
	Readers  int  // of a prompt, that look at the picture
	Shared   bool // X is one map for all prompts
	Eps      float32

	X []float32 // panels of [Cells, Channels] for each prompt, or one for all

	// Picture to tokens. Without Values this half is left out: the map stays
	// as it is.
	Queries     []float32 // panels of [Cells, D]: what of the queries is known beforehand
	Keys        []float32 // [Prompts*Tokens, D]
	KeysX       []float32 // [Prompts*Heads*Tokens, Channels], absorbed; nil: Queries are complete
	Values      []float32 // [Prompts*Heads*Tokens, Channels], absorbed, with the output's bias in the first head's
	Gamma, Beta []float32 // of the norm

	// Tokens to picture.
	Positions []float32 // panels of [Cells, D]: what of the keys is known beforehand
	Read      []float32 // [Prompts*Readers, D], queries
	ReadX     []float32 // [Prompts*Heads*Readers, Channels], absorbed
}

// Run writes each prompt's new map, panels of [Cells, Channels], to maps,
// unless the first half is left out, and to found [Prompts*Heads*Readers,
// Channels] the means of the map's rows under each reader's and head's
// attention. maps may be X if that is not shared, but must not overlap it
// otherwise.
func (t *TwoWay) Run(maps, found []float32) { t.run(active, maps, found) }

// twoWayCells is how many rows of the map a task takes: a multiple of every
// implementation's panels. The scores of that many rows exist at a time.
const twoWayCells = 256

type twoWayTask struct {
	TwoWay
	im          *impl
	maps, found []float32
	blocks      int
	size        int // of a map
	wide        int // columns of the readers' scores with their padding
	keys, read  side
	values      []float32 // each prompt's Values as tiles
	parts       []float32 // each block's maxima, sums [wide] and found [Heads*Readers, Channels]
	stage       uint8
}

// side are the tokens that scores are made with.
type side struct {
	n        int       // tokens of a prompt
	known    []float32 // each prompt's: for each head [HeadDim, n]
	absorbed []float32 // each prompt's as tiles, or nil
}

const (
	twoWayPrepare = iota
	twoWayBlock
	twoWayMerge
)

var twoWayTasks freeList[twoWayTask]

func (t *TwoWay) run(im *impl, maps, found []float32) {
	t.check(im, maps, found)
	k := twoWayTasks.get()
	*k = twoWayTask{TwoWay: *t, im: im, maps: maps, found: found}
	k.blocks = (t.Cells + twoWayCells - 1) / twoWayCells
	k.size, k.wide = im.padded(t.Cells)*t.Channels, im.padded(t.Heads*t.Readers)
	a := arenas.get()
	keys, readers := t.Prompts*t.Heads*t.Tokens, t.Prompts*t.Heads*t.Readers
	a.reset((keys+readers)*(t.HeadDim+t.Channels) + keys*t.Channels + t.Prompts*k.blocks*k.part())
	k.keys = side{t.Tokens, a.take(keys * t.HeadDim), a.take(keys * t.Channels)}
	k.read = side{t.Readers, a.take(readers * t.HeadDim), a.take(readers * t.Channels)}
	k.values = a.take(keys * t.Channels)
	k.parts = a.take(t.Prompts * k.blocks * k.part())
	if t.KeysX == nil {
		k.keys.absorbed = nil
	}
	k.stage = twoWayPrepare
	run(t.Prompts, k)
	k.stage = twoWayBlock
	run(t.Prompts*k.blocks, k)
	k.stage = twoWayMerge
	run(t.Prompts*k.mergeTasks(), k)
	arenas.put(a)
	*k = twoWayTask{}
	twoWayTasks.put(k)
}

func (t *TwoWay) check(im *impl, maps, found []float32) {
	if t.Prompts <= 0 || t.Cells <= 0 || t.Channels <= 0 || t.Heads <= 0 || t.HeadDim <= 0 || t.Tokens <= 0 || t.Readers <= 0 {
		panic(fmt.Sprintf("kernel: two-way: %d prompts, %d cells, %d channels, %d heads of %d, %d and %d tokens",
			t.Prompts, t.Cells, t.Channels, t.Heads, t.HeadDim, t.Tokens, t.Readers))
	}
	d := t.Heads * t.HeadDim
	each := t.Prompts
	if t.Shared {
		each = 1
	}
	size := im.padded(t.Cells) * t.Channels
	need("two-way: x", len(t.X), each*size)
	need("two-way: positions", len(t.Positions), im.padded(t.Cells)*d)
	need("two-way: read", len(t.Read), t.Prompts*t.Readers*d)
	need("two-way: readX", len(t.ReadX), t.Prompts*t.Heads*t.Readers*t.Channels)
	need("two-way: found", len(found), t.Prompts*t.Heads*t.Readers*t.Channels)
	if t.Values == nil {
		return
	}
	need("two-way: values", len(t.Values), t.Prompts*t.Heads*t.Tokens*t.Channels)
	need("two-way: queries", len(t.Queries), im.padded(t.Cells)*d)
	need("two-way: keys", len(t.Keys), t.Prompts*t.Tokens*d)
	if t.KeysX != nil {
		need("two-way: keysX", len(t.KeysX), t.Prompts*t.Heads*t.Tokens*t.Channels)
	}
	need("two-way: gamma", len(t.Gamma), t.Channels)
	need("two-way: beta", len(t.Beta), t.Channels)
	need("two-way: maps", len(maps), t.Prompts*size)
}

// part is the size of a block's share of parts.
func (t *twoWayTask) part() int { return 2*t.wide + t.Heads*t.Readers*t.Channels }

func (t *twoWayTask) run(i int) {
	switch t.stage {
	case twoWayPrepare:
		t.prepare(i)
	case twoWayBlock:
		t.block(i/t.blocks, i%t.blocks)
	case twoWayMerge:
		t.merge(i/t.mergeTasks(), i%t.mergeTasks())
	}
}

// prepare brings prompt p's tokens into the order of the products. Scores
// carry a factor of log2(e), so that the softmax can use powers of 2.
func (t *twoWayTask) prepare(p int) {
	im, c := t.im, t.Channels
	t.prepareSide(p, &t.read, t.Read, t.ReadX)
	if t.Values == nil {
		return
	}
	t.prepareSide(p, &t.keys, t.Keys, t.KeysX)
	n := t.Heads * t.Tokens * c
	im.packTilesKN(t.values[p*n:], t.Values[p*n:], t.Heads*t.Tokens, c)
}

func (t *twoWayTask) prepareSide(p int, s *side, known, absorbed []float32) {
	im, hd := t.im, t.HeadDim
	d := t.Heads * hd
	scale := float32(log2e / math.Sqrt(float64(hd)))
	dst, src := s.known[p*s.n*d:][:s.n*d], known[p*s.n*d:]
	for h := range t.Heads {
		im.transpose(dst[h*hd*s.n:], s.n, src[h*hd:], d, s.n, hd)
	}
	im.scale(dst, dst, scale)
	if s.absorbed != nil {
		n := t.Heads * s.n
		dst := s.absorbed[p*n*t.Channels:][:n*t.Channels]
		im.packTiles(dst, absorbed[p*n*t.Channels:], n, t.Channels)
		im.scale(dst, dst, scale)
	}
}

// block takes the rows of block b of prompt p's map through both halves.
func (t *twoWayTask) block(p, b int) {
	im, c, ht := t.im, t.Channels, t.Heads*t.Readers
	r0 := b * twoWayCells
	n := min(twoWayCells, t.Cells-r0)
	x, next := t.X, t.X
	if !t.Shared {
		x, next = x[p*t.size:], x[p*t.size:]
	}
	if t.Values != nil {
		next = t.maps[p*t.size:]
	}
	a := arenas.get()
	most := t.Heads * max(t.Tokens, t.Readers)
	a.reset(n*im.padded(c) + most*im.nr + 2*im.nr + t.wide*n + im.mr*im.nr)
	rows, s := a.take(n*im.padded(c)), a.take(most*im.nr)
	m, l := a.take(im.nr), a.take(im.nr)
	scores := a.take(t.wide * n) // of the second half, [n, w] for each panel of columns
	edge := a.take(im.mr * im.nr)
	for j := 0; j < n; j += im.nr {
		w := im.panelWidth(t.Cells - r0 - j)
		lanes := min(w, n-j)
		panel := next[(r0+j)*c:][:c*w]
		if t.Values != nil {
			t.update(p, r0+j, w, x[(r0+j)*c:][:c*w], panel, s, m, l)
		}
		for k := 0; k < c; k += im.nr {
			wide := im.panelWidth(c - k)
			im.turn(rows[k*n+j*wide:], wide, panel[k*w:], w, min(wide, c-k), lanes)
		}
		t.score(s, w, panel, t.Positions[(r0+j)*t.Heads*t.HeadDim:], &t.read, p)
		for i := 0; i < ht; i += im.nr {
			wide := im.panelWidth(ht - i)
			cols := min(wide, ht-i)
			dst := scores[i*n+j*wide:]
			if cols < wide {
				clear(dst[:lanes*wide])
			}
			im.turn(dst, wide, s[i*w:], w, cols, lanes)
		}
	}
	t.gather(p, b, n, rows, scores, edge)
	arenas.put(a)
}

// score sets s [Heads*n, w] to the scores of a panel of the map, of which the
// part known is known, with the tokens of a side.
func (t *twoWayTask) score(s []float32, w int, panel, known []float32, with *side, p int) {
	im, hd, n := t.im, t.HeadDim, with.n
	tokens := with.known[p*n*t.Heads*hd:]
	for h := range t.Heads {
		a, b, c := tokens[h*hd*n:], known[h*hd*w:], s[h*n*w:]
		for i := 0; i < n; {
			r := im.height(n - i)
			im.tileOf(r, w)(hd, a[i:], n, b, c[i*w:], w, nil, 0)
			i += r
		}
	}
	if with.absorbed != nil {
		ht := t.Heads * n
		im.tiles(ht, t.Channels, w, with.absorbed[p*ht*t.Channels:], panel, s, s, w)
	}
}

// update sets next to what the picture's attention to the tokens makes of a
// panel of the map, which begins with row j.
func (t *twoWayTask) update(p, j, w int, panel, next, s, m, l []float32) {
	im, n, ht, c := t.im, t.Tokens, t.Heads*t.Tokens, t.Channels
	t.score(s, w, panel, t.Queries[j*t.Heads*t.HeadDim:], &t.keys, p)
	m, l = m[:w], l[:w]
	for h := range t.Heads {
		rows := s[h*n*w:]
		copy(m, rows)
		im.maxRows(rows, m, n, w)
		clear(l)
		im.expSum(rows, m, l, n, w)
		for i, v := range l {
			l[i] = 1 / v
		}
		im.mulRows(rows, l, n, w)
	}
	im.tiles(c, ht, w, t.values[p*ht*c:], s, next, panel, w)
	im.normCols(next, t.Gamma, t.Beta, c, w, t.Eps)
}

// gather computes the share of block b, n rows of the map as panels of
// channels, in what the tokens' attention finds. edge has room for a tile.
func (t *twoWayTask) gather(p, b, n int, rows, scores, edge []float32) {
	im, c, ht := t.im, t.Channels, t.Heads*t.Readers
	part := t.parts[(p*t.blocks+b)*t.part():]
	m, l, sum := part[:t.wide], part[t.wide:2*t.wide], part[2*t.wide:]
	clear(l)
	for i := 0; i < ht; i += im.nr {
		w := im.panelWidth(ht - i)
		e := scores[i*n:]
		copy(m[i:][:w], e)
		im.maxRows(e, m[i:], n, w)
		im.expSum(e, m[i:], l[i:], n, w)
		for j, end := i, min(i+w, ht); j < end; {
			r, k := im.height(end-j), 0
			if r == im.mr && c >= im.nr {
				im.strip(c/im.nr, n, e[j-i:], w, rows, sum[j*c:], c, nil, 0)
				k = c / im.nr * im.nr
			}
			for ; k < c; k += im.nr {
				wide := im.panelWidth(c - k)
				tile := im.tileOf(r, wide)
				if to := sum[j*c+k:]; k+wide <= c {
					tile(n, e[j-i:], w, rows[k*n:], to, c, nil, 0)
				} else {
					tile(n, e[j-i:], w, rows[k*n:], edge, wide, nil, 0)
					copyRows(to, c, edge, wide, r, c-k)
				}
			}
			j += r
		}
	}
}

// mergeTasks is the number of tasks that put a prompt's blocks together: one
// for each panel of tokens.
func (t *twoWayTask) mergeTasks() int { return (t.Heads*t.Readers + t.im.nr - 1) / t.im.nr }

// merge puts the blocks' shares in panel i of prompt p together.
func (t *twoWayTask) merge(p, i int) {
	im, c, ht := t.im, t.Channels, t.Heads*t.Readers
	i *= im.nr
	w, n := im.panelWidth(ht-i), min(im.nr, ht-i)
	found := t.found[(p*ht+i)*c:][:n*c]
	part := func(b int) (m, l, sum []float32) {
		s := t.parts[(p*t.blocks+b)*t.part():]
		return s[i:][:w], s[t.wide+i:][:w], s[2*t.wide+i*c:][:n*c]
	}
	a := arenas.get()
	a.reset(3 * im.nr)
	m, f, l := a.take(w), a.take(w), a.take(w)
	im.softmaxes(t.blocks, part, m, f, l, func(b int, sum []float32) {
		for j, x := range f[:n] {
			row := sum[j*c:][:c]
			im.scale(row, row, x)
		}
		if b == 0 {
			copy(found, sum)
		} else {
			im.add(found, found, sum)
		}
	})
	for j, x := range l[:n] {
		row := found[j*c:][:c]
		im.scale(row, row, x)
	}
	arenas.put(a)
}

// join puts n shares of panels of means under softmaxes together, over the
// first one's: of each the largest scores, the sums of the weights, and the
// weighted sums [c, w]. It leaves the largest scores in m and the weights'
// divisors in l, each [w] as f is.
func (im *impl) join(n int, share func(i int) (m, l, sum []float32), m, f, l []float32, c int) (total []float32) {
	_, _, total = share(0)
	im.softmaxes(n, share, m, f, l, func(i int, sum []float32) {
		im.mulRows(sum, f, c, len(f))
		if i > 0 {
			im.add(total, total, sum)
		}
	})
	im.mulRows(total, l, c, len(l))
	return total
}

// softmaxes finds the softmaxes of n shares: of each the largest scores and the
// sums of the weights. It calls add with each share's weighted sums while f are
// the factors that they are to be multiplied with, and leaves the largest scores
// in m and the weights' divisors in l, each as long as f.
func (im *impl) softmaxes(n int, share func(i int) (m, l, sum []float32), m, f, l []float32, add func(i int, sum []float32)) {
	first, _, _ := share(0)
	copy(m, first)
	for i := 1; i < n; i++ {
		mi, _, _ := share(i)
		im.maxRows(mi, m, 1, len(m))
	}
	clear(l)
	for i := range n {
		mi, li, sum := share(i)
		for j, v := range mi {
			f[j] = v - m[j]
		}
		im.exp2(f, f)
		im.mulRows(li, f, 1, len(f))
		im.add(l, l, li)
		add(i, sum)
	}
	for j, v := range l {
		l[j] = 1 / v
	}
}
