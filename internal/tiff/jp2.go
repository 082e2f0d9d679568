package tiff

import (
	"encoding/binary"
	"fmt"
)

// The colour spaces of a JP2 colour box.
const (
	boxRGB = 16
	boxYCC = 18
)

// jp2Signature begins a JPEG 2000 codestream in the boxes of the JP2 format.
const jp2Signature = "\x00\x00\x00\x0cjP  \r\n\x87\n"

// unboxJ2K returns the codestream of b and the colour space that the boxes
// around it state: 0 if there are none or they leave it open.
func unboxJ2K(b []byte) (stream []byte, space uint32, err error) {
	if len(b) < len(jp2Signature) || string(b[:len(jp2Signature)]) != jp2Signature {
		return b, 0, nil
	}
	for rest := b; len(rest) > 0; {
		kind, body, next, err := box(rest)
		if err != nil {
			return nil, 0, err
		}
		switch kind {
		case "jp2h":
			for in := body; len(in) > 0; {
				k, v, n, err := box(in)
				if err != nil {
					return nil, 0, err
				}
				if k == "colr" && len(v) >= 7 && v[0] == 1 && space == 0 {
					if cs := binary.BigEndian.Uint32(v[3:]); cs == boxRGB || cs == boxYCC {
						space = cs
					}
				}
				in = n
			}
		case "jp2c":
			return body, space, nil
		}
		rest = next
	}
	return nil, 0, fmt.Errorf("JPEG 2000: no codestream in the boxes: %w", ErrCorrupt)
}

// box reads one box and what follows it.
func box(b []byte) (kind string, body, next []byte, err error) {
	bad := fmt.Errorf("JPEG 2000: box cut short: %w", ErrCorrupt)
	if len(b) < 8 {
		return "", nil, nil, bad
	}
	n, head := uint64(binary.BigEndian.Uint32(b)), uint64(8)
	switch n {
	case 0:
		n = uint64(len(b))
	case 1:
		if len(b) < 16 {
			return "", nil, nil, bad
		}
		n, head = binary.BigEndian.Uint64(b[8:]), 16
	}
	if n < head || n > uint64(len(b)) {
		return "", nil, nil, bad
	}
	return string(b[4:8]), b[head:n], b[n:], nil
}
