package kernel

// ImageToTokenLen is how many values of the weights ImageToToken writes.
func (a *Absorbed) ImageToTokenLen() int { return a.imageToTokenLen(active) }

func (a *Absorbed) imageToTokenLen(im *impl) int { return im.padded(a.Cells) * a.rows() }

// ImageToToken sets next [Cells, Channels] to x plus what the attention of
// each row of x + positions to the tokens finds: the sum over the heads of the
// means of values [Heads*Tokens, Channels]. keys [Heads*Tokens, Channels] are
// absorbed, and known [Heads*Tokens] is what is known of their scores, the
// product with the queries' bias. weights has ImageToTokenLen values, which the
// gradient needs.
func (a *Absorbed) ImageToToken(next, weights, x, positions, keys, known, values []float32) {
	a.imageToToken(active, next, weights, x, positions, keys, known, values)
}

func (a *Absorbed) imageToToken(im *impl, next, weights, x, positions, keys, known, values []float32) {
	a.check("image to token", [][]float32{next, x, positions}, [][]float32{keys, values})
	need("image to token: known", len(known), a.rows())
	need("image to token: weights", len(weights), a.imageToTokenLen(im))
	t := a.task(im)
	t.x, t.positions, t.weights, t.y = x, positions, weights, next
	rows, c, factor := a.rows(), a.Channels, a.scale()*log2e
	s := arenas.get()
	s.reset(rows * (c + im.nr + im.padded(c)))
	t.tiles, t.start, t.back = s.take(rows*c), s.take(rows*im.nr), s.take(rows*im.padded(c))
	im.packTiles(t.tiles, keys, rows, c)
	im.scale(t.tiles, t.tiles, factor)
	for r := range rows {
		for j := range im.nr {
			t.start[r*im.nr+j] = known[r] * factor
		}
	}
	clear(t.back)
	t.channelPanels(t.back, values, 0, rows, rows)
	t.piece = (*absorbedTask).update
	t.group = 1
	run(t.groups(), t)
	arenas.put(s)
}

// rowPanels calls f for each panel of n rows of the map: its first, width and
// lanes.
func (t *absorbedTask) rowPanels(n int, f func(j, w, lanes int)) {
	for j := 0; j < n; j += t.im.nr {
		w := t.im.panelWidth(n - j)
		f(j, w, min(w, n-j))
	}
}

// update computes the rows of group g.
func (t *absorbedTask) update(g int) {
	im, c, rows := t.im, t.Channels, t.rows()
	s := arenas.get()
	s.reset(2*im.nr*c + 2*im.nr + im.mr*im.nr)
	at, panel := s.take(im.nr*c), s.take(im.nr*c)
	m, l, edge := s.take(im.nr), s.take(im.nr), s.take(im.mr*im.nr)
	t.each(g, func(_, first, n int) {
		t.rowPanels(n, func(j, w, lanes int) {
			x := t.x[(first+j)*c:][:lanes*c]
			im.add(at[:lanes*c], x, t.positions[(first+j)*c:][:lanes*c])
			if lanes < w {
				clear(panel[:c*w])
			}
			im.transpose(panel, w, at, c, lanes, c)
			e := t.weights[(first+j)*rows:][:rows*w]
			im.tiles(rows, c, w, t.tiles, panel, e, t.start, im.nr)
			m, l := m[:w], l[:w]
			for h := range t.Heads {
				of := e[h*t.Tokens*w:]
				copy(m, of)
				im.maxRows(of, m, t.Tokens, w)
				clear(l)
				im.expSum(of, m, l, t.Tokens, w)
				for i, v := range l {
					l[i] = 1 / v
				}
				im.mulRows(of, l, t.Tokens, w)
			}
			t.product(lanes, rows, e, w, t.back, t.y[(first+j)*c:], x, edge)
		})
	})
	arenas.put(s)
}

// ImageToTokenGrad sets dx [Cells, Channels], dkeys [Heads*Tokens, Channels],
// dknown [Heads*Tokens] and dvalues [Heads*Tokens, Channels] to the gradients of
// what ImageToToken adds to x, for dnext, that of next; that x itself goes on
// is left out. weights are what ImageToToken wrote.
func (a *Absorbed) ImageToTokenGrad(dx, dkeys, dknown, dvalues, dnext, x, positions, keys, values, weights []float32) {
	a.imageToTokenGrad(active, dx, dkeys, dknown, dvalues, dnext, x, positions, keys, values, weights)
}

func (a *Absorbed) imageToTokenGrad(im *impl, dx, dkeys, dknown, dvalues, dnext, x, positions, keys, values, weights []float32) {
	a.check("image to token grad", [][]float32{dx, dnext, x, positions}, [][]float32{dkeys, dvalues, keys, values})
	need("image to token grad: dknown", len(dknown), a.rows())
	need("image to token grad: weights", len(weights), a.imageToTokenLen(im))
	t := a.task(im)
	t.x, t.positions, t.dy, t.weights, t.y = x, positions, dnext, weights, dx
	rows, c := a.rows(), a.Channels
	size := t.updatePart()
	s := arenas.get()
	ones := max(absorbedCells, a.Tokens)
	s.reset(2*rows*c + rows*im.padded(c) + ones + t.groups()*size)
	t.tiles, t.back, t.ones = s.take(rows*c), s.take(rows*im.padded(c)), s.take(ones)
	scaled := s.take(rows * c)
	t.parts = s.take(t.groups() * size)
	im.packTiles(t.tiles, values, rows, c)
	im.scale(scaled, keys[:rows*c], a.scale())
	clear(t.back)
	t.channelPanels(t.back, scaled, 0, rows, rows)
	for i := range t.ones {
		t.ones[i] = 1
	}
	t.piece = (*absorbedTask).updateGrad
	run(t.groups(), t)
	t.merge(dvalues, t.parts, size, 1)
	t.merge(dkeys, t.parts[t.wide*c:], size, a.scale())
	total := t.parts[2*t.wide*c:][:t.wide]
	for g := 1; g < t.groups(); g++ {
		im.add(total, total, t.parts[g*size+2*t.wide*c:][:t.wide])
	}
	im.scale(dknown[:rows], total[:rows], a.scale())
	arenas.put(s)
}

// updatePart is the size of a group's share: of dvalues and of dkeys, panels
// [Channels, w], and of dknown.
func (t *absorbedTask) updatePart() int { return t.wide * (2*t.Channels + 1) }

// updateGrad is the gradient of update.
func (t *absorbedTask) updateGrad(g int) {
	im, c, rows := t.im, t.Channels, t.rows()
	part := t.parts[g*t.updatePart():]
	values, keys, known := part[:t.wide*c], part[t.wide*c:2*t.wide*c], part[2*t.wide*c:][:t.wide]
	clear(known)
	s := arenas.get()
	s.reset(absorbedCells*(c+2*t.wide) + im.nr*(c+3*rows+1) + im.mr*im.nr)
	at, weights, slopes := s.take(absorbedCells*c), s.take(absorbedCells*t.wide), s.take(absorbedCells*t.wide)
	panel, d, turn, dot := s.take(im.nr*c), s.take(im.nr*rows), s.take(im.nr*rows), s.take(im.nr)
	edge := s.take(im.mr * im.nr)
	t.each(g, func(b, first, n int) {
		im.add(at[:n*c], t.x[first*c:][:n*c], t.positions[first*c:][:n*c])
		dy := t.dy[first*c:][:n*c]
		clear(weights[:n*t.wide])
		clear(slopes[:n*t.wide])
		t.rowPanels(n, func(j, w, lanes int) {
			if lanes < w {
				clear(panel[:c*w])
			}
			im.transpose(panel, w, dy[j*c:], c, lanes, c)
			e, d := t.weights[(first+j)*rows:][:rows*w], d[:rows*w]
			im.tiles(rows, c, w, t.tiles, panel, d, nil, 0)
			im.mul(d, d, e)
			turn := turn[:rows*w]
			copy(turn, e)
			for h := range t.Heads {
				of := h * t.Tokens * w
				im.tileOf(1, w)(t.Tokens, t.ones, 1, d[of:], dot, w, nil, 0)
				im.mulRows(turn[of:], dot, t.Tokens, w)
			}
			im.blend(d, d, turn, 1, -1)
			t.product(lanes, rows, d, w, t.back, t.y[(first+j)*c:], nil, edge)
			t.columns(func(i, wide, cols int) {
				im.transpose(weights[i*n+j*wide:], wide, e[i*w:], w, cols, lanes)
				im.transpose(slopes[i*n+j*wide:], wide, d[i*w:], w, cols, lanes)
			})
		})
		t.columns(func(i, w, _ int) {
			begin := b == g*t.group
			t.sums(values[i*c:], dy, weights[i*n:], n, w, begin)
			t.sums(keys[i*c:], at, slopes[i*n:], n, w, begin)
			im.tileOf(1, w)(n, t.ones, 1, slopes[i*n:], known[i:], w, known[i:], w)
		})
	})
	arenas.put(s)
}
