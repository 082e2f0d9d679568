package resample

import (
	"fmt"
	"math"
	"sync"

	"github.com/slidesam/sam/internal/kernel"
)

// Source gives a picture's rows, so that a picture need not be converted to
// RGB as a whole before it is resized.
type Source interface {
	// Bounds returns the picture's height and width.
	Bounds() Size
	// Row returns row y, [W*3] bytes of R, G, B. It either fills and returns
	// buf, which holds W*3 bytes, or returns a slice of its own that the
	// caller will not write to. It is called from several goroutines.
	Row(y int, buf []byte) []byte
}

// RGB is a picture in memory, [H, W, 3] row-major without gaps.
type RGB struct {
	Size Size
	Pix  []byte
}

// Bounds returns the picture's size.
func (p RGB) Bounds() Size { return p.Size }

// Row returns row y of p.Pix; buf is not used.
func (p RGB) Row(y int, _ []byte) []byte {
	n := p.Size.W * 3
	return p.Pix[y*n : (y+1)*n : (y+1)*n]
}

const precisionBits = 32 - 8 - 2

// taps holds, for every output position of one axis, which input positions
// it is made of and their weights times 1<<22.
type taps struct {
	first []int   // [n] first input position
	end   []int   // [n] end of the weights of output i in k; starts at end[i-1]
	k     []int32 // weights of all outputs, one after the other
}

func (t *taps) at(i int) (first int, k []int32) {
	start := 0
	if i > 0 {
		start = t.end[i-1]
	}
	return t.first[i], t.k[start:t.end[i]:t.end[i]]
}

// newTaps computes Pillow's coefficients of the triangle filter.
//
// Products and sums are kept apart by conversions, because a fused one would
// round differently from Pillow's.
//
// Source: Resample.c, precompute_coeffs and normalize_coeffs_8bpc (Pillow 9).
func newTaps(in, out int) *taps {
	scale := float64(in) / float64(out)
	support := max(scale, 1)
	ss := 1 / support
	t := &taps{first: make([]int, out), end: make([]int, out)}
	var w []float64
	for i := range out {
		center := float64((float64(i) + 0.5) * scale)
		first := max(int(center-support+0.5), 0)
		last := min(int(center+support+0.5), in)
		w = w[:0]
		sum := 0.0
		for x := range last - first {
			d := math.Abs(float64((float64(x+first) - center + 0.5) * ss))
			v := 0.0
			if d < 1 {
				v = 1 - d
			}
			w = append(w, v)
			sum += v
		}
		for _, v := range w {
			if sum != 0 {
				v /= sum
			}
			t.k = append(t.k, int32(float64(v*(1<<precisionBits))+0.5))
		}
		t.first[i] = first
		t.end[i] = len(t.k)
	}
	return t
}

// Bilinear returns src resized to out, [out.H, out.W, 3], with the bits of
// Pillow's Image.resize(BILINEAR) on an RGB picture.
//
// dst is used for the result if it is long enough, else a new slice is made.
// It must not overlap src. Beside the result, memory is needed for about
// 6*max(1, src.H/out.H)*out.W bytes and one source row for each goroutine,
// whatever the picture's height. It returns an error that wraps [ErrSize] if
// a size is not positive or too large.
//
// The horizontal pass comes first, as in every Pillow that Segment Anything
// was used with. Pillow releases from 2026 on turn the order round for
// pictures that are much taller than wide and shrunk in height, which rounds
// a few bytes differently.
//
// Source: Resample.c (Pillow 9); transforms.py, ResizeLongestSide.apply_image
// (segment-anything dca509f).
func Bilinear(dst []byte, src Source, out Size) ([]byte, error) {
	in := src.Bounds()
	if err := in.check("picture"); err != nil {
		return nil, fmt.Errorf("resample: resize: %w", err)
	}
	if err := out.check("result"); err != nil {
		return nil, fmt.Errorf("resample: resize: %w", err)
	}
	if p, ok := src.(RGB); ok && len(p.Pix) < in.H*in.W*3 {
		return nil, fmt.Errorf("resample: resize picture %v: %w: want %d bytes, got %d", in, ErrSize, in.H*in.W*3, len(p.Pix))
	}
	n := out.H * out.W * 3
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	dst = dst[:n]

	r := &resizer{src: src, in: in, out: out, dst: dst}
	if in.W != out.W {
		r.across = newTaps(in.W, out.W)
	}
	if in.H != out.H {
		r.down = newTaps(in.H, out.H)
	}
	// A band restarts the horizontal pass on the rows that it shares with its
	// neighbour, so bands are tall enough for that to cost little.
	bands := min(32, max(1, out.H/32))
	kernel.Parallel(bands, func(b int) {
		r.band(b*out.H/bands, (b+1)*out.H/bands)
	})
	return dst, nil
}

type resizer struct {
	src          Source
	in, out      Size
	across, down *taps
	dst          []byte
	scratch      sync.Pool
}

// resizeScratch is what one goroutine needs.
type resizeScratch struct {
	row  []byte  // one source row, [in.W*3]
	ring []byte  // rows after the horizontal pass, [depth, out.W*3]
	acc  []int32 // one row of sums, [out.W*3]
}

// band computes output rows y0 to y1-1.
func (r *resizer) band(y0, y1 int) {
	wide := r.out.W * 3
	depth := 1
	if r.down != nil {
		for y := y0; y < y1; y++ {
			_, k := r.down.at(y)
			depth = max(depth, len(k))
		}
	}
	s, _ := r.scratch.Get().(*resizeScratch)
	if s == nil {
		s = &resizeScratch{row: make([]byte, r.in.W*3), acc: make([]int32, wide)}
	}
	if len(s.ring) < depth*wide {
		s.ring = make([]byte, depth*wide)
	}
	defer r.scratch.Put(s)

	if r.down == nil {
		for y := y0; y < y1; y++ {
			r.horizontal(r.dst[y*wide:(y+1)*wide], s, y)
		}
		return
	}
	next := 0 // rows below next have passed through the ring
	for y := y0; y < y1; y++ {
		first, k := r.down.at(y)
		for next = max(next, first); next < first+len(k); next++ {
			slot := next % depth * wide
			r.horizontal(s.ring[slot:slot+wide], s, next)
		}
		r.vertical(r.dst[y*wide:(y+1)*wide], s, first, k, depth)
	}
}

// horizontal writes source row y, resized to the output's width.
func (r *resizer) horizontal(dst []byte, s *resizeScratch, y int) {
	row := r.src.Row(y, s.row)
	if r.across == nil {
		copy(dst, row)
		return
	}
	start := 0
	t := r.across
	for i, first := range t.first {
		k := t.k[start:t.end[i]]
		start = t.end[i]
		px := row[first*3:]
		px = px[:len(k)*3]
		// Two sums share one 64-bit word: each stays below 1<<31.
		rb, g := uint64(1<<(precisionBits-1))<<32|1<<(precisionBits-1), uint32(1<<(precisionBits-1))
		for len(px) >= 3 && len(k) > 0 {
			rb += (uint64(px[0])<<32 | uint64(px[2])) * uint64(uint32(k[0]))
			g += uint32(px[1]) * uint32(k[0])
			px, k = px[3:], k[1:]
		}
		o := dst[i*3 : i*3+3 : i*3+3]
		o[0] = clip8(uint32(rb >> 32))
		o[1] = clip8(g)
		o[2] = clip8(uint32(rb))
	}
}

// vertical writes one output row from the rows in the ring.
func (r *resizer) vertical(dst []byte, s *resizeScratch, first int, k []int32, depth int) {
	wide := len(dst)
	ringRow := func(y int) []byte {
		slot := y % depth * wide
		return s.ring[slot : slot+wide]
	}
	switch len(k) {
	case 1:
		row0, k0 := ringRow(first), uint32(k[0])
		for i := range dst {
			dst[i] = clip8(1<<(precisionBits-1) + uint32(row0[i])*k0)
		}
		return
	case 2:
		row0, row1, k0, k1 := ringRow(first), ringRow(first+1), uint32(k[0]), uint32(k[1])
		row1 = row1[:len(row0)]
		dst = dst[:len(row0)]
		for i, v := range row0 {
			dst[i] = clip8(1<<(precisionBits-1) + uint32(v)*k0 + uint32(row1[i])*k1)
		}
		return
	}
	acc := s.acc
	for i := range acc {
		acc[i] = 1 << (precisionBits - 1)
	}
	for j, kj := range k {
		row := ringRow(first + j)
		acc := acc[:len(row)]
		for i, v := range row {
			acc[i] += int32(v) * kj
		}
	}
	for i, v := range acc {
		dst[i] = clip8(uint32(v))
	}
}

// clip8 drops the fraction bits. Weights are not negative, so only the upper
// bound can be passed, and that only by the rounding of many weights.
func clip8(v uint32) byte {
	return byte(min(v>>precisionBits, 255))
}
