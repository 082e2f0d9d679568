package tiff

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/draw"

	jpeg2000 "github.com/ajroetker/go-jpeg2000"

	"github.com/slidesam/sam/internal/jpegtile"
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
// it: that decoder allocates what the headers claim. The picture must have
// w x h pixels; tiles, layers, levels and precincts are held to what slide
// writers use.
func checkJ2K(b []byte, w, h, spp int) error {
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
			tiles, err = checkSIZ(seg, w, h, spp)
		case jCOD:
			cod, err = true, checkCOD(seg)
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
func checkSIZ(seg []byte, w, h, spp int) (int, error) {
	if len(seg) < 36 {
		return 0, fmt.Errorf("JPEG 2000: size marker of %d bytes: %w", len(seg), ErrCorrupt)
	}
	var v [8]int64 // Xsiz Ysiz XOsiz YOsiz XTsiz YTsiz XTOsiz YTOsiz
	for i := range v {
		v[i] = int64(binary.BigEndian.Uint32(seg[2+4*i:]))
	}
	if v[2] != 0 || v[3] != 0 || v[6] != 0 || v[7] != 0 {
		return 0, fmt.Errorf("JPEG 2000: origin other than 0: %w", ErrUnsupported)
	}
	if v[0] != int64(w) || v[1] != int64(h) {
		return 0, fmt.Errorf("JPEG 2000: %d x %d, want %d x %d: %w", v[0], v[1], w, h, ErrCorrupt)
	}
	if v[4] == 0 || v[5] == 0 {
		return 0, fmt.Errorf("JPEG 2000: tiles of %d x %d: %w", v[4], v[5], ErrCorrupt)
	}
	tiles := ((v[0]-1)/v[4] + 1) * ((v[1]-1)/v[5] + 1)
	if tiles > maxJ2KTiles {
		return 0, fmt.Errorf("JPEG 2000: %d tiles inside one, over %d: %w", tiles, maxJ2KTiles, ErrUnsupported)
	}
	comps := int(binary.BigEndian.Uint16(seg[34:]))
	if comps != spp || comps > maxJ2KComps || len(seg) < 36+3*comps {
		return 0, fmt.Errorf("JPEG 2000: %d components, want %d: %w", comps, spp, ErrCorrupt)
	}
	for c := range comps {
		s := seg[36+3*c:]
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
func checkCOD(seg []byte) error {
	if len(seg) < 10 {
		return fmt.Errorf("JPEG 2000: coding style of %d bytes: %w", len(seg), ErrCorrupt)
	}
	layers, levels := int(binary.BigEndian.Uint16(seg[2:])), int(seg[5])
	if layers == 0 || layers > maxJ2KLayers || levels > maxJ2KLevels {
		return fmt.Errorf("JPEG 2000: %d layers, %d levels, over %d and %d: %w", layers, levels, maxJ2KLayers, maxJ2KLevels, ErrUnsupported)
	}
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

// decodeJ2K decodes a tile or strip to RGBA [h, w, 4].
//
// A colour transform that the codestream itself states is undone by the
// decoder, and none is left to do, whatever the tags say. Else YCbCr is what a
// JP2 box or the Photometric field says to be YCbCr, and, under 33003, what has
// subsampled components or was written by Aperio, whose number it is: others
// use it for RGB (Bio-Formats).
func (im *Image) decodeJ2K(b []byte, w, h, planes int) ([]byte, error) {
	b, box, err := codestream(b)
	if err != nil {
		return nil, err
	}
	fw, fh, transformed, subsampled, err := headJ2K(b)
	if err != nil {
		return nil, err
	}
	if fw > w || fh > h {
		return nil, fmt.Errorf("JPEG 2000: %d x %d, want %d x %d: %w", fw, fh, w, h, ErrCorrupt)
	}
	ycc := false
	if planes >= 3 && !transformed {
		switch {
		case box != colourUnstated:
			ycc = box == colourYCC
		case im.photo == photoYCbCr, im.comp == compJ2KYCC && (subsampled || im.aperio):
			ycc = true
		case im.comp == compJ2KLossy:
			// libvips writes YCbCr under 33004 and says RGB, others write RGB.
			return nil, fmt.Errorf("compression 33004 (JPEG 2000 lossy) without a colour transform leaves open whether the colours are RGB or YCbCr; rewrite with JPEG or LZW: %w", ErrUnsupported)
		}
	}
	if err := checkJ2K(b, fw, fh, planes); err != nil {
		return nil, err
	}
	pic, err := safeJ2K(b)
	if err != nil {
		return nil, fmt.Errorf("JPEG 2000: %w: %w", err, ErrCorrupt)
	}
	p, ok := pic.(*image.RGBA)
	if g, gray := pic.(*image.Gray); gray {
		p, ok = image.NewRGBA(g.Rect), true
		draw.Draw(p, p.Rect, g, g.Rect.Min, draw.Src)
	}
	if !ok || p.Bounds().Dx() != fw || p.Bounds().Dy() != fh {
		return nil, fmt.Errorf("JPEG 2000: %v decoded, want %d x %d: %w", pic.Bounds(), fw, fh, ErrCorrupt)
	}
	if ycc {
		for i := 0; i+3 < len(p.Pix); i += 4 {
			d := p.Pix[i : i+4 : i+4]
			d[0], d[1], d[2] = jpegtile.ToRGB(d[0], d[1], d[2])
		}
	}
	return im.fit(p.Pix, fw, fh, w, h)
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
