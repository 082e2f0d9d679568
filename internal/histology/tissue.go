// Package histology looks at stained tissue without a model: where a slide has
// tissue, and where nuclei are.
//
// Pictures are image.RGBA, premultiplied; what is transparent was not scanned
// and counts as glass. Errors carry no package's name: whoever hands them to a
// user adds its own.
//
//	m, err := histology.Tissue(thumbnail)
//	pts, err := histology.Nuclei(ctx, tile, 0.25)
package histology

import (
	"image"

	"github.com/slidesam/sam/internal/mask"
)

// Tissue returns where a picture of a brightfield slide has tissue.
//
// Tissue is what has colour, more than Otsu's threshold of the spread between
// the largest and the smallest channel, or is clearly darker than the glass;
// specks are dropped, small gaps closed, and the outline widened by two
// pixels. The thresholds are held to 6..24 and to three quarters of the glass,
// so that a slide without glass is all tissue and an empty one none.
func Tissue(pic *image.RGBA) (*mask.Mask, error) {
	w, h := pic.Rect.Dx(), pic.Rect.Dy()
	spread, light := make([]byte, w*h), make([]byte, w*h)
	var hs, hl [256]int
	for i := range w * h {
		p := pic.Pix[i/w*pic.Stride+i%w*4:]
		r, g, b, a := int(p[0]), int(p[1]), int(p[2]), int(p[3])
		if a < 255 { // nothing scanned there: glass
			r, g, b = r+255-a, g+255-a, b+255-a
		}
		spread[i] = byte(min(max(r, g, b)-min(r, g, b), 255))
		light[i] = byte(min((r*2+g*5+b)/8, 255))
		hs[spread[i]]++
		hl[light[i]]++
	}
	limit := min(max(otsu(hs[:]), 6), 24)
	dark := quantile(hl[:], 0.95) * 3 / 4
	spread, light = smooth(spread, w, h), smooth(light, w, h)
	m, err := mask.New(mask.Size{H: h, W: w}, func(x, y int) bool {
		return int(spread[y*w+x]) > limit || int(light[y*w+x]) < dark
	})
	if err != nil {
		return nil, err
	}
	speck := max(w*h/20000, 4)
	if m.Area() > 0 {
		if m, err = m.KeepIslands(speck); err != nil {
			return nil, err
		}
		if m, _, err = m.FillHoles(4 * speck); err != nil {
			return nil, err
		}
	}
	return m.Widen(2)
}

// otsu returns the value that best splits a histogram in two.
func otsu(h []int) int {
	total, sum := 0.0, 0.0
	for v, n := range h {
		total += float64(n)
		sum += float64(v * n)
	}
	best, at := -1.0, 0
	n0, s0 := 0.0, 0.0
	for v, n := range h {
		n0 += float64(n)
		s0 += float64(v * n)
		if n0 == 0 || n0 == total {
			continue
		}
		d := s0/n0 - (sum-s0)/(total-n0)
		if b := n0 * (total - n0) * d * d; b > best {
			best, at = b, v
		}
	}
	return at
}

// quantile returns the value that a share q of a histogram does not exceed.
func quantile(h []int, q float64) int {
	total := 0
	for _, n := range h {
		total += n
	}
	left := int(q * float64(total))
	for v, n := range h {
		if left -= n; left <= 0 {
			return v
		}
	}
	return len(h) - 1
}

// smooth returns the means over 3 x 3 pixels.
func smooth(v []byte, w, h int) []byte {
	out := make([]byte, len(v))
	for y := range h {
		for x := range w {
			sum, n := 0, 0
			for j := max(y-1, 0); j <= min(y+1, h-1); j++ {
				for i := max(x-1, 0); i <= min(x+1, w-1); i++ {
					sum += int(v[j*w+i])
					n++
				}
			}
			out[y*w+x] = byte(sum / n)
		}
	}
	return out
}
