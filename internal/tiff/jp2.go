package tiff

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// colourStated is what a JP2 box says of the colours.
type colourStated uint8

const (
	colourUnstated colourStated = iota
	colourRGB
	colourYCC
)

// jp2Signature is how a JP2 file begins.
var jp2Signature = []byte("\x00\x00\x00\x0cjP  \r\n\x87\n")

// codestream returns the codestream in b, which may be wrapped in the boxes of
// a JP2 file, and what those say of its colours.
//
// Source: ITU-T T.800, annex I.
func codestream(b []byte) ([]byte, colourStated, error) {
	if !bytes.HasPrefix(b, jp2Signature) {
		return b, colourUnstated, nil
	}
	colour := colourUnstated
	var stream []byte
	err := boxes(b, 0, func(kind string, body []byte) error {
		switch kind {
		case "jp2h":
			return boxes(body, 1, func(kind string, body []byte) error {
				if kind == "colr" && len(body) >= 7 && body[0] == 1 && colour == colourUnstated {
					switch binary.BigEndian.Uint32(body[3:]) {
					case 16, 17:
						colour = colourRGB
					case 18:
						colour = colourYCC
					}
				}
				return nil
			})
		case "jp2c":
			if stream == nil {
				stream = body
			}
		}
		return nil
	})
	if err == nil && stream == nil {
		err = fmt.Errorf("JP2: no codestream: %w", ErrCorrupt)
	}
	return stream, colour, err
}

// boxes calls f for each box of b.
func boxes(b []byte, depth int, f func(kind string, body []byte) error) error {
	for len(b) >= 8 {
		n, head := uint64(binary.BigEndian.Uint32(b)), 8
		kind := string(b[4:8])
		switch {
		case n == 1 && len(b) >= 16:
			n, head = binary.BigEndian.Uint64(b[8:]), 16
		case n == 0 && depth == 0: // to the end of the file
			n = uint64(len(b))
		}
		if n < uint64(head) || n > uint64(len(b)) {
			return fmt.Errorf("JP2: box %q of %d bytes, %d left: %w", kind, n, len(b), ErrCorrupt)
		}
		if err := f(kind, b[head:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// headJ2K returns the size of a codestream's picture, whether the codestream
// states a transform of the colours (the MCT byte of its coding style), which
// its decoder undoes, and whether a component is subsampled.
func headJ2K(b []byte) (w, h int, transformed, subsampled bool, err error) {
	if len(b) < 4 || binary.BigEndian.Uint16(b) != jSOC {
		return 0, 0, false, false, fmt.Errorf("JPEG 2000: no codestream: %w", ErrCorrupt)
	}
	for p := 2; p+4 <= len(b); {
		m, n := binary.BigEndian.Uint16(b[p:]), int(binary.BigEndian.Uint16(b[p+2:]))
		if n < 2 || p+2+n > len(b) || m == jSOT {
			break
		}
		seg := b[p+4 : p+2+n]
		switch {
		case m == jSIZ && len(seg) >= 36:
			x, y := binary.BigEndian.Uint32(seg[2:]), binary.BigEndian.Uint32(seg[6:])
			if x > maxSide || y > maxSide {
				return 0, 0, false, false, fmt.Errorf("JPEG 2000: %d x %d: %w", x, y, ErrCorrupt)
			}
			w, h = int(x), int(y)
			for c := 36; c+2 < len(seg); c += 3 {
				subsampled = subsampled || seg[c+1] > 1 || seg[c+2] > 1
			}
		case m == jCOD && len(seg) >= 10:
			return w, h, seg[4] != 0, subsampled, nil
		}
		p += 2 + n
	}
	return 0, 0, false, false, fmt.Errorf("JPEG 2000: headers cut short: %w", ErrCorrupt)
}
