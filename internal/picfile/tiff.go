package picfile

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"

	xtiff "golang.org/x/image/tiff"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/wsi"
)

// tiffPicture is what a TIFF file holds.
type tiffPicture struct {
	img         image.Image
	orientation int
	warnings    []string
}

// tiffHead is what the first page says of itself.
type tiffHead struct {
	w, h        int
	orientation int
	pages       int
	compression uint64
	fax         bool // runs of white and black
	twoWay      bool // Group 3 of two dimensions
	minIsWhite  bool
	deep        bool // 16 bits
	clear       bool // with alpha
}

const (
	orientationTag tiff.Tag = 274
	t4Tag          tiff.Tag = 292 // options of Group 3
)

func readTIFFHead(path string) (h tiffHead, err error) {
	f, err := tiff.Open(path)
	if err != nil {
		return h, err
	}
	defer f.Close()
	d := f.Dirs()[0]
	h.pages = len(f.Dirs())
	var v [6]uint64
	for i, t := range []struct {
		tag tiff.Tag
		def uint64
	}{{tiff.ImageWidth, 0}, {tiff.ImageLength, 0}, {tiff.Compression, 1}, {tiff.Photometric, 1}, {orientationTag, 1}, {t4Tag, 0}} {
		if v[i], err = d.Uint(t.tag, t.def); err != nil {
			return h, err
		}
	}
	bits, err := d.Uints(tiff.BitsPerSample)
	if err != nil {
		return h, err
	}
	extra, err := d.Uints(tiff.ExtraSamples)
	if err != nil {
		return h, err
	}
	h.w, h.h = int(min(v[0], 1<<31)), int(min(v[1], 1<<31))
	h.compression, h.fax, h.twoWay = v[2], v[2] >= 2 && v[2] <= 4, v[5]&1 != 0
	h.minIsWhite = v[3] == 0
	h.orientation = int(min(v[4], 9))
	h.deep = len(bits) > 0 && bits[0] == 16
	h.clear = len(extra) > 0 && (extra[0] == 1 || extra[0] == 2)
	return h, nil
}

// tiff reads the picture that OpenSlide shows at its finest level. Of a file of one
// picture samples that must be kept are read as they are, and kinds that slides
// are not made of by x/image.
func (l limit) tiff(path string, f *os.File, o Options) (tiffPicture, error) {
	head, err := readTIFFHead(path)
	if errors.Is(err, tiff.ErrNotTIFF) {
		return tiffPicture{}, errors.New("want a PNG, JPEG or TIFF file")
	}
	if err != nil {
		return tiffPicture{}, err
	}
	s, err := wsi.Open(path, wsi.Options{})
	if err != nil && (head.pages > 1 || !errors.Is(err, tiff.ErrUnsupported) && !errors.Is(err, wsi.ErrDark)) {
		return tiffPicture{}, err // channels in pages, for example
	}
	out := tiffPicture{orientation: head.orientation}
	first := true // whether the picture is the first page
	if err == nil {
		defer s.Close()
		top := s.Levels()[0]
		first = top.W == head.w && top.H == head.h
		head.w, head.h = top.W, top.H
		out.warnings = s.Warnings()
	}
	if !first || out.orientation < 1 || out.orientation > 8 {
		out.orientation = 1
	}
	size := 4
	if head.deep {
		size = 8
	}
	if e := l.check(head.w, head.h, size); e != nil {
		return out, e
	}
	if first && (err != nil || o.Raw || head.deep || head.clear) {
		img, e := exactTIFF(path, f, head)
		if e == nil && head.minIsWhite && errors.Is(err, wsi.ErrDark) && !o.Raw {
			return out, errors.New("samples of 16 bits that reach no further than 12 bits do, of which 0 is white: it would be white; save it with 0 as black, or in 8 bits")
		}
		if e == nil {
			out.img = img
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("%w (%w)", err, e)
		}
		if head.deep && (o.Raw || o.Window != nil) {
			return out, fmt.Errorf("samples of 16 bits: %w: save it as PNG or plain TIFF", e)
		}
	}
	pix := image.NewRGBA(image.Rect(0, 0, head.w, head.h))
	if err := s.ReadRegion(context.Background(), 0, image.Point{}, pix); err != nil {
		return out, err
	}
	out.img = pix
	return out, nil
}

// exactTIFF reads the first page with its samples as they are.
func exactTIFF(path string, f *os.File, head tiffHead) (image.Image, error) {
	switch {
	case head.compression == 2, head.compression == 3 && head.twoWay:
		return nil, errors.New("CCITT runs, Huffman-coded or of two dimensions: save it with Group 4, LZW or no compression")
	case !head.fax:
		img, err := plainTIFF(path)
		if err == nil || !errors.Is(err, tiff.ErrUnsupported) {
			return img, err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	img, err := xtiff.Decode(f)
	if err != nil {
		return nil, err
	}
	// A white run of a fax is bit 0, which BlackIsZero makes black. x/image
	// takes it for white.
	if m, ok := img.(*image.Gray); ok && head.fax && !head.minIsWhite {
		for i := range m.Pix {
			m.Pix[i] = ^m.Pix[i]
		}
	}
	return img, nil
}

// plainTIFF reads what slides are made of.
func plainTIFF(path string) (image.Image, error) {
	f, err := tiff.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	im, err := f.Dirs()[0].Image()
	if err != nil {
		return nil, err
	}
	return im.Exact()
}
