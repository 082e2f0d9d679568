package sam

import (
	"context"
	"fmt"
	"image"

	"github.com/slidesam/sam/internal/mask"
)

// tissueSide is the longer side, in pixels, that tissue is looked for at.
const tissueSide = 1536

// TissueMask returns where a brightfield slide has tissue, as a mask of the
// whole slide reduced to at most 1,536 pixels.
//
// Tissue is what has colour, more than Otsu's threshold of the spread between
// the largest and the smallest channel, or is clearly darker than the glass;
// specks are dropped, small gaps closed, and the outline widened by two
// pixels. The thresholds are held to 6..24 and to three quarters of the glass,
// so that a slide without glass is all tissue and an empty one none.
func TissueMask(ctx context.Context, s *Slide) (*Mask, error) {
	pic, err := s.w.Thumbnail(ctx, tissueSide)
	if err != nil {
		return nil, fmt.Errorf("sam: tissue mask: %w", err)
	}
	m, err := tissueOf(pic)
	if err != nil {
		return nil, fmt.Errorf("sam: tissue mask: %w", err)
	}
	return (*Mask)(m), nil
}

func tissueOf(pic *image.RGBA) (*mask.Mask, error) {
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

// coverage answers whether a rectangle of the slide meets a mask, by sums
// over rectangles.
type coverage struct {
	size Size
	sums []int32 // [H+1, W+1]
}

func newCoverage(m *Mask) *coverage {
	s := m.Size()
	c := &coverage{s, make([]int32, (s.H+1)*(s.W+1))}
	for y := range s.H {
		row := int32(0)
		for x := range s.W {
			if m.At(x, y) {
				row++
			}
			c.sums[(y+1)*(s.W+1)+x+1] = c.sums[y*(s.W+1)+x+1] + row
		}
	}
	return c
}

// any reports whether r, of a slide of w x h, meets the mask.
func (c *coverage) any(r image.Rectangle, w, h int) bool {
	fx, fy := float64(c.size.W)/float64(w), float64(c.size.H)/float64(h)
	x0, y0 := int(float64(r.Min.X)*fx), int(float64(r.Min.Y)*fy)
	x1, y1 := min(int(float64(r.Max.X)*fx)+1, c.size.W), min(int(float64(r.Max.Y)*fy)+1, c.size.H)
	n := c.size.W + 1
	return c.sums[y1*n+x1]-c.sums[y0*n+x1]-c.sums[y1*n+x0]+c.sums[y0*n+x0] > 0
}
