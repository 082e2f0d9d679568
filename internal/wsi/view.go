package wsi

import (
	"context"
	"image"
	"math/bits"

	"github.com/slidesam/sam/internal/tiff"
)

// view is a level, or what it is when its tiles are halved while they are
// decoded, which takes a fraction of the time.
type view struct {
	level, halved int
	w, h          int // in its own pixels
	// center is where in its square a pixel stands: in the middle of one of the
	// level, but that of a halved one stands for the first of two by two.
	center float64
}

// halving is a raster whose tiles can be decoded smaller.
type halving interface {
	// Reductions returns how often they can be halved.
	Reductions() int
	// Reduced is the tile at 1/2^n of its size.
	Reduced(col, row, n int) (*tiff.Segment, error)
}

func (s *Slide) viewOf(level, halved int) view {
	l := s.levels[level]
	return view{level, halved, (l.W-1)>>halved + 1, (l.H-1)>>halved + 1, 0.5 / float64(int(1)<<halved)}
}

// viewFor returns the view of a level for a picture reduced by fx and fy, of
// which a pixel still takes at least two by two of the view's, and the factors
// that are left.
func (s *Slide) viewFor(level int, fx, fy float64) (v view, vx, vy float64) {
	n := 0
	if s.src == nil {
		if r, ok := s.rasts[level].(halving); ok {
			n = max(0, min(bits.Len(uint(min(fx, fy, 1<<20)))-2, r.Reductions()))
		}
	}
	scale := float64(int(1) << n)
	return s.viewOf(level, n), fx / scale, fy / scale
}

// rect is a rectangle of the view in pixels of its level.
func (v view) rect(r image.Rectangle) image.Rectangle {
	return image.Rect(r.Min.X<<v.halved, r.Min.Y<<v.halved, r.Max.X<<v.halved, r.Max.Y<<v.halved)
}

// tileOf returns a tile of a view, nil for one that is skipped.
func (s *Slide) tileOf(ctx context.Context, v view, col, row int) (*tiff.Segment, error) {
	if v.halved == 0 {
		return s.tile(ctx, v.level, col, row)
	}
	key := tileKey{level: v.level, col: col, row: row, halved: v.halved}
	_, _, tw, th := s.rasts[v.level].grid()
	seg, err := s.cache.getWithin(ctx, key, 4*int64(tw>>v.halved)*int64(th>>v.halved), func() (*tiff.Segment, error) {
		return s.rasts[v.level].(halving).Reduced(col, row, v.halved)
	})
	if err == nil {
		return seg, nil
	}
	// A tile that is missing, that differs from the others, or that has a fault.
	whole, err := s.tile(ctx, v.level, col, row)
	if whole == nil || err != nil {
		return nil, err
	}
	return halve(whole, v.halved), nil
}

// halve takes every 2^n-th pixel of the means around it.
func halve(seg *tiff.Segment, n int) *tiff.Segment {
	k := 1 << n
	out := &tiff.Segment{W: max(1, seg.W>>n), H: max(1, seg.H>>n)}
	out.Pix = make([]byte, 4*out.W*out.H)
	for y := range out.H {
		for x := range out.W {
			var sum, count [4]int
			for j := max(y*k-k/2, 0); j <= min(y*k+k/2, seg.H-1); j++ {
				for i := max(x*k-k/2, 0); i <= min(x*k+k/2, seg.W-1); i++ {
					for c := range sum {
						sum[c] += int(seg.Pix[4*(j*seg.W+i)+c])
						count[c]++
					}
				}
			}
			for c := range sum {
				out.Pix[4*(y*out.W+x)+c] = byte((sum[c] + count[c]/2) / count[c])
			}
		}
	}
	return out
}
