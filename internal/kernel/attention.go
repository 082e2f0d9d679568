package kernel

import (
	"fmt"
	"runtime"
)

// Attention sets dst [nq, heads*headDim] to softmax(q·kᵀ/sqrt(headDim))·v,
// head by head: q [nq, heads*headDim], k and v [nk, heads*headDim], the heads
// side by side. dst must not overlap the others.
func Attention(dst, q, k, v []float32, heads, headDim, nq, nk int) {
	plainAttention(active, dst, q, k, v, heads, headDim, nq, nk)
}

// PanelAttention is [Attention] with the keys in panels, see [PackPanels]: many
// calls with the same keys need not turn them over each time. It gives the same
// bits.
func PanelAttention(dst, q, k, v []float32, heads, headDim, nq, nk int) {
	panelAttention(active, dst, q, k, v, heads, headDim, nq, nk)
}

func plainAttention(im *impl, dst, q, k, v []float32, heads, headDim, nq, nk int) {
	need("attention: k", len(k), nk*heads*headDim)
	attendPlain(im, dst, q, k, v, heads, headDim, nq, nk, false)
}

func panelAttention(im *impl, dst, q, k, v []float32, heads, headDim, nq, nk int) {
	need("attention: k", len(k), im.padded(nk)*heads*headDim)
	attendPlain(im, dst, q, k, v, heads, headDim, nq, nk, true)
}

func attendPlain(im *impl, dst, q, k, v []float32, heads, headDim, nq, nk int, panels bool) {
	c := heads * headDim
	if heads <= 0 || headDim <= 0 || nk <= 0 {
		panic(fmt.Sprintf("kernel: attention: %d heads of %d, %d keys", heads, headDim, nk))
	}
	need("attention: dst", len(dst), nq*c)
	need("attention: q", len(q), nq*c)
	need("attention: v", len(v), nk*c)
	if nq <= 0 {
		return
	}
	t := attnTasks.get()
	*t = attnTask{
		im: im, dst: dst, q: q, k: k, v: v, ldq: c, ldk: c, ldo: c, hd: headDim,
		h: nk, w: 1, sh: nk, sw: 1, nq: nq, plain: true, panels: panels,
	}
	t.qTasks = (nq + queriesPerTask - 1) / queriesPerTask
	t.heads = heads
	t.start(1)
}

// Grid is the shape of an encoder block's attention: H x W tokens, cut into
// windows of Window x Window, or not cut if Window is 0.
type Grid struct{ H, W, Window, Heads, HeadDim int }

// RelPosAttention sets dst [H*W, Heads*HeadDim] to the attention of SAM's
// image encoder, with decomposed relative positions:
//
//	softmax(q·kᵀ/sqrt(HeadDim) + q·RelH[qy-ky+SH-1] + q·RelW[qx-kx+SW-1])·v
//
// Tokens are in picture order throughout. qkv [H*W, 3*Heads*HeadDim] holds q,
// k and v, each [Heads, HeadDim]. relH is [2*SH-1, HeadDim] and relW
// [2*SW-1, HeadDim], where SH and SW are Window, or H and W without windows;
// both nil: no relative positions.
//
// The original pads the picture with zeros to a whole number of windows before
// the projection to q, k and v: pad [3*Heads*HeadDim], the bias of that
// projection (nil: zeros), is what the padding tokens have. They are keys and
// values like any other. dst must not overlap the others.
//
// Scores exist only for a block of keys and a panel of queries at a time; the
// softmax is kept up to date block by block.
//
// Source: image_encoder.py, Attention, window_partition and
// add_decomposed_rel_pos (segment-anything dca509f). Relative positions:
// MViTv2, arXiv:2112.01526.
func RelPosAttention(dst, qkv []float32, g Grid, relH, relW, pad []float32) {
	relPosAttention(active, dst, qkv, g, relH, relW, nil, pad)
}

// OffsetAttention is [RelPosAttention] with another kind of relative
// positions: to each score it adds the head's bias for how many rows and
// columns lie between query and key,
//
//	softmax(q·kᵀ/sqrt(HeadDim) + bias[head][|qy-ky|*Window + |qx-kx|])·v
//
// There are windows; bias is [Heads, Window*Window].
//
// Source: tiny_vit_sam.py, Attention (MobileSAM 34bbbfd).
func OffsetAttention(dst, qkv []float32, g Grid, bias, pad []float32) {
	offsetAttention(active, dst, qkv, g, bias, pad)
}

func offsetAttention(im *impl, dst, qkv []float32, g Grid, bias, pad []float32) {
	if g.Window <= 0 {
		panic("kernel: attention: biases of offsets without windows")
	}
	need("attention: bias", len(bias), g.Heads*g.Window*g.Window)
	relPosAttention(im, dst, qkv, g, nil, nil, bias, pad)
}

func relPosAttention(im *impl, dst, qkv []float32, g Grid, relH, relW, bias, pad []float32) {
	c := g.Heads * g.HeadDim
	if g.H <= 0 || g.W <= 0 || g.Window < 0 || g.Heads <= 0 || g.HeadDim <= 0 {
		panic(fmt.Sprintf("kernel: attention: grid %+v", g))
	}
	t := attnTasks.get()
	*t = attnTask{
		im: im, dst: dst, q: qkv, k: qkv[min(c, len(qkv)):], v: qkv[min(2*c, len(qkv)):],
		ldq: 3 * c, ldk: 3 * c, ldo: c, heads: g.Heads, hd: g.HeadDim,
		h: g.H, w: g.W, sh: g.H, sw: g.W, relH: relH, relW: relW, bias: bias,
	}
	if g.Window > 0 {
		t.sh, t.sw = g.Window, g.Window
	}
	need("attention: dst", len(dst), g.H*g.W*c)
	need("attention: qkv", len(qkv), g.H*g.W*3*c)
	if (relH == nil) != (relW == nil) {
		panic("kernel: attention: relative positions for one axis only")
	}
	if relH != nil {
		need("attention: relH", len(relH), (2*t.sh-1)*g.HeadDim)
		need("attention: relW", len(relW), (2*t.sw-1)*g.HeadDim)
	}
	if pad != nil {
		need("attention: pad", len(pad), 3*c)
		t.padK, t.padV = pad[c:2*c], pad[2*c:3*c]
	}
	t.winX = (g.W + t.sw - 1) / t.sw
	t.winY = (g.H + t.sh - 1) / t.sh
	t.qTasks = (t.sh*t.sw + queriesPerTask - 1) / queriesPerTask
	if g.Window > 0 || g.H*g.W <= queriesPerTask {
		t.start(t.winX * t.winY)
		return
	}
	// Many pieces use the same keys: pack them once.
	a := arenas.get()
	n := t.heads * t.sh * t.sw * t.hd
	a.reset(2 * n)
	t.kAll, t.vAll = a.take(n), a.take(n)
	t.packing = true
	run(t.blocks(), t)
	t.packing = false
	t.start(1)
	arenas.put(a)
}

const (
	queriesPerTask = 512 // queries of one head that a task takes
	keysPerBlock   = 128 // keys whose scores exist at a time
)

// attnTask is one attention. A piece of it is a window, some heads and up to
// queriesPerTask of the window's queries.
type attnTask struct {
	im            *impl
	dst           []float32
	q, k, v       []float32
	ldq, ldk, ldo int
	heads, hd     int

	h, w       int // tokens of the picture that keys come from
	sh, sw     int // tokens of a window; h, w if there are no windows
	winY, winX int
	relH, relW []float32
	bias       []float32 // of offsets: [heads, sh*sw], or nil
	padK, padV []float32

	kAll, vAll []float32 // all keys and values, packed, or nil: [heads, keys, hd]
	packing    bool      // pieces pack a block of keys for kAll and vAll

	plain   bool // queries are a list of nq, apart from the keys
	panels  bool // keys are in panels
	nq      int
	qTasks  int // cuts of a window's queries
	hTasks  int // cuts of the heads
	perTask int // heads of a piece
}

var attnTasks freeList[attnTask]

func (t *attnTask) run(i int) {
	if t.packing {
		t.packBlock(i)
	} else {
		t.attend(i)
	}
}

// A rect is a block of keys: rows [y, y+rows), columns [x, x+cols) of the
// window. A block is some rows, or part of one long row.
type rect struct{ y, rows, x, cols int }

// blocks returns the number of blocks of a window's keys.
func (t *attnTask) blocks() int {
	if t.sw >= keysPerBlock {
		return t.sh * ((t.sw + keysPerBlock - 1) / keysPerBlock)
	}
	step := keysPerBlock / t.sw
	return (t.sh + step - 1) / step
}

// block returns block i of a window's keys.
func (t *attnTask) block(i int) rect {
	if t.sw >= keysPerBlock {
		n := (t.sw + keysPerBlock - 1) / keysPerBlock
		x := i % n * keysPerBlock
		return rect{i / n, 1, x, min(keysPerBlock, t.sw-x)}
	}
	step := keysPerBlock / t.sw
	return rect{i * step, min(step, t.sh-i*step), 0, t.sw}
}

// packBlock packs block i of the keys and values of all heads; there are no
// windows.
func (t *attnTask) packBlock(i int) {
	b := t.block(i)
	first, n := b.y*t.sw+b.x, b.rows*b.cols
	for h := range t.heads {
		at := (h*t.sh*t.sw + first) * t.hd
		src := first*t.ldk + h*t.hd
		if h+1 < t.heads {
			t.im.prefetch(t.k[src+t.hd:], t.ldk, n, t.hd)
			t.im.prefetch(t.v[src+t.hd:], t.ldk, n, t.hd)
		}
		t.transposeKeys(t.kAll[at:], t.k[src:], t.ldk, n)
		for j := range n {
			copy(t.vAll[at+j*t.hd:][:t.hd], t.v[src+j*t.ldk:])
		}
	}
}

// transposeKeys packs n keys, ld apart, into panels of up to mr.
func (t *attnTask) transposeKeys(dst, k []float32, ld, n int) {
	for j := 0; j < n; {
		r := t.im.share(n - j)
		t.im.transpose(dst[j*t.hd:], r, k[j*ld:], ld, r, t.hd)
		j += r
	}
}

// tasksPerCore is the least number of pieces per core that leaves all cores
// busy to the end.
const tasksPerCore = 24

// start does the attention of all windows and frees the task. A piece takes
// several heads, one after the other, if there are pieces enough: it can then
// fetch the next head's tokens while it works on one.
func (t *attnTask) start(windows int) {
	pieces := windows * t.heads * t.qTasks
	t.perTask = max(1, min(t.heads, pieces/(tasksPerCore*runtime.GOMAXPROCS(0))))
	if t.qTasks > 1 {
		t.perTask = 1 // long enough as it is
	}
	t.hTasks = (t.heads + t.perTask - 1) / t.perTask
	run(windows*t.hTasks*t.qTasks, t)
	*t = attnTask{}
	attnTasks.put(t)
}
