package cellpose

import (
	"fmt"
	"image"
	"slices"

	"github.com/slidesam/sam/internal/resample"
)

// Levels are the values of red, green and blue, 0 to 255, that become 0 and 1.
type Levels [3][2]float32

// sampled is how many values a channel may have before its percentiles are
// those of every n-th row and column; see transforms.py, normalize99.
const (
	sampled     = 224 * 224 * 224
	sampledSide = 224
)

// LevelsOf returns the first and the 99th percentile of each channel. Both are
// 0 for a channel of one value, which stays empty.
//
// Source: transforms.py, normalize_img, normalize99 with downsample (cellpose
// 4.2.1.1); numpy.percentile (2.4.6).
func LevelsOf(p resample.RGB) Levels {
	sy, sx := 1, 1
	if p.Size.H*p.Size.W > sampled {
		sy, sx = max(1, p.Size.H/sampledSide), max(1, p.Size.W/sampledSide)
	}
	var all [3]bool // whether a value differs from the first
	var n [3][256]int
	total := 0
	for y := range p.Size.H {
		row := p.Row(y, nil)
		for i, v := range row {
			all[i%3] = all[i%3] || v != p.Pix[i%3]
		}
		if y%sy != 0 {
			continue
		}
		for x := 0; x < p.Size.W; x += sx {
			total++
			for c := range n {
				n[c][row[3*x+c]]++
			}
		}
	}
	var out Levels
	for c := range n {
		if all[c] {
			out[c] = [2]float32{percentile(&n[c], total, 1), percentile(&n[c], total, 99)}
		}
	}
	return out
}

// LevelsOfFields returns the first and the 99th percentile of each channel of all
// pixels of several pictures; nil if there are none.
func LevelsOfFields(fields []*image.RGBA) *[3][2]float32 {
	var out Levels
	var n [3][256]int
	total := 0
	for _, f := range fields {
		for i := 0; i < len(f.Pix); i += 4 {
			for c := range n {
				n[c][f.Pix[i+c]]++
			}
		}
		total += len(f.Pix) / 4
	}
	if total == 0 {
		return nil
	}
	for c := range n {
		if slices.Max(n[c][:]) < total {
			out[c] = [2]float32{percentile(&n[c], total, 1), percentile(&n[c], total, 99)}
		}
	}
	return (*[3][2]float32)(&out)
}

// percentile interpolates between neighbours in order.
func percentile(n *[256]int, total int, percent float64) float32 {
	q := percent / 100
	at := float64(float64(total)*q) + (1 - q) - 1
	lo := int(at)
	value := func(i int) float32 {
		for v, k := range n {
			if i -= k; i < 0 {
				return float32(v)
			}
		}
		return 255
	}
	a, b, t := value(lo), value(min(lo+1, total-1)), at-float64(lo)
	if t >= 0.5 {
		return b - float32((b-a)*float32(1-t))
	}
	return a + float32((b-a)*float32(t))
}

// check refuses levels that would leave a channel empty.
func (l Levels) check() error {
	for c, v := range l {
		if !(v[1]-v[0] > leastSpan) || v[1]-v[0] > maxLevel {
			return fmt.Errorf("levels %g and %g of %s, want two of which the second is larger", v[0], v[1], [...]string{"red", "green", "blue"}[c])
		}
	}
	return nil
}

// Levels closer than leastSpan leave a channel empty, as upstream does. No
// picture has any near maxLevel.
const (
	leastSpan = 1e-3
	maxLevel  = 1e6
)

// table maps each value of each channel to the network's input.
func (l Levels) table() (t [3][256]float32) {
	for c := range t {
		lo, span := l[c][0], l[c][1]-l[c][0]
		if !(span > leastSpan) {
			continue
		}
		for v := range t[c] {
			t[c][v] = (float32(v) - lo) / span
		}
	}
	return t
}
