package kernel

// Panels and tiles are how the decoder's kernels keep matrices whose rows are
// lanes: a panel holds nr rows of x [n, k] (or fewer, then half of nr where
// that is enough), transposed, [k, w]; a tile the rows that impl.height
// says, [k, r].

// PackPanels sets dst, PackedLen(n, k) values, to the panels of x [n, k]. The
// lanes beyond the last row are 0.
func PackPanels(dst, x []float32, n, k int) {
	need("pack panels: dst", len(dst), PackedLen(n, k))
	need("pack panels: x", len(x), n*k)
	packPanels(active, dst, x, n, k)
}

func packPanels(im *impl, dst, x []float32, n, k int) {
	for j := 0; j < n; j += im.nr {
		w := im.panelWidth(n - j)
		panel, lanes := dst[j*k:][:k*w], min(w, n-j)
		if lanes < w {
			clear(panel)
		}
		im.transpose(panel, w, x[j*k:], k, lanes, k)
	}
}

// UnpackPanels sets dst [n, k] to the rows that are in panels.
func UnpackPanels(dst, panels []float32, n, k int) {
	need("unpack panels: dst", len(dst), n*k)
	need("unpack panels: panels", len(panels), PackedLen(n, k))
	im := active
	for j := 0; j < n; j += im.nr {
		w := im.panelWidth(n - j)
		im.transpose(dst[j*k:], k, panels[j*k:], w, k, min(w, n-j))
	}
}

// PackTiles returns the tiles of w [n, k], one after the other.
func PackTiles(w []float32, n, k int) []float32 {
	need("pack tiles: w", len(w), n*k)
	dst := Alloc(n * k)
	active.packTiles(dst, w, n, k)
	return dst
}

func (im *impl) packTiles(dst, w []float32, n, k int) {
	for i := 0; i < n; {
		r := im.height(n - i)
		im.transpose(dst[i*k:], r, w[i*k:], k, r, k)
		i += r
	}
}

// packTilesKN is packTiles for w [k, n].
func (im *impl) packTilesKN(dst, w []float32, k, n int) {
	i := im.fullTiles(n) * im.mr
	cutRows(dst, w, n, k, i, im.mr)
	for i < n {
		r := im.height(n - i)
		copyRows(dst[i*k:], r, w[i:], n, k, r)
		i += r
	}
}

// tiles sets c [n, w] to the product of the tiles of a [n, k] with the panel
// b [k, w], plus d, whose rows are ldd apart; d may be c or nil.
func (im *impl) tiles(n, k, w int, a, b, c, d []float32, ldd int) {
	before := func(i int) []float32 {
		if d == nil {
			return nil
		}
		return d[i*ldd:]
	}
	i := 0
	if full := im.fullTiles(n); w == im.nr && full > 0 {
		im.stack(full, k, a, b, c, w, d, ldd)
		i = full * im.mr
	}
	for i < n {
		r := im.height(n - i)
		im.tileOf(r, w)(k, a[i*k:], r, b, c[i*w:], w, before(i), ldd)
		i += r
	}
}

// PanelLanes is the width of a full panel.
func PanelLanes() int { return active.nr }
