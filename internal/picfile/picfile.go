// Package picfile reads picture files of bounded size: PNG, JPEG, TIFF, BMP and
// GIF, upright and in the colours that Pillow gives them.
//
//   - PNG, BMP and GIF as the standard library and x/image read them, which is
//     exact; alpha is kept.
//   - JPEG as libjpeg decodes it, to the bit; CMYK with Pillow's conversion.
//   - TIFF and BigTIFF as package wsi reads slides, and Group 3 and 4, 1-bit
//     and 16-bit files by x/image, foreground as the photometric tag says.
//   - The orientation of EXIF (JPEG, PNG) or of TIFF is applied, and reported.
//
// The size that a file states is checked before memory is taken.
//
//	img, info, err := picfile.Open("picture.jpg", picfile.Options{})
package picfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io"
	"os"

	"golang.org/x/image/bmp"

	"github.com/slidesam/sam/internal/jpegtile"
	"github.com/slidesam/sam/internal/regular"
)

// ErrFormat is wrapped by errors about a file's content.
var ErrFormat = errors.New("not a picture that is read")

// DefaultMaxPixels is the limit where options give none: 134 million pixels,
// 11,585 on each side, which take 512 MiB.
const DefaultMaxPixels = 1 << 27

// Options change how a picture is read.
type Options struct {
	// MaxPixels is the most pixels that are read, 0 for DefaultMaxPixels. A
	// pixel of more than four bytes counts as two.
	MaxPixels int64
	// Window brings samples of 16 bits to 8.
	Window *Window
	// Raw keeps the samples as they are: labels of 16 bits, palette indices.
	Raw bool
}

// Info says how a picture was read.
type Info struct {
	Format      string // "png", "jpeg", "tiff", "bmp" or "gif"
	Orientation int    // that was undone, as in EXIF: 2 to 8; 1 for none
	Warnings    []string
}

// Open reads the picture at path. The error wraps ErrFormat if the content is at
// fault, and names the limit if the picture is over it.
func Open(path string, o Options) (image.Image, Info, error) {
	img, info, err := open(path, o)
	if err != nil {
		return nil, info, fmt.Errorf("%s: %w", path, err)
	}
	return img, info, nil
}

func open(path string, o Options) (img image.Image, info Info, err error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, info, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, info, err
	}
	l := limit{pixels: o.MaxPixels, file: st.Size()}
	if l.pixels <= 0 {
		l.pixels = DefaultMaxPixels
	}
	defer func() {
		if r := recover(); r != nil { // decoders of other modules, on broken files
			img, err = nil, fmt.Errorf("%w: decoder: %v", ErrFormat, r)
		}
	}()
	head := make([]byte, 8)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, info, err
	}
	info.Orientation = 1
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte("\x89PNG")):
		info.Format = "png"
		info.Orientation = pngOrientation(f)
		img, err = l.decode(f, png.DecodeConfig, png.Decode)
	case bytes.HasPrefix(head, []byte("\xff\xd8")):
		info.Format = "jpeg"
		img, info.Orientation, err = l.jpeg(f)
	case bytes.HasPrefix(head, []byte("BM")):
		info.Format = "bmp"
		img, err = l.decode(f, bmp.DecodeConfig, bmp.Decode)
	case bytes.HasPrefix(head, []byte("GIF8")):
		info.Format = "gif"
		img, err = l.decode(f, gif.DecodeConfig, gif.Decode)
	default:
		info.Format = "tiff"
		var t tiffPicture
		t, err = l.tiff(path, f, o)
		img, info.Orientation, info.Warnings = t.img, t.orientation, t.warnings
	}
	if err != nil {
		if !errors.Is(err, os.ErrPermission) {
			err = fmt.Errorf("%w: %w", ErrFormat, err)
		}
		return nil, info, err
	}
	if !o.Raw {
		var note string
		if img, note, err = o.Window.apply(img); err != nil {
			return nil, info, err
		}
		if note != "" {
			info.Warnings = append(info.Warnings, note)
		}
	}
	return upright(img, info.Orientation), info, nil
}

// limit bounds what is decoded.
type limit struct {
	pixels int64 // see Options.MaxPixels
	file   int64 // bytes
}

// maxRatio is more pixels than any codec here makes of a byte: deflate gives
// 8,256 of one bit.
const maxRatio = 10000

func (l limit) check(w, h, bytesPerPixel int) error {
	if w <= 0 || h <= 0 {
		return fmt.Errorf("a picture of %d x %d", w, h)
	}
	weight := int64(1)
	if bytesPerPixel > 4 {
		weight = 2
	}
	if int64(w) > l.pixels/weight/int64(h) {
		return fmt.Errorf("a picture of %d x %d, over the limit of %d pixels (a pixel of more than 4 bytes counts as 2): raise it (MaxPixels, -max-pixels), or read it as a slide, tile by tile", w, h, l.pixels)
	}
	if n := int64(w) * int64(h); n > 1<<20 && n/maxRatio > l.file {
		return fmt.Errorf("a picture of %d x %d in a file of %d bytes: damaged", w, h, l.file)
	}
	return nil
}

// decode reads a picture whose header gives its size.
func (l limit) decode(f *os.File, config func(io.Reader) (image.Config, error), decode func(io.Reader) (image.Image, error)) (image.Image, error) {
	c, err := config(bufio.NewReader(f))
	if err != nil {
		return nil, err
	}
	size := 4
	if c.ColorModel == color.NRGBA64Model || c.ColorModel == color.RGBA64Model {
		size = 8
	}
	if err := l.check(c.Width, c.Height, size); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return decode(bufio.NewReaderSize(f, 1<<16))
}

// jpeg reads a JPEG file and its EXIF orientation.
func (l limit) jpeg(f *os.File) (image.Image, int, error) {
	b, err := io.ReadAll(io.LimitReader(f, maxJPEG+1))
	if err != nil {
		return nil, 1, err
	}
	if len(b) > maxJPEG {
		return nil, 1, fmt.Errorf("more than %d bytes", maxJPEG)
	}
	w, h, _, err := jpegtile.Header(b)
	if err != nil {
		return nil, 1, err
	}
	if err := l.check(w, h, 4); err != nil {
		return nil, 1, err
	}
	turn := jpegOrientation(b)
	pix, w, h, err := (*jpegtile.Tables)(nil).Decode(b, jpegtile.Auto)
	if err != nil {
		return nil, 1, err
	}
	return &image.RGBA{Pix: pix, Stride: 4 * w, Rect: image.Rect(0, 0, w, h)}, turn, nil
}

// maxJPEG is the largest JPEG file that is read.
const maxJPEG = 1 << 30
