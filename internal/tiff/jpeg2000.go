package tiff

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"

	jpeg2000 "github.com/ajroetker/go-jpeg2000"
)

// Markers of a JPEG 2000 codestream.
const (
	jSOC, jSIZ, jCOD, jCOC, jRGN, jQCD, jQCC = 0xff4f, 0xff51, 0xff52, 0xff53, 0xff5e, 0xff5c, 0xff5d
	jPOC, jTLM, jPLM, jPLT, jPPM, jPPT       = 0xff5f, 0xff55, 0xff57, 0xff58, 0xff60, 0xff61
	jCRG, jCOM, jSOT, jSOD, jEOC             = 0xff63, 0xff64, 0xff90, 0xff93, 0xffd9
	maxJ2KTiles, maxJ2KLayers, maxJ2KLevels  = 64, 64, 10
	minJ2KPrecinct                           = 4 // log2 of the smallest precinct
	maxJ2KComps                              = 4
)

// checkJ2K walks over the headers of a codestream before the decoder sees
// it: that decoder allocates what the headers claim. The picture must cover
// s; tiles, layers, levels and precincts are held to what slide
// writers use.
func checkJ2K(b []byte, s span, comps int) (j2kInfo, error) {
	info := j2kInfo{comps: comps}
	return info, info.check(b, s)
}

// j2kInfo is what the headers of a codestream say.
type j2kInfo struct {
	w, h, comps int
	mct         bool // the decoder turns the colours into RGB itself
	subsampled  bool // the second and third component are coarser
}

func (i *j2kInfo) check(b []byte, s span) error {
	if len(b) < 4 || binary.BigEndian.Uint16(b) != jSOC || binary.BigEndian.Uint16(b[2:]) != jSIZ {
		return fmt.Errorf("JPEG 2000: no codestream: %w", ErrCorrupt)
	}
	tiles, cod, qcd, sots := 0, false, false, 0
	for p := 2; ; {
		if p+4 > len(b) {
			return fmt.Errorf("JPEG 2000: headers cut short: %w", ErrCorrupt)
		}
		m := binary.BigEndian.Uint16(b[p:])
		if m == jSOD || m == jEOC {
			return fmt.Errorf("JPEG 2000: marker %#x at byte %d: %w", m, p, ErrCorrupt)
		}
		n := int(binary.BigEndian.Uint16(b[p+2:]))
		if n < 2 || p+2+n > len(b) {
			return fmt.Errorf("JPEG 2000: marker %#x of %d bytes, %d left: %w", m, n, len(b)-p-2, ErrCorrupt)
		}
		seg := b[p+4 : p+2+n]
		var err error
		switch m {
		case jSIZ:
			if tiles != 0 {
				return fmt.Errorf("JPEG 2000: second size marker: %w", ErrCorrupt)
			}
			tiles, err = i.checkSIZ(seg, s)
		case jCOD:
			cod, err = true, i.checkCOD(seg)
		case jQCD, jQCC:
			qcd = qcd || m == jQCD
			if len(seg) < 2 {
				err = fmt.Errorf("JPEG 2000: quantisation marker: %w", ErrCorrupt)
			}
		case jCOM, jTLM, jPLM, jPLT, jCRG:
		case jSOT:
			if tiles == 0 || !cod || !qcd {
				return fmt.Errorf("JPEG 2000: tile before the main header is whole: %w", ErrCorrupt)
			}
			next, done, err := checkTilePart(b, p, seg, tiles)
			if err != nil {
				return err
			}
			if sots++; sots > 4096 {
				return fmt.Errorf("JPEG 2000: more than 4096 tile-parts: %w", ErrUnsupported)
			}
			if done {
				return nil
			}
			p = next
			continue
		default:
			return fmt.Errorf("JPEG 2000: marker %#x: %w", m, ErrUnsupported)
		}
		if err != nil {
			return err
		}
		p += 2 + n
	}
}

// checkSIZ checks the size marker and returns the number of tiles.
func (i *j2kInfo) checkSIZ(seg []byte, s span) (int, error) {
	if len(seg) < 36 {
		return 0, fmt.Errorf("JPEG 2000: size marker of %d bytes: %w", len(seg), ErrCorrupt)
	}
	var v [8]int64 // Xsiz Ysiz XOsiz YOsiz XTsiz YTsiz XTOsiz YTOsiz
	for k := range v {
		v[k] = int64(binary.BigEndian.Uint32(seg[2+4*k:]))
	}
	if v[2] != 0 || v[3] != 0 || v[6] != 0 || v[7] != 0 {
		return 0, fmt.Errorf("JPEG 2000: origin other than 0: %w", ErrUnsupported)
	}
	i.w, i.h = int(v[0]), int(v[1])
	if err := s.check("JPEG 2000", i.w, i.h, s.h); err != nil {
		return 0, err
	}
	if v[4] == 0 || v[5] == 0 {
		return 0, fmt.Errorf("JPEG 2000: tiles of %d x %d: %w", v[4], v[5], ErrCorrupt)
	}
	tiles := ((v[0]-1)/v[4] + 1) * ((v[1]-1)/v[5] + 1)
	if tiles > maxJ2KTiles {
		return 0, fmt.Errorf("JPEG 2000: %d tiles inside one, over %d: %w", tiles, maxJ2KTiles, ErrUnsupported)
	}
	comps := int(binary.BigEndian.Uint16(seg[34:]))
	if comps != i.comps || comps > maxJ2KComps || len(seg) < 36+3*comps {
		return 0, fmt.Errorf("JPEG 2000: %d components, want %d: %w", comps, i.comps, ErrCorrupt)
	}
	for c := range comps {
		s := seg[36+3*c:]
		i.subsampled = i.subsampled || s[1] > 1 || s[2] > 1
		if s[0] != 7 {
			return 0, fmt.Errorf("JPEG 2000: component %d is not of 8 unsigned bits: %w", c, ErrUnsupported)
		}
		if lim := byte(min(c, 1) + 1); s[1] == 0 || s[1] > lim || s[2] == 0 || s[2] > lim {
			return 0, fmt.Errorf("JPEG 2000: component %d subsampled by %d x %d: %w", c, s[1], s[2], ErrUnsupported)
		}
	}
	return int(tiles), nil
}

// checkCOD checks the coding style.
func (i *j2kInfo) checkCOD(seg []byte) error {
	if len(seg) < 10 {
		return fmt.Errorf("JPEG 2000: coding style of %d bytes: %w", len(seg), ErrCorrupt)
	}
	layers, levels := int(binary.BigEndian.Uint16(seg[2:])), int(seg[5])
	if layers == 0 || layers > maxJ2KLayers || levels > maxJ2KLevels {
		return fmt.Errorf("JPEG 2000: %d layers, %d levels, over %d and %d: %w", layers, levels, maxJ2KLayers, maxJ2KLevels, ErrUnsupported)
	}
	i.mct = seg[4] != 0
	if seg[6] > 8 || seg[7] > 8 || seg[6]+seg[7] > 8 {
		return fmt.Errorf("JPEG 2000: code block of 2^%d x 2^%d: %w", seg[6]+2, seg[7]+2, ErrCorrupt)
	}
	if seg[0]&1 != 0 {
		if len(seg) < 10+levels+1 {
			return fmt.Errorf("JPEG 2000: coding style of %d bytes: %w", len(seg), ErrCorrupt)
		}
		for _, pp := range seg[10 : 10+levels+1] {
			if pp&15 < minJ2KPrecinct || pp>>4 < minJ2KPrecinct {
				return fmt.Errorf("JPEG 2000: precinct of 2^%d x 2^%d: %w", pp&15, pp>>4, ErrUnsupported)
			}
		}
	}
	return nil
}

// checkTilePart checks the tile-part whose SOT segment seg is at p. It
// returns where the next marker is, or done at the end of the stream.
func checkTilePart(b []byte, p int, seg []byte, tiles int) (next int, done bool, err error) {
	if len(seg) != 8 {
		return 0, false, fmt.Errorf("JPEG 2000: tile marker of %d bytes: %w", len(seg), ErrCorrupt)
	}
	if i := int(binary.BigEndian.Uint16(seg)); i >= tiles {
		return 0, false, fmt.Errorf("JPEG 2000: tile %d of %d: %w", i, tiles, ErrCorrupt)
	}
	length := int64(binary.BigEndian.Uint32(seg[2:]))
	end := int64(p) + length
	if length == 0 {
		end = int64(len(b))
	}
	if end > int64(len(b)) || end < int64(p)+14 {
		return 0, false, fmt.Errorf("JPEG 2000: tile-part of %d bytes at %d of %d: %w", length, p, len(b), ErrCorrupt)
	}
	for q := p + 12; ; {
		if int64(q)+2 > end {
			return 0, false, fmt.Errorf("JPEG 2000: tile-part without data: %w", ErrCorrupt)
		}
		m := binary.BigEndian.Uint16(b[q:])
		if m == jSOD {
			break
		}
		if m != jPLT && m != jCOM || int64(q)+4 > end {
			return 0, false, fmt.Errorf("JPEG 2000: marker %#x in a tile-part: %w", m, ErrUnsupported)
		}
		n := int(binary.BigEndian.Uint16(b[q+2:]))
		if n < 2 {
			return 0, false, fmt.Errorf("JPEG 2000: marker %#x of %d bytes: %w", m, n, ErrCorrupt)
		}
		q += 2 + n
	}
	// The end marker may be missing; anything else must be a marker.
	if end+2 > int64(len(b)) || binary.BigEndian.Uint16(b[end:]) == jEOC {
		return 0, true, nil
	}
	return int(end), false, nil
}

// decodeJ2K decodes one tile or strip of comps components to RGBA
// [s.h, s.w, 4].
//
// A colour transform of the codestream's own gives RGB, and there is none
// left to do. Without one, the components are YCbCr if the colour box of the
// JP2 format says so, if two of them are subsampled, or if the Photometric
// field says so; Aperio's scheme 33003 is YCbCr whatever the field says.
func (im *Image) decodeJ2K(b []byte, s span, comps int) ([]byte, error) {
	b, space, err := unboxJ2K(b)
	if err != nil {
		return nil, err
	}
	p, info, err := decodeStream(b, s, comps)
	if err != nil {
		return nil, err
	}
	ycc := info.subsampled || im.photo == photoYCbCr || im.comp == compJ2KYCC && im.aperio
	if space != 0 {
		ycc = space == boxYCC
	}
	if comps == 3 && !info.mct && ycc {
		fromYCC(p.Pix)
	}
	return s.fit(p.Pix, info.w, info.h, 4), nil
}

// safeJ2K turns a panic of the decoder into an error.
func safeJ2K(b []byte) (pic image.Image, err error) {
	defer func() {
		if r := recover(); r != nil {
			pic, err = nil, fmt.Errorf("decoder: %v", r)
		}
	}()
	return jpeg2000.Decode(bytes.NewReader(b))
}
