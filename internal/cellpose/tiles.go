package cellpose

import "math"

// overlap is the part of a window that neighbours share, on each side.
const overlap = 0.1

// axis is how a picture's side is cut into windows.
type axis struct {
	size   int   // of the picture
	before int   // pixels of padding before it
	padded int   // size with the padding on both sides
	starts []int // of windows, in the padded picture
}

// newAxis pads a side to a multiple of 16 and 8 pixels more on both ends, or to
// one window, and spreads windows over it.
//
// Source: transforms.py, get_pad_yx, make_tiles; core.py, run_net (cellpose
// 4.2.1.1).
func newAxis(size, window int) axis {
	const div = 16
	pad := 0
	if size >= window {
		pad = (div - size%div) % div
	} else {
		pad = max(0, window-size-div)
	}
	a := axis{size: size, before: div/2 + pad/2, padded: size + div + pad}
	n := 1
	if a.padded > window {
		n = int(math.Ceil((1 + 2*overlap) * float64(a.padded) / float64(window)))
	}
	last := a.padded - window
	for i := range n {
		at := last
		if i < n-1 {
			at = int(float64(i) * (float64(last) / float64(n-1)))
		} else if n == 1 {
			at = 0
		}
		a.starts = append(a.starts, at)
	}
	return a
}

// taper returns the weight of a window's pixels along one of its sides, which
// falls towards the ends.
//
// Source: transforms.py, _taper_mask (cellpose 4.2.1.1).
func taper(window int) []float64 {
	const sigma, least = 7.5, 224
	full := max(least, window)
	all := make([]float64, full)
	for i := range all {
		d := math.Abs(float64(i) - float64(full-1)/2)
		all[i] = 1 / (1 + math.Exp((d-(float64(full)/2-20))/sigma))
	}
	return all[full/2-window/2:][:window]
}

// blend averages windows by their taper.
type blend struct {
	y, x  axis
	side  int
	taper []float64
	sum   [][]float32 // of each map, of the padded picture
	n     []float64
}

func newBlend(y, x axis, side, maps int) *blend {
	b := &blend{y: y, x: x, side: side, taper: taper(side), n: make([]float64, y.padded*x.padded)}
	for range maps {
		b.sum = append(b.sum, make([]float32, y.padded*x.padded))
	}
	return b
}

// add takes a window's maps: at(m, y, x).
func (b *blend) add(y0, x0 int, at func(m, y, x int) float32) {
	for y, wy := range b.taper {
		row := (y0+y)*b.x.padded + x0
		for x, wx := range b.taper {
			w := float64(wy * wx)
			b.n[row+x] += w
			for m, s := range b.sum {
				s[row+x] = float32(float64(s[row+x]) + float64(float64(at(m, y, x))*w))
			}
		}
	}
}

// picture returns map m without the padding.
func (b *blend) picture(m int) []float32 {
	out := make([]float32, b.y.size*b.x.size)
	for y := range b.y.size {
		from := (b.y.before+y)*b.x.padded + b.x.before
		for x := range b.x.size {
			out[y*b.x.size+x] = float32(float64(b.sum[m][from+x]) / b.n[from+x])
		}
	}
	return out
}
