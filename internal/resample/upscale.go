package resample

import (
	"errors"
	"fmt"
	"image"
	"math"
	"sync"

	"github.com/slidesam/sam/internal/kernel"
)

// axis says which two input positions each output position of one axis lies
// between, and with which weights.
type axis struct {
	i0, i1 []int32
	w0, w1 []float32
	same   bool // nothing changes
}

// newAxis returns the first n of out positions over in positions.
//
// The source position is scale*(i+0.5) - 0.5, negative ones clamped to 0, with
// scale = in/out rounded to float32. As in PyTorch 1.13 the position itself is
// not rounded to float32 before the weight is taken from it; PyTorch 2.15
// rounds it, which moves positions near 1000 by up to 6e-5 pixels.
//
// Source: aten/src/ATen/native/UpSample.h, area_pixel_compute_source_index and
// compute_source_index_and_lambda.
func newAxis(in, out, n int) axis {
	a := axis{
		i0: make([]int32, n), i1: make([]int32, n),
		w0: make([]float32, n), w1: make([]float32, n),
		same: in == out,
	}
	scale := float64(float32(in) / float32(out))
	for i := range n {
		if in == out {
			a.i0[i], a.i1[i], a.w0[i] = int32(i), int32(i), 1
			continue
		}
		pos := max(float64(scale*(float64(i)+0.5))-0.5, 0)
		i0 := min(int(pos), in-1)
		w1 := float32(min(max(pos-float64(i0), 0), 1))
		a.i0[i], a.i1[i] = int32(i0), int32(min(i0+1, in-1))
		a.w0[i], a.w1[i] = 1-w1, w1
	}
	return a
}

// interpolate writes dst[x0+i] for i in [0, len(dst)).
func (a *axis) interpolate(dst, src []float32, x0 int) {
	n := len(dst)
	kernel.Interpolate(dst, src, a.i0[x0:x0+n], a.i1[x0:x0+n], a.w0[x0:x0+n], a.w1[x0:x0+n])
}

// Plane returns src, [in.H, in.W], resized to out, [out.H, out.W], as
// PyTorch's interpolate(size=out, mode="bilinear", align_corners=False) does
// on the CPU.
//
// The result does not alias src. It differs from PyTorch's by the rounding of
// the last operations only, about 1e-7 of the largest value, because PyTorch
// fuses them where the processor can. It returns an error that wraps
// [ErrSize] if a size is not positive or src is too short.
func Plane(src []float32, in, out Size) ([]float32, error) {
	if err := checkPlane(src, in); err != nil {
		return nil, fmt.Errorf("resample: resize plane: %w", err)
	}
	if err := out.check("result"); err != nil {
		return nil, fmt.Errorf("resample: resize plane: %w", err)
	}
	across, down := newAxis(in.W, out.W, out.W), newAxis(in.H, out.H, out.H)
	dst := make([]float32, out.H*out.W)
	cache := newRowCache(2, out.W)
	for y := range out.H {
		var r [2][]float32
		for k, i := range [2]int32{down.i0[y], down.i1[y]} {
			row, fresh := cache.row(int(i))
			if fresh {
				across.interpolate(row, src[int(i)*in.W:], 0)
			}
			r[k] = row
		}
		kernel.Blend(dst[y*out.W:(y+1)*out.W], r[0], r[1], down.w0[y], down.w1[y])
	}
	return dst, nil
}

func checkPlane(src []float32, in Size) error {
	if err := in.check("plane"); err != nil {
		return err
	}
	if len(src) < in.H*in.W {
		return fmt.Errorf("plane %v: %w: want %d values, got %d", in, ErrSize, in.H*in.W, len(src))
	}
	return nil
}

// rowCache keeps a few computed rows, the row number modulo their count.
type rowCache struct {
	buf  []float32
	wide int
	held []int
}

func newRowCache(rows, wide int) *rowCache {
	c := &rowCache{buf: make([]float32, rows*wide), wide: wide, held: make([]int, rows)}
	c.clear()
	return c
}

func (c *rowCache) clear() {
	for i := range c.held {
		c.held[i] = -1
	}
}

// row returns the slot of row i and whether the caller must fill it.
func (c *rowCache) row(i int) (row []float32, fresh bool) {
	s := i % len(c.held)
	fresh = c.held[s] != i
	c.held[s] = i
	return c.buf[s*c.wide : (s+1)*c.wide : (s+1)*c.wide], fresh
}

// Upscaler turns low-resolution logits into logits at the picture's size, as
// SAM's postprocess_masks does: bilinear to the network's square input frame,
// crop of the padding, bilinear to the picture. The square plane between is
// never held; only a few rows of it are.
//
// An Upscaler is immutable and serves any number of goroutines.
//
// Source: sam.py, Sam.postprocess_masks (segment-anything dca509f).
type Upscaler struct {
	low, input, picture Size
	// low to the cropped frame, and the frame to the picture
	across1, down1, across2, down2 axis
	// xlo and xhi bound, for each column of low, the columns of the picture
	// that depend on it: [xlo, xhi).
	xlo, xhi []int32
	scratch  sync.Pool
}

// NewUpscaler returns an Upscaler from logits of size low.
//
// frame is the side of the network's square input, input the part of it that
// the picture covered (top left), picture the picture's own size. It returns
// an error that wraps [ErrSize] if a size is not positive or input does not
// fit into the frame.
func NewUpscaler(low Size, frame int, input, picture Size) (*Upscaler, error) {
	for _, c := range []struct {
		name string
		size Size
	}{{"logits", low}, {"frame", Size{frame, frame}}, {"input", input}, {"picture", picture}} {
		if err := c.size.check(c.name); err != nil {
			return nil, fmt.Errorf("resample: upscale: %w", err)
		}
	}
	if input.H > frame || input.W > frame {
		return nil, fmt.Errorf("resample: upscale: input %v: %w: the frame is %d", input, ErrSize, frame)
	}
	u := &Upscaler{
		low: low, input: input, picture: picture,
		across1: newAxis(low.W, frame, input.W), down1: newAxis(low.H, frame, input.H),
		across2: newAxis(input.W, picture.W, picture.W), down2: newAxis(input.H, picture.H, picture.H),
		xlo: make([]int32, low.W), xhi: make([]int32, low.W),
	}
	for j := range u.xlo {
		u.xlo[j] = int32(picture.W)
	}
	for x := range picture.W {
		first := u.across1.i0[u.across2.i0[x]]
		last := u.across1.i1[u.across2.i1[x]]
		for j := first; j <= last; j++ {
			u.xlo[j] = min(u.xlo[j], int32(x))
			u.xhi[j] = int32(x) + 1
		}
	}
	return u, nil
}

// Low returns the size of the logits that u takes.
func (u *Upscaler) Low() Size { return u.low }

// Picture returns the size of the logits that u makes.
func (u *Upscaler) Picture() Size { return u.picture }

// Axes are the positions and weights of both steps, for kernels that upscale
// elsewhere: low to input across and down, then input to picture across and
// down. Of an axis with n positions, index and weight hold [2, n]: position i
// is weight[i] of index[i] and weight[n+i] of index[n+i].
func (u *Upscaler) Axes() (index []int32, weight []float32) {
	for _, a := range []*axis{&u.across1, &u.down1, &u.across2, &u.down2} {
		index = append(append(index, a.i0...), a.i1...)
		weight = append(append(weight, a.w0...), a.w1...)
	}
	return index, weight
}

// Input returns the size of the part of the network's frame that the picture
// covers.
func (u *Upscaler) Input() Size { return u.input }

// upscaleScratch is what one goroutine needs for a run of rows.
type upscaleScratch struct {
	low   *rowCache // rows of low at the input's width, three at a time
	plane []float32 // one row of the input plane
	rows  *rowCache // rows of the input plane at the picture's width, two at a time
	out   []float32 // one row of the picture
	// The columns of each row of low that can exceed the floor.
	first, last []int
}

// Rows calls f for the picture's rows y0 to y1-1, from top to bottom, with the
// part of the row that can exceed floor: row holds the logits of columns x0 to
// x0+len(row)-1, and every logit outside is at most floor. A row without such
// a part is left out. With floor -Inf every row is given whole.
//
// low is [low.H, low.W] and is only read. row is valid until f returns. Rows
// runs on the calling goroutine; a row's values do not depend on y0 and y1.
// It returns an error that wraps [ErrSize] if low is too short or the rows lie
// outside the picture.
func (u *Upscaler) Rows(low []float32, y0, y1 int, floor float32, f func(y, x0 int, row []float32)) error {
	if err := checkPlane(low, u.low); err != nil {
		return fmt.Errorf("resample: upscale: %w", err)
	}
	if y0 < 0 || y1 > u.picture.H || y0 > y1 {
		return fmt.Errorf("resample: upscale: rows %d to %d: %w: the picture has %d", y0, y1, ErrSize, u.picture.H)
	}
	s, _ := u.scratch.Get().(*upscaleScratch)
	if s == nil {
		s = &upscaleScratch{
			low: newRowCache(3, u.input.W), plane: make([]float32, u.input.W),
			rows: newRowCache(2, u.picture.W), out: make([]float32, u.picture.W),
		}
	}
	defer u.scratch.Put(s)
	s.low.clear()
	s.rows.clear()

	whole := math.IsInf(float64(floor), -1) || floor != floor
	if !whole && y0 < y1 {
		s.hulls(low, u.low, int(u.down1.i0[u.down2.i0[y0]]), int(u.down1.i1[u.down2.i1[y1-1]]), floor)
	}
	// The caches hold rows over the columns [cx0, cx1) of the picture; a row
	// that needs more starts them afresh.
	cx0, cx1 := 0, 0
	for y := y0; y < y1; y++ {
		p0, p1 := u.down2.i0[y], u.down2.i1[y]
		x0, x1 := 0, u.picture.W
		if !whole {
			x0, x1 = u.active(s, int(u.down1.i0[p0]), int(u.down1.i1[p1]))
			if x0 >= x1 {
				continue
			}
		}
		if x0 < cx0 || x1 > cx1 {
			cx0, cx1 = x0, x1
			s.low.clear()
			s.rows.clear()
		}
		out := u.planeRow(s, low, int(p0), cx0, cx1)[x0:x1]
		if !u.down2.same {
			b := u.planeRow(s, low, int(p1), cx0, cx1)[x0:x1]
			kernel.Blend(s.out[:x1-x0], out, b, u.down2.w0[y], u.down2.w1[y])
			out = s.out[:x1-x0]
		}
		f(y, x0, out)
	}
	return nil
}

// planeRow returns row p of the input plane at the picture's width; only
// columns cx0 to cx1-1 are set.
func (u *Upscaler) planeRow(s *upscaleScratch, low []float32, p, cx0, cx1 int) []float32 {
	row, fresh := s.rows.row(p)
	if !fresh {
		return row
	}
	px0, px1 := int(u.across2.i0[cx0]), int(u.across2.i1[cx1-1])+1
	var r [2][]float32
	for k, i := range [2]int32{u.down1.i0[p], u.down1.i1[p]} {
		l, fresh := s.low.row(int(i))
		if fresh {
			u.across1.interpolate(l[px0:px1], low[int(i)*u.low.W:], px0)
		}
		r[k] = l
	}
	plane := s.plane
	if u.across2.same {
		plane = row
	}
	kernel.Blend(plane[px0:px1], r[0][px0:px1], r[1][px0:px1], u.down1.w0[p], u.down1.w1[p])
	if !u.across2.same {
		u.across2.interpolate(row[cx0:cx1], plane, cx0)
	}
	return row
}

// hulls finds the columns of rows r0 to r1 of low that can exceed floor.
//
// Interpolation is a convex combination, so nothing exceeds the largest value
// it is made of but by rounding: four roundings of two steps, each below 2^-24
// of the magnitude. [below] leaves 2^-20 of it as room.
func (s *upscaleScratch) hulls(low []float32, size Size, r0, r1 int, floor float32) {
	if s.first == nil {
		s.first, s.last = make([]int, size.H), make([]int, size.H)
	}
	for r := r0; r <= r1; r++ {
		row := low[r*size.W : (r+1)*size.W]
		j, k := 0, len(row)-1
		for j <= k && below(row[j], floor) {
			j++
		}
		for k > j && below(row[k], floor) {
			k--
		}
		s.first[r], s.last[r] = j, k
	}
}

// active returns the columns of the picture that can exceed the floor, given
// that they depend on rows r0 to r1 of low: [x0, x1).
func (u *Upscaler) active(s *upscaleScratch, r0, r1 int) (x0, x1 int) {
	x0, x1 = u.picture.W, 0
	for r := r0; r <= r1; r++ {
		// Columns of low that no picture column depends on, the padding, have
		// an empty interval.
		j, k := s.first[r], s.last[r]
		for j <= k && u.xlo[j] >= u.xhi[j] {
			j++
		}
		for k > j && u.xlo[k] >= u.xhi[k] {
			k--
		}
		if j <= k {
			x0, x1 = min(x0, int(u.xlo[j])), max(x1, int(u.xhi[k]))
		}
	}
	return x0, x1
}

// below reports whether v and everything interpolated from such values stays
// at or under floor. It is false for NaN.
func below(v, floor float32) bool {
	return v < floor && floor-v > max(-v, v)*(1.0/(1<<20))
}

// Logits writes the logits at the picture's size, [picture.H, picture.W], to
// dst. low is [low.H, low.W]. It works on all cores and returns an error that
// wraps [ErrSize] if a slice is too short.
func (u *Upscaler) Logits(dst, low []float32) error {
	if err := checkPlane(low, u.low); err != nil {
		return fmt.Errorf("resample: upscale: %w", err)
	}
	h, w := u.picture.H, u.picture.W
	if len(dst) < h*w {
		return fmt.Errorf("resample: upscale to %v: %w: want %d values, got %d", u.picture, ErrSize, h*w, len(dst))
	}
	bands := min(32, max(1, h/32))
	errs := make([]error, bands)
	kernel.Parallel(bands, func(b int) {
		errs[b] = u.Rows(low, b*h/bands, (b+1)*h/bands, float32(math.Inf(-1)), func(y, _ int, row []float32) {
			copy(dst[y*w:], row)
		})
	})
	return errors.Join(errs...)
}

// Hull returns a rectangle of the picture outside which no logit exceeds
// floor, close to the smallest one; an empty rectangle if nothing can. low is
// [low.H, low.W]. It returns an error that wraps [ErrSize] if low is too
// short.
func (u *Upscaler) Hull(low []float32, floor float32) (image.Rectangle, error) {
	if err := checkPlane(low, u.low); err != nil {
		return image.Rectangle{}, fmt.Errorf("resample: upscale: %w", err)
	}
	s := &upscaleScratch{}
	s.hulls(low, u.low, 0, u.low.H-1, floor)
	var r image.Rectangle
	for y := range u.picture.H {
		x0, x1 := u.active(s, int(u.down1.i0[u.down2.i0[y]]), int(u.down1.i1[u.down2.i1[y]]))
		r = r.Union(image.Rect(x0, y, max(x0, x1), y+1))
	}
	return r, nil
}
