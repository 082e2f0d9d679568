package sam

import (
	"fmt"

	"github.com/slidesam/sam/internal/mask"
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

// code is the code as the machinery below knows it.
func (r RLE) code() mask.RLE { return mask.RLE{Size: mask.Size(r.Size), Counts: r.Counts} }

func newRLE(r mask.RLE) RLE { return RLE{Size: Size(r.Size), Counts: r.Counts} }

// Compressed returns the counts as COCO's string: groups of five bits in
// printable characters, the difference to the count before last from the
// fourth count on.
//
// Source: maskApi.c, rleToString (pycocotools 2.0).
func (r RLE) Compressed() string { return r.code().Compressed() }

// ParseRLE reads the counts of a picture of the given size from COCO's
// string. It is strict: it returns an error that wraps [ErrMask] for a
// character that the code does not use, a string that ends within a count, and
// counts that are negative or do not add up to H*W.
//
// The caller should check the size if it does not come from the caller: a few
// characters can describe any picture, though nothing is allocated for it
// before [MaskFromRLE].
//
// Source: maskApi.c, rleFrString (pycocotools 2.0).
func ParseRLE(size Size, s string) (RLE, error) {
	r, err := mask.ParseRLE(mask.Size(size), s)
	if err != nil {
		return RLE{}, fmt.Errorf("sam: %w", err)
	}
	return newRLE(r), nil
}

// MarshalJSON writes {"size": [H, W], "counts": [...]}.
func (r RLE) MarshalJSON() ([]byte, error) { return r.code().MarshalJSON() }

// UnmarshalJSON reads either form and checks it as [ParseRLE] does.
func (r *RLE) UnmarshalJSON(b []byte) error {
	var c mask.RLE
	if err := c.UnmarshalJSON(b); err != nil {
		return fmt.Errorf("sam: %w", err)
	}
	*r = newRLE(c)
	return nil
}

// MarshalJSON writes {"size": [H, W], "counts": "..."}.
func (r CompressedRLE) MarshalJSON() ([]byte, error) {
	return mask.CompressedRLE(RLE(r).code()).MarshalJSON()
}

// UnmarshalJSON reads either form and checks it as [ParseRLE] does.
func (r *CompressedRLE) UnmarshalJSON(b []byte) error { return (*RLE)(r).UnmarshalJSON(b) }

// RLE returns the mask in COCO's run-length code.
func (m *Mask) RLE() RLE { return newRLE(m.pixels().RLE()) }

// MaskFromRLE returns the mask that COCO's run-length code describes. It
// returns an error that wraps [ErrMask] if the runs do not fill the picture or
// if the rectangle around its pixels needs more than 2 GiB.
func MaskFromRLE(r RLE) (*Mask, error) {
	return faceMask("mask from run-length code")(mask.FromRLE(r.code()))
}
