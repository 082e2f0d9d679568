package tiff

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/slidesam/sam/internal/jpeg2000"
	"github.com/slidesam/sam/internal/jpegtile"
)

// maxJ2KComps is the most components of a tile.
const maxJ2KComps = 4

// readJ2K reads the main header of a codestream, which must cover s with comps
// components of 8 bits, or of up to 16 that are not subsampled.
func readJ2K(b []byte, s span, comps, bits int) (jpeg2000.Header, error) {
	h, err := jpeg2000.ReadHeader(b)
	if err != nil {
		return h, asTIFF(err)
	}
	if err := s.check("JPEG 2000", h.W, h.H, s.h); err != nil {
		return h, err
	}
	if n := len(h.Components); n != comps || n > maxJ2KComps {
		return h, fmt.Errorf("JPEG 2000: %d components, want %d: %w", n, comps, ErrCorrupt)
	}
	for i, c := range h.Components {
		if c.Bits > bits || bits == 8 && c.Bits < 8 || c.Signed {
			return h, fmt.Errorf("JPEG 2000: component %d of %d bits, signed %v, want %d without a sign: %w", i, c.Bits, c.Signed, bits, ErrUnsupported)
		}
		if lim := min(i, 1, 16-bits) + 1; c.DX > lim || c.DY > lim {
			return h, fmt.Errorf("JPEG 2000: component %d subsampled by %d x %d: %w", i, c.DX, c.DY, ErrUnsupported)
		}
	}
	return h, nil
}

// Reductions returns how often tiles can be halved while they are decoded: as
// often as the size of a tile can, and as the first tile that is there has wavelet
// levels. It is 0 for pictures that are not JPEG 2000.
func (im *Image) Reductions() int {
	im.halvesOnce.Do(func() {
		if im.planar || !im.Tiled || im.bits != 8 || im.comp != compJ2K && im.comp != compJ2KLossy && im.comp != compJ2KRGB && im.comp != compJ2KYCC {
			return
		}
		for i := range im.Cols * im.Rows {
			if im.Missing(i%im.Cols, i/im.Cols) {
				continue
			}
			b, err := im.compressed(i)
			if err != nil {
				return
			}
			if b, _, err = unboxJ2K(b); err == nil {
				im.halves = Halvings(b, im.SegW, im.SegH)
			}
			return
		}
	})
	return im.halves
}

// Halvings returns how often a tile of w x h pixels can be halved while its
// codestream is decoded, 0 if that cannot be read.
func Halvings(b []byte, w, h int) int {
	head, err := jpeg2000.ReadHeader(b)
	if err != nil {
		return 0
	}
	return min(head.Levels, bits.TrailingZeros(uint(w)), bits.TrailingZeros(uint(h)))
}

// Reduced is Segment at 1/2^n of the size, n up to Reductions. Its pixels are
// what the wavelet's low frequencies are: they stand for the places of every
// 2^n-th pixel of the segment, from the first on. A tile of its own kind may not
// allow it, and gives an error that wraps ErrUnsupported.
func (im *Image) Reduced(col, row, n int) (*Segment, error) {
	if col < 0 || row < 0 || col >= im.Cols || row >= im.Rows || n < 0 || n > im.Reductions() {
		return nil, fmt.Errorf("tiff: read segment (%d, %d) at 1/2^%d: outside %d x %d, or 1/2^%d", col, row, n, im.Cols, im.Rows, im.Reductions())
	}
	b, err := im.compressed(row*im.Cols + col)
	if err != nil {
		return nil, fmt.Errorf("tiff: read segment (%d, %d): %w", col, row, err)
	}
	s := im.span(col, row)
	pix, err := im.decodeJ2K(b, s, im.spp, n)
	if err != nil {
		return nil, fmt.Errorf("tiff: read segment (%d, %d) at 1/2^%d: %w", col, row, n, err)
	}
	return &Segment{W: s.w >> n, H: s.h >> n, Pix: pix}, nil
}

// asTIFF gives errors of package jpeg2000 the kinds of this one.
func asTIFF(err error) error {
	if errors.Is(err, jpeg2000.ErrUnsupported) {
		return fmt.Errorf("%w: %w", err, ErrUnsupported)
	}
	return fmt.Errorf("%w: %w", err, ErrCorrupt)
}

// subsampled reports whether the second or third component is coarser.
func subsampled(h jpeg2000.Header) bool {
	for _, c := range h.Components {
		if c.DX > 1 || c.DY > 1 {
			return true
		}
	}
	return false
}

// decodeJ2K decodes one tile or strip of comps components to RGBA
// [s.h, s.w, 4], or to 1/2^reduce of that size.
//
// A colour transform of the codestream's own gives RGB, and there is none
// left to do. Without one, the components are YCbCr if the colour box of the
// JP2 format says so, if two of them are subsampled, or if the Photometric
// field says so; Aperio's scheme 33003 is YCbCr whatever the field says.
func (im *Image) decodeJ2K(b []byte, s span, comps, reduce int) ([]byte, error) {
	b, space, err := unboxJ2K(b)
	if err != nil {
		return nil, err
	}
	h, err := readJ2K(b, s, comps, im.bits)
	if err != nil {
		return nil, err
	}
	if im.bits == 16 {
		return im.deepJ2K(b, h, space, s)
	}
	pix, w, hgt, err := jpeg2000.DecodeRGBA(b, jpeg2000.Options{Reduce: reduce})
	if err != nil {
		return nil, asTIFF(err)
	}
	if im.isYCC(h, space) {
		fromYCC(pix)
	}
	return span{w: s.w >> reduce, h: s.h >> reduce}.fit(pix, w, hgt, 4), nil
}

// deepJ2K decodes a codestream of up to 16 bits, whose samples are those of a TIFF
// of 16.
func (im *Image) deepJ2K(b []byte, h jpeg2000.Header, space uint32, s span) ([]byte, error) {
	if im.isYCC(h, space) {
		return nil, fmt.Errorf("JPEG 2000: YCbCr samples of %d bits: %w", h.Components[0].Bits, ErrUnsupported)
	}
	p, err := jpeg2000.Decode(b, jpeg2000.Options{})
	if err != nil {
		return nil, asTIFF(err)
	}
	raw := make([]byte, 2*im.spp*p.W*p.H)
	for c := range p.Planes {
		for i, v := range p.Planes[c].Pix {
			im.f.order.PutUint16(raw[2*(i*im.spp+c):], uint16(v))
		}
	}
	return im.rgba(s.fit(raw, p.W, p.H, 2*im.spp), s.w, s.h), nil
}

// isYCC reports whether what comes out of a codestream is YCbCr.
func (im *Image) isYCC(h jpeg2000.Header, space uint32) bool {
	if len(h.Components) != 3 || h.MCT {
		return false
	}
	if space != 0 {
		return space == boxYCC
	}
	return subsampled(h) || im.photo == photoYCbCr || im.comp == compJ2KYCC && im.aperio
}

// DecodeJPEG2000 decodes a codestream of w x h pixels and spp components of
// 8 bits to RGBA [h, w, 4], for containers other than TIFF, or to 1/2^reduce of
// that size, rounded up. The codestream's own colour transform is undone; without
// one, ycc says that the components are YCbCr.
//
// It allocates what w, h and spp need whatever the codestream claims. Errors
// wrap ErrCorrupt or ErrUnsupported.
func DecodeJPEG2000(b []byte, w, h, spp int, ycc bool, reduce int) ([]byte, error) {
	if w <= 0 || h <= 0 || int64(w)*int64(h) > maxStream {
		return nil, fmt.Errorf("JPEG 2000 of %d x %d, over %d pixels: %w", w, h, maxStream, ErrUnsupported)
	}
	head, err := readJ2K(b, span{w, h, w, h}, spp, 8)
	if err != nil {
		return nil, err
	}
	pix, _, _, err := jpeg2000.DecodeRGBA(b, jpeg2000.Options{Reduce: reduce})
	if err != nil {
		return nil, asTIFF(err)
	}
	if ycc && spp >= 3 && !head.MCT {
		fromYCC(pix)
	}
	return pix, nil
}

// maxStream is the most pixels that DecodeJPEG2000 decodes.
const maxStream = 1 << 24

// fromYCC turns YCbCr into RGB in place.
func fromYCC(pix []byte) {
	for i := 0; i+3 < len(pix); i += 4 {
		d := pix[i : i+4 : i+4]
		d[0], d[1], d[2] = jpegtile.ToRGB(d[0], d[1], d[2])
	}
}
