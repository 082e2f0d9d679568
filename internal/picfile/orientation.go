package picfile

import (
	"bytes"
	"encoding/binary"
	"image"
	"io"
	"os"
)

// jpegOrientation returns the EXIF orientation of a JPEG file, 1 if it has none.
func jpegOrientation(b []byte) int {
	for p := 2; p+4 <= len(b) && b[p] == 0xff; {
		m := b[p+1]
		if m == 0xff { // filling
			p++
			continue
		}
		n := int(binary.BigEndian.Uint16(b[p+2:]))
		if m == 0xda || m == 0xd9 || n < 2 || p+2+n > len(b) {
			break
		}
		if exif, ok := bytes.CutPrefix(b[p+4:p+2+n], []byte("Exif\x00\x00")); ok && m == 0xe1 {
			return exifOrientation(exif)
		}
		p += 2 + n
	}
	return 1
}

// pngOrientation returns the orientation of a PNG file's eXIf chunk, which may lie
// before or behind its pixels; 1 if it has none.
func pngOrientation(f *os.File) int {
	var head [8]byte
	at := int64(8)
	for range maxChunks {
		if _, err := f.ReadAt(head[:], at); err != nil {
			return 1
		}
		n := int64(binary.BigEndian.Uint32(head[:]))
		switch string(head[4:]) {
		case "IEND":
			return 1
		case "eXIf":
			b, err := io.ReadAll(io.NewSectionReader(f, at+8, min(n, 1<<16)))
			if err != nil {
				return 1
			}
			return exifOrientation(b)
		}
		at += 12 + n
	}
	return 1
}

// maxChunks is how many chunks of a PNG file are looked through: a picture of the
// largest size has as many of pixels where each is 8 KiB, the least that libpng
// writes.
const maxChunks = 1 << 17

// exifOrientation returns the orientation in the first directory of EXIF data,
// which is a small TIFF file; 1 if it has none or is damaged.
func exifOrientation(b []byte) int {
	var o binary.ByteOrder
	switch {
	case bytes.HasPrefix(b, []byte("II*\x00")):
		o = binary.LittleEndian
	case bytes.HasPrefix(b, []byte("MM\x00*")):
		o = binary.BigEndian
	default:
		return 1
	}
	if len(b) < 8 {
		return 1
	}
	at := int64(o.Uint32(b[4:]))
	if at+2 > int64(len(b)) {
		return 1
	}
	entries := b[at+2:]
	for range o.Uint16(b[at:]) {
		if len(entries) < 12 {
			return 1
		}
		if o.Uint16(entries) == 0x0112 {
			v := 1
			switch o.Uint16(entries[2:]) {
			case 3:
				v = int(o.Uint16(entries[8:]))
			case 4, 9: // some writers' long
				v = int(min(o.Uint32(entries[8:]), 9))
			case 1:
				v = int(entries[8])
			}
			if v >= 1 && v <= 8 {
				return v
			}
			return 1
		}
		entries = entries[12:]
	}
	return 1
}

// upright undoes an orientation: the result is what a viewer shows.
func upright(img image.Image, orientation int) image.Image {
	if orientation < 2 || orientation > 8 {
		return img
	}
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	if orientation >= 5 {
		w, h = h, w
	}
	from := func(x, y int) (int, int) { // where in the file a pixel is
		switch orientation {
		case 2:
			return w - 1 - x, y
		case 3:
			return w - 1 - x, h - 1 - y
		case 4:
			return x, h - 1 - y
		case 5:
			return y, x
		case 6:
			return y, w - 1 - x
		case 7:
			return h - 1 - y, w - 1 - x
		}
		return h - 1 - y, x
	}
	return turned(img, image.Rect(0, 0, w, h), from)
}

// turned moves pixels whole where the picture's kind is known.
func turned(img image.Image, r image.Rectangle, from func(x, y int) (int, int)) image.Image {
	move := func(dst, src []byte, stride, size int) {
		for y := range r.Dy() {
			for x := range r.Dx() {
				sx, sy := from(x, y)
				at := sy*stride + sx*size
				copy(dst[(y*r.Dx()+x)*size:][:size], src[at:at+size])
			}
		}
	}
	switch m := img.(type) {
	case *image.Gray:
		out := image.NewGray(r)
		move(out.Pix, m.Pix, m.Stride, 1)
		return out
	case *image.Gray16:
		out := image.NewGray16(r)
		move(out.Pix, m.Pix, m.Stride, 2)
		return out
	case *image.Paletted:
		out := image.NewPaletted(r, m.Palette)
		move(out.Pix, m.Pix, m.Stride, 1)
		return out
	case *image.RGBA:
		out := image.NewRGBA(r)
		move(out.Pix, m.Pix, m.Stride, 4)
		return out
	case *image.NRGBA:
		out := image.NewNRGBA(r)
		move(out.Pix, m.Pix, m.Stride, 4)
		return out
	case *image.RGBA64:
		out := image.NewRGBA64(r)
		move(out.Pix, m.Pix, m.Stride, 8)
		return out
	}
	out := image.NewNRGBA64(r)
	b := img.Bounds()
	for y := range r.Dy() {
		for x := range r.Dx() {
			sx, sy := from(x, y)
			out.Set(x, y, img.At(b.Min.X+sx, b.Min.Y+sy))
		}
	}
	return out
}
