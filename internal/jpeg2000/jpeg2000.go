// Package jpeg2000 decodes JPEG 2000 codestreams (ITU-T T.800), at full size or
// at the size that leaving out the finest wavelet levels gives.
//
//	pix, w, h, err := jpeg2000.DecodeRGBA(tile, jpeg2000.Options{})
//
// It reads all of the codestreams of part 1: any number of tiles, tile-parts,
// layers, resolutions and precincts; the five progressions and changes between
// them; both wavelets and colour transforms; all styles of code blocks; regions of
// interest; packet headers packed apart. Boxes around a codestream are the
// caller's, and part 15 (high throughput) gives ErrUnsupported.
//
// Lossless data come out bit for bit. Others are computed in float32, each
// operation rounded by itself, so that every machine gives the same pixels.
//
// Memory: at most 16 bytes for each sample of a tile, the result, and what code
// blocks and precincts need that packets speak of; none of it before the sizes have
// been checked.
// A tile whose last packets are missing is decoded from what there is, as encoders
// that stop at a rate leave it; one that ends within a packet, or before the end of a
// tile-part, or that has no packets at all, gives ErrCorrupt, and so does a
// codestream that lacks a tile.
package jpeg2000

import (
	"errors"
	"fmt"
)

// ErrCorrupt is wrapped by errors about data that are no valid codestream.
var ErrCorrupt = errors.New("corrupt JPEG 2000")

// ErrUnsupported is wrapped by errors about codestreams that this package does
// not decode.
var ErrUnsupported = errors.New("JPEG 2000 coding not supported")

// maxSamples bounds a picture, all components together: 256 M samples.
const maxSamples = 1 << 28

// Options changes how a codestream is decoded. The zero value is the default.
type Options struct {
	// Reduce is how many of the finest wavelet levels are left out; each halves
	// the picture. At most Header.Levels.
	Reduce int
}

// Component is what the header says of one plane.
type Component struct {
	Bits   int // 1 to 38; up to 24 are decoded
	Signed bool
	DX, DY int // samples are this far apart in the picture
}

// Header is what the main header of a codestream says.
type Header struct {
	W, H       int // size of the picture
	Components []Component
	Tiles      int
	Levels     int  // wavelet levels that all components have
	Layers     int  // quality layers
	MCT        bool // the first three components went through a colour transform, which is undone
	Reversible bool // the first component is lossless but for layers left out
}

// Plane is a decoded component: samples of its own range, signed or not.
type Plane struct {
	Component
	W, H int
	Pix  []int32 // [H, W]
}

// Picture is a decoded codestream.
type Picture struct {
	W, H   int // size of the picture, reduced
	Planes []Plane
}

// ReadHeader returns what the main header says. Errors wrap ErrCorrupt or
// ErrUnsupported.
func ReadHeader(b []byte) (Header, error) {
	d, _, err := readMain(b)
	if err != nil {
		return Header{}, fmt.Errorf("jpeg2000: read header: %w", err)
	}
	return d.header(), nil
}

// Decode returns the planes of a codestream. Errors wrap ErrCorrupt or
// ErrUnsupported.
func Decode(b []byte, o Options) (*Picture, error) {
	d, err := newDecoder(b, o)
	if err != nil {
		return nil, fmt.Errorf("jpeg2000: decode: %w", err)
	}
	defer d.release()
	p := &Picture{W: d.w, H: d.h, Planes: make([]Plane, len(d.comps))}
	for c := range p.Planes {
		x0, y0, x1, y1 := d.area(c)
		p.Planes[c] = Plane{Component: d.comps[c], W: x1 - x0, H: y1 - y0, Pix: make([]int32, (x1-x0)*(y1-y0))}
	}
	if err := d.tiles(func(t *tile) error { return t.planes(p.Planes) }); err != nil {
		return nil, fmt.Errorf("jpeg2000: decode: %w", err)
	}
	return p, nil
}

// DecodeRGBA returns the pixels of a codestream of one (gray), three (RGB), two or
// four components of 8 bits without a sign: [h, w, 4], opaque. Of two the second, of
// four the last is left out. Coarser components are repeated. Errors wrap
// ErrCorrupt or ErrUnsupported.
func DecodeRGBA(b []byte, o Options) (pix []byte, w, h int, err error) {
	d, err := newDecoder(b, o)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("jpeg2000: decode: %w", err)
	}
	defer d.release()
	if n := len(d.comps); n > 4 {
		return nil, 0, 0, fmt.Errorf("jpeg2000: decode: %d components, over 4: %w", n, ErrUnsupported)
	}
	for i, c := range d.comps {
		if c.Bits != 8 || c.Signed {
			return nil, 0, 0, fmt.Errorf("jpeg2000: decode: component %d of %d bits, signed %v, want 8 without a sign: %w", i, c.Bits, c.Signed, ErrUnsupported)
		}
	}
	pix = make([]byte, 4*d.w*d.h)
	if err := d.tiles(func(t *tile) error { return t.rgba(pix) }); err != nil {
		return nil, 0, 0, fmt.Errorf("jpeg2000: decode: %w", err)
	}
	return pix, d.w, d.h, nil
}
