package kernel

// Panels and tiles are how the decoder's kernels keep matrices whose rows are
// lanes: a panel holds nr rows of x [n, k] (or fewer, then half of nr where
// that is enough), transposed, [k, w]; a tile up to mr rows, [k, r].

// PackPanels sets dst, PackedLen(n, k) values, to the panels of x [n, k]. The
// lanes beyond the last row are 0.
func PackPanels(dst, x []float32, n, k int) {
	need("pack panels: dst", len(dst), PackedLen(n, k))
	need("pack panels: x", len(x), n*k)
	packPanels(active, dst, x, n, k)
}

func packPanels(im *impl, dst, x []float32, n, k int) {
	for j := 0; j < n; j += im.nr {
		im.packPanel(dst[j*k:], x[j*k:], n-j, k)
	}
}

// packPanel sets dst to the first panel of x [left, k] and returns its width
// and how many of its lanes are rows.
func (im *impl) packPanel(dst, x []float32, left, k int) (w, lanes int) {
	w = im.panelWidth(left)
	lanes = min(w, left)
	if lanes < w {
		clear(dst[:k*w])
	}
	im.transpose(dst, w, x, k, lanes, k)
	return w, lanes
}

// PackTiles returns the tiles of w [n, k], one after the other.
func PackTiles(w []float32, n, k int) []float32 {
	need("pack tiles: w", len(w), n*k)
	dst := Alloc(n * k)
	active.packTiles(dst, w, n, k)
	return dst
}

func (im *impl) packTiles(dst, w []float32, n, k int) {
	for i := 0; i < n; i += im.mr {
		r := min(im.mr, n-i)
		im.transpose(dst[i*k:], r, w[i*k:], k, r, k)
	}
}

// packTilesKN is packTiles for w [k, n].
func (im *impl) packTilesKN(dst, w []float32, k, n int) {
	for i := 0; i < n; i += im.mr {
		r := min(im.mr, n-i)
		for p := range k {
			copy(dst[i*k+p*r:][:r], w[p*n+i:])
		}
	}
}

// tiles sets c [n, w] to the product of the tiles of a [n, k] with the panel
// b [k, w], plus d, whose rows are ldd apart; d may be c or nil.
func (im *impl) tiles(n, k, w int, a, b, c, d []float32, ldd int) {
	for i := 0; i < n; i += im.mr {
		r := min(im.mr, n-i)
		var before []float32
		if d != nil {
			before = d[i*ldd:]
		}
		im.tileOf(r, w)(k, a[i*k:], r, b, c[i*w:], w, before, ldd)
	}
}

// PanelLanes is the width of a full panel.
func PanelLanes() int { return active.nr }
