package kernel

// RelPosGrad is the gradient of [RelPosAttention]. No more scores than those
// of a block of queries and keys exist at a time.
//
// QKV, Grid, RelH, RelW and Pad are what RelPosAttention got, Out is what it
// gave, DOut its gradient. DQKV, DRelH, DRelW and DPad have the lengths of
// QKV, RelH, RelW and Pad and are overwritten; DPad may be nil. The query's
// part of DPad is 0: the original drops what padding tokens ask for.
type RelPosGrad struct {
	Grid                     Grid
	QKV, RelH, RelW, Pad     []float32
	Out, DOut                []float32
	DQKV, DRelH, DRelW, DPad []float32
}

// windowGroups is how many sums of the tables' gradients a head has at most.
const windowGroups = 8

// Run computes the gradients.
func (t *RelPosGrad) Run() { t.run(active) }

func (t *RelPosGrad) run(im *impl) {
	g := t.Grid
	c, hd := g.Heads*g.HeadDim, g.HeadDim
	sh, sw := g.H, g.W
	if g.Window > 0 {
		sh, sw = g.Window, g.Window
	}
	need("attention grad: qkv", len(t.QKV), g.H*g.W*3*c)
	need("attention grad: dqkv", len(t.DQKV), g.H*g.W*3*c)
	need("attention grad: out", len(t.Out), g.H*g.W*c)
	need("attention grad: dout", len(t.DOut), g.H*g.W*c)
	for _, n := range []int{len(t.RelH), len(t.DRelH)} {
		need("attention grad: relH", n, (2*sh-1)*hd)
	}
	for _, n := range []int{len(t.RelW), len(t.DRelW)} {
		need("attention grad: relW", n, (2*sw-1)*hd)
	}
	winX := (g.W + sw - 1) / sw
	windows := winX * ((g.H + sh - 1) / sh)
	groups := min(windows, windowGroups)
	// Sums of a head's group of windows: relH, relW, pad's key and value.
	part := (2*sh-1)*hd + (2*sw-1)*hd + 2*hd
	sums := make([]float32, g.Heads*groups*part)
	Parallel(g.Heads*groups, func(i int) {
		h, grp := i/groups, i%groups
		a := arenas.get()
		w := newHeadGrad(im, a, hd, sh, sw, min(sh, g.H)*min(sw, g.W), t.RelH, t.RelW)
		w.place = make([]int, w.nq)
		sum := sums[i*part:][:part]
		w.dRelH, w.dRelW = sum[:len(t.RelH)], sum[len(t.RelH):][:len(t.RelW)]
		for k := grp; k < windows; k += groups {
			t.window(w, h, k/winX*sh, k%winX*sw, sum[part-2*hd:])
		}
		arenas.put(a)
	})
	clear(t.DRelH)
	clear(t.DRelW)
	clear(t.DPad)
	for i := range g.Heads * groups {
		s, h := sums[i*part:][:part], i/groups
		add := func(dst []float32) {
			im.add(dst, dst, s[:len(dst)])
			s = s[len(dst):]
		}
		add(t.DRelH[:(2*sh-1)*hd])
		add(t.DRelW[:(2*sw-1)*hd])
		if t.DPad != nil {
			add(t.DPad[c+h*hd:][:hd])
			add(t.DPad[2*c+h*hd:][:hd])
		}
	}
}

// window does head h of the window whose first token is (x0, y0). dPad is the
// sum of the gradients of a padding token's key and value.
func (t *RelPosGrad) window(w *headGrad, h, y0, x0 int, dPad []float32) {
	g, hd := t.Grid, t.Grid.HeadDim
	c := g.Heads * hd
	w.nq = 0
	tokens := func(f func(i, token int)) { // -1 for padding
		for i := range w.sh * w.sw {
			if y, x := y0+i/w.sw, x0+i%w.sw; y < g.H && x < g.W {
				f(i, y*g.W+x)
			} else {
				f(i, -1)
			}
		}
	}
	tokens(func(i, at int) {
		k, v := w.k[i*hd:][:hd], w.v[i*hd:][:hd]
		switch {
		case at >= 0:
			row := t.QKV[at*3*c+h*hd:]
			copy(k, row[c:])
			copy(v, row[2*c:])
			copy(w.q[w.nq*hd:][:hd], row)
			copy(w.do[w.nq*hd:][:hd], t.DOut[at*c+h*hd:])
			w.dots(w.nq, 1, t.Out[at*c+h*hd:], t.DOut[at*c+h*hd:], c)
			w.place[w.nq] = i
			w.nq++
		case t.Pad != nil:
			copy(k, t.Pad[c+h*hd:])
			copy(v, t.Pad[2*c+h*hd:])
		default:
			clear(k)
			clear(v)
		}
	})
	w.run()
	n := 0
	tokens(func(i, at int) {
		dk, dv := w.dk[i*w.wide:][:hd], w.dv[i*w.wide:][:hd]
		if at >= 0 {
			row := t.DQKV[at*3*c+h*hd:]
			copy(row[:hd], w.dq[n*hd:])
			copy(row[c:][:hd], dk)
			copy(row[2*c:][:hd], dv)
			n++
			return
		}
		for d := range hd {
			dPad[d] += dk[d]
			dPad[hd+d] += dv[d]
		}
	})
}
