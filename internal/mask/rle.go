package mask

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
)

// RLE is a mask in COCO's run-length code: the lengths of runs of pixels,
// column by column, first those that do not belong to the mask.
//
// Counts add up to H*W. The first one is 0 if the pixel (0, 0) belongs to the
// mask. As JSON it is {"size": [H, W], "counts": [...]}, and decoding accepts
// a compressed string for counts as well.
type RLE struct {
	Size   Size
	Counts []int
}

// CompressedRLE is an [RLE] that is written to JSON with its counts as a
// string, as COCO's own tools do.
type CompressedRLE RLE

// check returns an error unless the runs fill the picture.
func (r RLE) check() error {
	if err := checkSize(r.Size); err != nil {
		return err
	}
	left := r.Size.H * r.Size.W
	for i, n := range r.Counts {
		if n < 0 || n > left {
			return fmt.Errorf("%w: run %d has %d pixels, %d are left of %v", ErrMask, i, n, left, r.Size)
		}
		left -= n
	}
	if left > 0 {
		return fmt.Errorf("%w: the runs leave %d pixels of %v out", ErrMask, left, r.Size)
	}
	return nil
}

// Compressed returns the counts as COCO's string: groups of five bits in
// printable characters, the difference to the count before last from the
// fourth count on.
//
// Source: maskApi.c, rleToString (pycocotools 2.0).
func (r RLE) Compressed() string {
	var s []byte
	for i, n := range r.Counts {
		if i > 2 {
			n -= r.Counts[i-2]
		}
		for more := true; more; {
			c := byte(n & 0x1f)
			n >>= 5
			more = n != 0
			if c&0x10 != 0 {
				more = n != -1
			}
			if more {
				c |= 0x20
			}
			s = append(s, c+48)
		}
	}
	return string(s)
}

// ParseRLE reads the counts of a picture of the given size from COCO's
// string. It is strict: it returns an error that wraps [ErrMask] for a
// character that the code does not use, a string that ends within a count, and
// counts that are negative or do not add up to H*W.
//
// The caller should check the size if it does not come from the caller: a few
// characters can describe any picture, though nothing is allocated for it
// before [FromRLE].
//
// Source: maskApi.c, rleFrString (pycocotools 2.0).
func ParseRLE(size Size, s string) (RLE, error) {
	r := RLE{Size: size, Counts: make([]int, 0, len(s)/2+1)}
	x, k := 0, 0
	for i := range len(s) {
		c := int(s[i]) - 48
		if c < 0 || c > 0x3f {
			return RLE{}, fmt.Errorf("parse run-length code: %w: character %d is %q", ErrMask, i, s[i])
		}
		if k > 10 { // counts fit into 48 bits
			return RLE{}, fmt.Errorf("parse run-length code: %w: count %d is too long", ErrMask, len(r.Counts))
		}
		x |= (c & 0x1f) << (5 * k)
		k++
		if c&0x20 != 0 {
			continue
		}
		if c&0x10 != 0 {
			x |= -1 << (5 * k)
		}
		if len(r.Counts) > 2 {
			x += r.Counts[len(r.Counts)-2]
		}
		r.Counts = append(r.Counts, x)
		x, k = 0, 0
	}
	if k > 0 {
		return RLE{}, fmt.Errorf("parse run-length code: %w: the string ends within count %d", ErrMask, len(r.Counts))
	}
	if err := r.check(); err != nil {
		return RLE{}, fmt.Errorf("parse run-length code: %w", err)
	}
	return r, nil
}

// rleJSON is the JSON form of both codes.
type rleJSON struct {
	Size   [2]int          `json:"size"`
	Counts json.RawMessage `json:"counts"`
}

// MarshalJSON writes {"size": [H, W], "counts": [...]}.
func (r RLE) MarshalJSON() ([]byte, error) {
	counts := r.Counts
	if counts == nil {
		counts = []int{}
	}
	raw, err := json.Marshal(counts)
	if err != nil {
		return nil, err
	}
	return json.Marshal(rleJSON{Size: [2]int{r.Size.H, r.Size.W}, Counts: raw})
}

// UnmarshalJSON reads either form and checks it as [ParseRLE] does.
func (r *RLE) UnmarshalJSON(b []byte) error {
	var j rleJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("read run-length code: %w", err)
	}
	size := Size{H: j.Size[0], W: j.Size[1]}
	if bytes.HasPrefix(j.Counts, []byte{'"'}) {
		var s string
		if err := json.Unmarshal(j.Counts, &s); err != nil {
			return fmt.Errorf("read run-length code: %w", err)
		}
		p, err := ParseRLE(size, s)
		if err != nil {
			return err
		}
		*r = p
		return nil
	}
	p := RLE{Size: size}
	if err := json.Unmarshal(j.Counts, &p.Counts); err != nil {
		return fmt.Errorf("read run-length code: counts: %w", err)
	}
	if err := p.check(); err != nil {
		return fmt.Errorf("read run-length code: %w", err)
	}
	*r = p
	return nil
}

// MarshalJSON writes {"size": [H, W], "counts": "..."}.
func (r CompressedRLE) MarshalJSON() ([]byte, error) {
	raw, err := json.Marshal(RLE(r).Compressed())
	if err != nil {
		return nil, err
	}
	return json.Marshal(rleJSON{Size: [2]int{r.Size.H, r.Size.W}, Counts: raw})
}

// UnmarshalJSON reads either form and checks it as [ParseRLE] does.
func (r *CompressedRLE) UnmarshalJSON(b []byte) error { return (*RLE)(r).UnmarshalJSON(b) }

// RLE returns the mask in COCO's run-length code.
func (m *Mask) RLE() RLE {
	r := RLE{Size: m.Size()}
	h, end := r.Size.H, 0
	if m.Area() > 0 {
		m.columnRuns(func(x, y0, y1 int) {
			first, n := x*h+y0, y1-y0
			if first == end && len(r.Counts) > 0 { // goes on from the column before
				r.Counts[len(r.Counts)-1] += n
			} else {
				r.Counts = append(r.Counts, first-end, n)
			}
			end = first + n
		})
	}
	if rest := h*r.Size.W - end; rest > 0 {
		r.Counts = append(r.Counts, rest)
	}
	return r
}

// FromRLE returns the mask that COCO's run-length code describes. It
// returns an error that wraps [ErrMask] if the runs do not fill the picture or
// if the rectangle around its pixels needs more than 2 GiB.
func FromRLE(r RLE) (*Mask, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	h := r.Size.H
	var hull image.Rectangle
	at := 0
	for i, n := range r.Counts {
		if i&1 == 1 && n > 0 {
			first, last := at, at+n-1
			box := image.Rect(first/h, first%h, last/h+1, last%h+1)
			if first/h != last/h {
				box.Min.Y, box.Max.Y = 0, h
			}
			hull = hull.Union(box)
		}
		at += n
	}
	b, err := NewBuilder(r.Size, hull)
	if err != nil {
		return nil, err
	}
	w := newColumnWriter(b)
	at = 0
	for i, n := range r.Counts {
		if i&1 == 1 {
			for first, end := at, at+n; first < end; {
				x, y := first/h, first%h
				stop := min(end, (x+1)*h)
				w.set(x, y, y+stop-first)
				first = stop
			}
		}
		at += n
	}
	w.flush()
	return b.Mask(), nil
}
