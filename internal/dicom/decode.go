package dicom

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/slidesam/sam/internal/jpegtile"
	"github.com/slidesam/sam/internal/tiff"
)

// codec is a family of transfer syntaxes.
type codec int

const (
	unknown codec = iota
	native
	rle
	jpeg
	jpeg2000
)

// syntaxes are the transfer syntaxes by their last numbers.
var syntaxes = map[string]struct {
	name string
	c    codec
}{
	"": {"implicit VR little endian", native}, ".1": {"explicit VR little endian", native},
	".1.99": {"deflated", unknown}, ".2": {"big endian", unknown}, ".5": {"RLE", rle},
	".4.50": {"JPEG baseline", jpeg}, ".4.51": {"JPEG extended", jpeg}, ".4.57": {"JPEG lossless", unknown}, ".4.70": {"JPEG lossless", unknown},
	".4.80": {"JPEG-LS", unknown}, ".4.81": {"JPEG-LS near-lossless", unknown}, ".4.90": {"JPEG 2000 lossless", jpeg2000}, ".4.91": {"JPEG 2000", jpeg2000},
	".4.110": {"JPEG XL lossless", unknown}, ".4.111": {"JPEG XL recompression", unknown}, ".4.112": {"JPEG XL", unknown},
	".4.201": {"HTJ2K lossless", unknown}, ".4.202": {"HTJ2K lossless RPCL", unknown}, ".4.203": {"HTJ2K", unknown},
}

const syntaxRoot = "1.2.840.10008.1.2"

func codecOf(syntax string) codec {
	if len(syntax) < len(syntaxRoot) || syntax[:len(syntaxRoot)] != syntaxRoot {
		return unknown
	}
	return syntaxes[syntax[len(syntaxRoot):]].c
}

func syntaxName(syntax string) string {
	if len(syntax) >= len(syntaxRoot) && syntax[:len(syntaxRoot)] == syntaxRoot {
		if s, ok := syntaxes[syntax[len(syntaxRoot):]]; ok {
			return syntax + " (" + s.name + ")"
		}
	}
	return syntax
}

// checkPixels refuses what decode does not do.
func (in *instance) checkPixels() error {
	if codecOf(in.syntax) == unknown {
		return fmt.Errorf("transfer syntax %s: %w", syntaxName(in.syntax), tiff.ErrUnsupported)
	}
	if in.bits != 8 || in.stored != 8 {
		return fmt.Errorf("samples of %d bits in %d, want 8: %w", in.stored, in.bits, tiff.ErrUnsupported)
	}
	switch in.photometric {
	case "MONOCHROME1", "MONOCHROME2":
		if in.samples != 1 {
			return fmt.Errorf("%d samples of %s: %w", in.samples, in.photometric, tiff.ErrCorrupt)
		}
	case "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT":
		if in.samples != 3 {
			return fmt.Errorf("%d samples of %s: %w", in.samples, in.photometric, tiff.ErrCorrupt)
		}
		if c := codecOf(in.syntax); in.photometric == "YBR_FULL_422" && c != jpeg {
			return fmt.Errorf("%s samples in %s: %w", in.photometric, syntaxName(in.syntax), tiff.ErrUnsupported)
		}
	default:
		return fmt.Errorf("photometric interpretation %q, want RGB, YCbCr or gray: %w", in.photometric, tiff.ErrUnsupported)
	}
	return nil
}

// decode turns the bytes of a frame into RGBA. A JPEG at an edge may be
// smaller than a tile, but not than the needW x needH pixels of the picture
// in it: wsidicomizer writes such ones.
func (in *instance) decode(b []byte, needW, needH int) (*tiff.Segment, error) {
	w, h := int(in.columns), int(in.rows)
	pix, err := in.pixels(b, &w, &h, needW, needH)
	if err != nil {
		return nil, err
	}
	return &tiff.Segment{W: w, H: h, Pix: pix}, nil
}

// pixels is decode; it sets the size of a smaller JPEG.
func (in *instance) pixels(b []byte, pw, ph *int, needW, needH int) ([]byte, error) {
	w, h, spp := *pw, *ph, int(in.samples)
	switch codecOf(in.syntax) {
	case jpeg:
		return in.decodeJPEG(b, pw, ph, needW, needH)
	case jpeg2000:
		return in.decodeJPEG2000(b, 0)
	case rle:
		planes, err := unRLE(b, w*h, spp)
		if err != nil {
			return nil, err
		}
		return in.rgba(planes, w*h, true), nil
	}
	return in.rgba(b, w*h, in.planar == 1), nil
}

// decodeJPEG2000 decodes a frame to 1/2^reduce of its size.
func (in *instance) decodeJPEG2000(b []byte, reduce int) ([]byte, error) {
	pix, err := tiff.DecodeJPEG2000(b, int(in.columns), int(in.rows), int(in.samples), in.photometric == "YBR_FULL", reduce)
	if err == nil && in.photometric == "MONOCHROME1" {
		invert(pix)
	}
	return pix, err
}

// decodeJPEG decodes a frame. What its markers say about the colours counts
// more than the photometric interpretation, which writers get wrong.
func (in *instance) decodeJPEG(b []byte, w, h *int, needW, needH int) ([]byte, error) {
	fw, fh, comps, err := jpegtile.Header(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
	}
	if fw > *w || fh > *h || fw < needW || fh < needH || comps != int(in.samples) {
		return nil, fmt.Errorf("JPEG of %d x %d x %d, want %d x %d x %d: %w", fw, fh, comps, *w, *h, in.samples, tiff.ErrCorrupt)
	}
	*w, *h = fw, fh
	color := jpegtile.ColorOf(b)
	if color == jpegtile.Auto {
		color = jpegtile.YCbCr
		if in.photometric == "RGB" {
			color = jpegtile.RGB
		}
	}
	pix, _, _, err := (*jpegtile.Tables)(nil).Decode(b, color)
	switch {
	case errors.Is(err, jpegtile.ErrUnsupported):
		return nil, fmt.Errorf("%w: %w", err, tiff.ErrUnsupported)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
	}
	if in.photometric == "MONOCHROME1" {
		invert(pix)
	}
	return pix, nil
}

// rgba joins 8-bit samples, plane after plane or pixel after pixel.
func (in *instance) rgba(b []byte, n int, planar bool) []byte {
	out := make([]byte, 4*n)
	step, plane := 3, 1
	if planar {
		step, plane = 1, n
	}
	for i := range n {
		d := out[4*i : 4*i+4 : 4*i+4]
		d[3] = 255
		if in.samples == 1 {
			v := b[i]
			if in.photometric == "MONOCHROME1" {
				v = 255 - v
			}
			d[0], d[1], d[2] = v, v, v
			continue
		}
		d[0], d[1], d[2] = b[i*step], b[i*step+plane], b[i*step+2*plane]
		if in.photometric == "YBR_FULL" {
			d[0], d[1], d[2] = jpegtile.ToRGB(d[0], d[1], d[2])
		}
	}
	return out
}

func invert(pix []byte) {
	for i := 0; i+3 < len(pix); i += 4 {
		pix[i], pix[i+1], pix[i+2] = 255-pix[i], 255-pix[i+1], 255-pix[i+2]
	}
}

// unRLE decodes DICOM's run lengths: a header of sixteen numbers, then one
// PackBits segment per sample, n bytes each.
func unRLE(b []byte, n, spp int) ([]byte, error) {
	if len(b) < 64 || binary.LittleEndian.Uint32(b) != uint32(spp) {
		return nil, fmt.Errorf("RLE header: %w", tiff.ErrCorrupt)
	}
	// A run of 128 bytes takes two.
	if n*spp/64 > len(b) {
		return nil, fmt.Errorf("%d bytes of RLE cannot hold %d: %w", len(b), n*spp, tiff.ErrCorrupt)
	}
	out := make([]byte, 0, n*spp)
	for s := range spp {
		from, to := int(binary.LittleEndian.Uint32(b[4+4*s:])), len(b)
		if s+1 < spp {
			to = int(binary.LittleEndian.Uint32(b[8+4*s:]))
		}
		if from < 64 || to > len(b) || from > to {
			return nil, fmt.Errorf("RLE segment %d at %d to %d of %d: %w", s, from, to, len(b), tiff.ErrCorrupt)
		}
		seg, end := b[from:to], (s+1)*n
		for len(out) < end {
			if len(seg) < 2 {
				return nil, fmt.Errorf("RLE segment %d ends early: %w", s, tiff.ErrCorrupt)
			}
			c := int(int8(seg[0]))
			switch {
			case c >= 0:
				if c+2 > len(seg) {
					return nil, fmt.Errorf("RLE segment %d ends early: %w", s, tiff.ErrCorrupt)
				}
				out = append(out, seg[1:1+min(c+1, end-len(out))]...)
				seg = seg[c+2:]
			case c == -128:
				seg = seg[1:]
			default:
				for k := min(1-c, end-len(out)); k > 0; k-- {
					out = append(out, seg[1])
				}
				seg = seg[2:]
			}
		}
	}
	return out, nil
}
