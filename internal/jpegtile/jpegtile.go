// Package jpegtile decodes the JPEG tiles of whole slides, and JPEG pictures,
// to RGBA, bit for bit as libjpeg does with its default settings (accurate
// integer inverse DCT, triangle-filtered chroma).
//
// Tiles of one slide share their tables; Tables holds them ready for use, so
// that a tile costs only its own data:
//
//	t, err := jpegtile.ParseTables(dir.JPEGTables)
//	pix, w, h, err := t.Decode(tile, jpegtile.YCbCr)
//
// It reads Huffman-coded sequential and progressive files (SOF0 to SOF2) of 8
// bits with one, three or four components, which are CMYK or YCCK as Pillow
// reads them, any number of scans and restart markers. Everything else gives
// ErrUnsupported; data that ends early or breaks gives ErrCorrupt rather than a
// grey tile. A progressive file that leaves coefficients out is not smoothed.
//
// Source: ITU-T T.81; arithmetic as in libjpeg's jidctint.c, jdsample.c and
// jdcolor.c.
package jpegtile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrCorrupt is wrapped by errors about data that is no valid JPEG.
var ErrCorrupt = errors.New("corrupt JPEG")

// ErrUnsupported is wrapped by errors about JPEG files this package does not
// decode: arithmetic-coded, lossless, of 12 bits.
var ErrUnsupported = errors.New("JPEG coding not supported")

// Color says how three components are meant.
type Color uint8

const (
	// Auto goes by the JFIF and Adobe markers and the component numbers;
	// YCbCr if they say nothing.
	Auto Color = iota
	// RGB takes the components as they are.
	RGB
	// YCbCr converts from full-range BT.601.
	YCbCr
)

// maxPixels bounds a picture: 256 Mpx.
const maxPixels = 1 << 28

// Tables are quantisation and Huffman tables. A *Tables is safe for use by
// many goroutines; nil has no tables.
type Tables struct {
	quant [4]*[64]int32 // zigzag order
	huff  [2][4]*huffman
}

// Markers.
const (
	mSOF0, mSOF2, mDHT, mSOI, mEOI, mSOS = 0xc0, 0xc2, 0xc4, 0xd8, 0xd9, 0xda
	mDQT, mDRI, mAPP0, mAPP14, mCOM      = 0xdb, 0xdd, 0xe0, 0xee, 0xfe
)

// ParseTables reads an abbreviated stream that holds tables only, as the
// JPEGTables field of a TIFF does. No bytes are valid and give no tables.
func ParseTables(b []byte) (*Tables, error) {
	t := &Tables{}
	if len(b) == 0 {
		return t, nil
	}
	if len(b) < 4 || b[0] != 0xff || b[1] != mSOI {
		return nil, fmt.Errorf("jpegtile: tables: no start marker: %w", ErrCorrupt)
	}
	for p := 2; p < len(b); {
		m, seg, next, err := segment(b, p)
		if err != nil {
			return nil, fmt.Errorf("jpegtile: tables: %w", err)
		}
		switch {
		case m == mEOI:
			return t, nil
		case m == mDQT:
			err = t.readDQT(seg)
		case m == mDHT:
			err = t.readDHT(seg)
		case m == mDRI, m >= 0xe0 && m <= 0xef, m == mCOM:
		default:
			err = fmt.Errorf("marker %#x: %w", m, ErrCorrupt)
		}
		if err != nil {
			return nil, fmt.Errorf("jpegtile: tables: %w", err)
		}
		p = next
	}
	return t, nil
}

// Info is what the headers of a picture say.
type Info struct {
	W, H, Comps int
	// Said is how three components are meant by the picture's own account:
	// its JFIF or Adobe marker, or components numbered R, G and B. It is
	// Auto if nothing tells, which stands for YCbCr in a file of its own.
	Said Color
}

// Header returns the size and the number of components of a picture.
func Header(b []byte) (w, h, comps int, err error) {
	i, err := Inspect(b)
	return i.W, i.H, i.Comps, err
}

// ColorOf returns what a picture says of the colours of its three components,
// as [Info] has it; Auto if it breaks before its first scan, too.
func ColorOf(b []byte) Color {
	i, err := Inspect(b)
	if err != nil {
		return Auto
	}
	return i.Said
}

// Inspect returns what the headers of a picture say.
func Inspect(b []byte) (Info, error) {
	if len(b) < 4 || b[0] != 0xff || b[1] != mSOI {
		return Info{}, fmt.Errorf("jpegtile: no start marker: %w", ErrCorrupt)
	}
	var said marks
	var out Info
	for p := 2; ; {
		m, seg, next, err := segment(b, p)
		if err != nil {
			return Info{}, fmt.Errorf("jpegtile: %w", err)
		}
		said.read(m, seg)
		if isSOF(m) && len(seg) >= 6 && out.Comps == 0 {
			out = Info{W: int(binary.BigEndian.Uint16(seg[3:])), H: int(binary.BigEndian.Uint16(seg[1:])), Comps: int(seg[5])}
		}
		if m == mSOS && out.Comps > 0 {
			out.Said = said.color()
			return out, nil
		}
		if m == mSOS || m == mEOI {
			return Info{}, fmt.Errorf("jpegtile: no frame header: %w", ErrCorrupt)
		}
		p = next
	}
}

// marks gathers what a picture says about its colours.
type marks struct {
	jfif  bool
	adobe *byte // transform
	rgb   bool  // components numbered R, G, B
}

func (s *marks) read(m byte, seg []byte) {
	switch {
	case m == mAPP0 && len(seg) >= 5 && string(seg[:5]) == "JFIF\x00":
		s.jfif = true
	case m == mAPP14 && len(seg) >= 12 && string(seg[:5]) == "Adobe":
		s.adobe = &seg[11]
	case isSOF(m) && len(seg) >= 15 && seg[5] == 3:
		s.rgb = seg[6] == 'R' && seg[9] == 'G' && seg[12] == 'B'
	}
}

// color decides as libjpeg does: JFIF, then Adobe, then the numbers.
func (s *marks) color() Color {
	switch {
	case s.jfif:
		return YCbCr
	case s.adobe != nil && *s.adobe == 0, s.adobe == nil && s.rgb:
		return RGB
	case s.adobe != nil:
		return YCbCr
	}
	return Auto
}

func isSOF(m byte) bool { return m >= 0xc0 && m <= 0xcf && m != mDHT && m != 0xc8 && m != 0xcc }

// segment reads the marker segment at p: its marker, its payload and where
// the next begins.
func segment(b []byte, p int) (marker byte, payload []byte, next int, err error) {
	for p+1 < len(b) && b[p] == 0xff && b[p+1] == 0xff {
		p++ // fill bytes
	}
	if p+2 > len(b) || b[p] != 0xff {
		return 0, nil, 0, fmt.Errorf("no marker at byte %d: %w", p, ErrCorrupt)
	}
	marker = b[p+1]
	if marker == mEOI || marker == mSOI || marker == 1 || marker&0xf8 == 0xd0 {
		return marker, nil, p + 2, nil
	}
	if p+4 > len(b) {
		return 0, nil, 0, fmt.Errorf("marker %#x cut short: %w", marker, ErrCorrupt)
	}
	n := int(binary.BigEndian.Uint16(b[p+2:]))
	if n < 2 || p+2+n > len(b) {
		return 0, nil, 0, fmt.Errorf("marker %#x of %d bytes, %d left: %w", marker, n, len(b)-p-2, ErrCorrupt)
	}
	return marker, b[p+4 : p+2+n], p + 2 + n, nil
}

// readDQT reads quantisation tables.
func (t *Tables) readDQT(seg []byte) error {
	for len(seg) > 0 {
		size := 1 + int(seg[0]>>4)
		id := seg[0] & 15
		if id > 3 || size > 2 || len(seg) < 1+64*size {
			return fmt.Errorf("quantisation table: %w", ErrCorrupt)
		}
		q := new([64]int32)
		for i := range q {
			if size == 1 {
				q[i] = int32(seg[1+i])
			} else {
				q[i] = int32(binary.BigEndian.Uint16(seg[1+2*i:]))
			}
		}
		t.quant[id] = q
		seg = seg[1+64*size:]
	}
	return nil
}
