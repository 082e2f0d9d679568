package wsi

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
)

// ErrNoMPP is wrapped by the error for a slide whose pixel size is needed
// and unknown.
var ErrNoMPP = errors.New("pixel size unknown")

// maxSource bounds the source pixels that one piece of ReadAt holds.
const maxSource = 1 << 20

// SizeAt returns the size of the slide in pixels of mpp micrometres.
func (s *Slide) SizeAt(mpp float64) (w, h int, err error) {
	if err := s.checkMPP(mpp); err != nil {
		return 0, 0, fmt.Errorf("wsi: size at: %w", err)
	}
	z := s.levels[0]
	return sizeAt(z.W, s.meta.MPPX, mpp), sizeAt(z.H, s.meta.MPPY, mpp), nil
}

func sizeAt(n int, have, want float64) int {
	return max(1, int(math.Floor(float64(n)*have/want+1e-6)))
}

func (s *Slide) checkMPP(mpp float64) error {
	if !(mpp > 0) || math.IsInf(mpp, 0) {
		return fmt.Errorf("%v micrometres per pixel, want more than 0", mpp)
	}
	if s.meta.MPPX == 0 || s.meta.MPPY == 0 {
		return ErrNoMPP
	}
	return nil
}

// LevelAt returns the coarsest level that is at least as fine as mpp, level
// 0 if none is.
func (s *Slide) LevelAt(mpp float64) (int, error) {
	if err := s.checkMPP(mpp); err != nil {
		return 0, fmt.Errorf("wsi: level at: %w", err)
	}
	best := 0
	for i, l := range s.levels {
		// A rounded level size must not lose the level: 1 % too coarse is right.
		if s.meta.MPPX*l.Downsample <= mpp*1.01 {
			best = i
		}
	}
	return best, nil
}

// ReadAt fills dst with the pixels from origin on of the slide as it is at
// mpp micrometres per pixel, resampled from the next finer level with a
// triangle filter as wide as the reduction. A pixel depends on its place in
// the slide alone, not on the rectangle it is read in. Pixels outside the
// slide stay as they are in dst.
func (s *Slide) ReadAt(ctx context.Context, mpp float64, origin image.Point, dst *image.RGBA) error {
	level, err := s.LevelAt(mpp)
	if err != nil {
		return fmt.Errorf("wsi: read at: %w", err)
	}
	l, z := s.levels[level], s.levels[0]
	fx := mpp / (s.meta.MPPX * float64(z.W) / float64(l.W))
	fy := mpp / (s.meta.MPPY * float64(z.H) / float64(l.H))
	if math.Abs(fx-1)*float64(l.W) < 0.01 && math.Abs(fy-1)*float64(l.H) < 0.01 {
		return s.ReadRegion(ctx, level, origin, dst)
	}
	w, h, err := s.SizeAt(mpp)
	if err != nil {
		return err
	}
	r := image.Rectangle{Min: origin, Max: origin.Add(dst.Rect.Size())}.Intersect(image.Rect(0, 0, w, h))
	return s.resample(ctx, s.viewOf(level, 0), fx, fy, origin, r, dst)
}

// resample writes rectangle r of the reduced level, in halves if it needs
// many source pixels.
func (s *Slide) resample(ctx context.Context, v view, fx, fy float64, origin image.Point, r image.Rectangle, dst *image.RGBA) error {
	if r.Empty() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wsi: read at: %w", err)
	}
	x0, x1 := sourceOf(r.Min.X, r.Max.X, fx, v.w, v.center)
	y0, y1 := sourceOf(r.Min.Y, r.Max.Y, fy, v.h, v.center)
	w, h := x1-x0, y1-y0
	if s.blank(v.level, v.rect(image.Rect(x0, y0, x1, y1))) {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			clear(dst.Pix[dst.PixOffset(dst.Rect.Min.X+r.Min.X-origin.X, dst.Rect.Min.Y+y-origin.Y):][:4*r.Dx()])
		}
		return nil
	}
	if large := int64(w)*int64(h) > maxSource; large && r.Dx() == 1 && r.Dy() == 1 {
		return s.reduce(ctx, v, fx, fy, origin, r.Min, dst)
	} else if large {
		a, b := r, r
		if r.Dy() == 1 || r.Dx() > 1 && w >= h {
			a.Max.X = r.Min.X + r.Dx()/2
			b.Min.X = a.Max.X
		} else {
			a.Max.Y = r.Min.Y + r.Dy()/2
			b.Min.Y = a.Max.Y
		}
		if err := s.resample(ctx, v, fx, fy, origin, a, dst); err != nil {
			return err
		}
		return s.resample(ctx, v, fx, fy, origin, b, dst)
	}
	x, y := newTaps(r.Min.X, r.Max.X, fx, v.w, v.center), newTaps(r.Min.Y, r.Max.Y, fy, v.h, v.center)
	src := image.NewRGBA(image.Rect(0, 0, x.hi-x.lo, y.hi-y.lo))
	if err := s.read(ctx, v, image.Pt(x.lo, y.lo), src); err != nil {
		return err
	}
	// Rows first, into [source rows, out columns, 4].
	n := r.Dx()
	mid := make([]float32, src.Rect.Dy()*n*4)
	for sy := range src.Rect.Dy() {
		row := src.Pix[sy*src.Stride:]
		for i := range n {
			t := x.list[i]
			var acc [4]float32
			for k, wt := range t.w {
				p := row[4*(t.from-x.lo+k):]
				for c := range 4 {
					acc[c] += wt * float32(p[c])
				}
			}
			copy(mid[(sy*n+i)*4:], acc[:])
		}
	}
	for j := range r.Dy() {
		t := y.list[j]
		out := dst.Pix[dst.PixOffset(dst.Rect.Min.X+r.Min.X-origin.X, dst.Rect.Min.Y+r.Min.Y+j-origin.Y):]
		for i := range 4 * n {
			var acc float32
			for k, wt := range t.w {
				acc += wt * mid[(t.from-y.lo+k)*n*4+i]
			}
			out[i] = byte(min(max(acc+0.5, 0), 255))
		}
	}
	return nil
}

// reduce writes one pixel that stands for more of the level than is held at
// once, read in blocks.
func (s *Slide) reduce(ctx context.Context, v view, fx, fy float64, origin, at image.Point, dst *image.RGBA) error {
	tx, ty := newTaps(at.X, at.X+1, fx, v.w, v.center).list[0], newTaps(at.Y, at.Y+1, fy, v.h, v.center).list[0]
	bw := min(len(tx.w), maxSource)
	bh := min(len(ty.w), max(1, maxSource/bw))
	src := image.NewRGBA(image.Rect(0, 0, bw, bh))
	var acc [4]float64
	for y := 0; y < len(ty.w); y += bh {
		for x := 0; x < len(tx.w); x += bw {
			clear(src.Pix)
			if err := s.read(ctx, v, image.Pt(tx.from+x, ty.from+y), src); err != nil {
				return err
			}
			for j, wy := range ty.w[y:min(y+bh, len(ty.w))] {
				var row [4]float64
				for i, wx := range tx.w[x:min(x+bw, len(tx.w))] {
					p := src.Pix[j*src.Stride+4*i:]
					for c := range row {
						row[c] += float64(wx) * float64(p[c])
					}
				}
				for c, v := range row {
					acc[c] += float64(wy) * v
				}
			}
		}
	}
	out := dst.Pix[dst.PixOffset(dst.Rect.Min.X+at.X-origin.X, dst.Rect.Min.Y+at.Y-origin.Y):]
	for c, v := range acc {
		out[c] = byte(min(max(v+0.5, 0), 255))
	}
	return nil
}

// sourceRange returns the source that output pixel i covers on an axis of n
// source pixels, each of which stands for the place center behind its edge.
func sourceRange(i int, f float64, n int, center float64) (lo, hi int) {
	support := max(f, 1)
	c := (float64(i) + 0.5) * f
	lo = min(max(int(c-support+(1-center)), 0), n-1)
	return lo, max(min(int(c+support+(1-center)), n), lo+1)
}

// sourceOf returns the source of output pixels a to b-1.
func sourceOf(a, b int, f float64, n int, center float64) (lo, hi int) {
	lo, _ = sourceRange(a, f, n, center)
	_, hi = sourceRange(b-1, f, n, center)
	return lo, hi
}

// tap is the source range and the weights of one output pixel.
type tap struct {
	from int
	w    []float32
}

type taps struct {
	list   []tap
	lo, hi int // source range of all
}

// newTaps returns the filter of output pixels a to b-1 on an axis of n
// source pixels: pixel i covers the source around (i+0.5)*f.
func newTaps(a, b int, f float64, n int, center float64) taps {
	support := max(f, 1)
	t := taps{list: make([]tap, b-a), lo: n, hi: 0}
	for i := a; i < b; i++ {
		c := (float64(i) + 0.5) * f
		lo, hi := sourceRange(i, f, n, center)
		w := make([]float32, hi-lo)
		sum := 0.0
		v := make([]float64, hi-lo)
		for k := range v {
			v[k] = max(0, 1-math.Abs(float64(lo+k)-c+center)/support)
			sum += v[k]
		}
		for k := range w {
			if sum > 0 {
				w[k] = float32(v[k] / sum)
			} else {
				w[k] = 1 / float32(len(w))
			}
		}
		t.list[i-a] = tap{lo, w}
		t.lo, t.hi = min(t.lo, lo), max(t.hi, hi)
	}
	return t
}

// maxThumbnail is the most pixels that are read for a thumbnail: minutes of
// work for a slide without a coarse level.
const maxThumbnail = 1 << 36

// Thumbnail returns the whole slide with its longer side at most side
// pixels, reduced from the coarsest level that is at least as large. It reads
// that level once, in pieces. Tiles of JPEG 2000 are decoded without wavelet levels
// that are finer than half a pixel.
func (s *Slide) Thumbnail(ctx context.Context, side int) (*image.RGBA, error) {
	z := s.levels[0]
	if side < 1 {
		return nil, fmt.Errorf("wsi: thumbnail of %d pixels", side)
	}
	f := max(float64(z.W)/float64(side), float64(z.H)/float64(side), 1)
	w, h := max(1, int(float64(z.W)/f)), max(1, int(float64(z.H)/f))
	level := 0
	for i, l := range s.levels {
		if l.W >= w && l.H >= h {
			level = i
		}
	}
	l := s.levels[level]
	if int64(l.W)*int64(l.H) > maxThumbnail {
		return nil, fmt.Errorf("wsi: thumbnail: coarsest level of %d x %d, over the limit of %d pixels: the slide lacks reduced levels; write it as a pyramid", l.W, l.H, int64(maxThumbnail))
	}
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	v, fx, fy := s.viewFor(level, float64(l.W)/float64(w), float64(l.H)/float64(h))
	err := s.resample(ctx, v, fx, fy, image.Point{}, dst.Rect, dst)
	if err != nil {
		return nil, fmt.Errorf("wsi: thumbnail: %w", err)
	}
	return dst, nil
}

// ThumbnailOf returns the part of the slide that lies in rectangle r of level 0,
// reduced so that its longer side has at most side pixels, give or take one.
// Pixel (0, 0) of it begins at pixel at of the whole slide reduced so, and a
// pixel's sides are factor pixels of level 0, at least 1.
func (s *Slide) ThumbnailOf(ctx context.Context, r image.Rectangle, side int) (img *image.RGBA, at image.Point, factor float64, err error) {
	z := s.levels[0]
	r = r.Intersect(image.Rect(0, 0, z.W, z.H))
	if side < 1 || r.Empty() {
		return nil, at, 0, fmt.Errorf("wsi: thumbnail of %d pixels of %v", side, r)
	}
	f := max(float64(r.Dx())/float64(side), float64(r.Dy())/float64(side), 1)
	level := 0
	for i, l := range s.levels {
		if float64(l.W)*f >= float64(z.W) && float64(l.H)*f >= float64(z.H) {
			level = i
		}
	}
	l := s.levels[level]
	at = image.Pt(int(float64(r.Min.X)/f), int(float64(r.Min.Y)/f))
	img = image.NewRGBA(image.Rect(0, 0, int(math.Ceil(float64(r.Max.X)/f))-at.X, int(math.Ceil(float64(r.Max.Y)/f))-at.Y))
	fx, fy := f*float64(l.W)/float64(z.W), f*float64(l.H)/float64(z.H)
	in := img.Rect.Add(at).Intersect(image.Rect(0, 0, max(1, int(float64(z.W)/f)), max(1, int(float64(z.H)/f))))
	v, fx, fy := s.viewFor(level, fx, fy)
	if err := s.resample(ctx, v, fx, fy, at, in, img); err != nil {
		return nil, at, 0, fmt.Errorf("wsi: thumbnail of %v: %w", r, err)
	}
	return img, at, f, nil
}
