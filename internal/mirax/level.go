package mirax

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"slices"

	"golang.org/x/image/bmp"

	"github.com/slidesam/sam/internal/jpegtile"
	"github.com/slidesam/sam/internal/tiff"
)

// Side is the side of the tiles that levels are put together in.
const Side = 512

// Level is one resolution.
type Level struct {
	W, H       int
	Cols, Rows int

	slide   *Slide
	section section
	records []record
	parts   []part
	bins    map[int][]int32 // parts by tile, in the order they are drawn
}

// index sorts the parts into tiles; (left, top) of the scanner's frame is
// the level's corner.
func (l *Level) index(left, top float64) error {
	l.Cols, l.Rows = (l.W-1)/Side+1, (l.H-1)/Side+1
	l.bins = map[int][]int32{}
	// The lower and right ones come last, whatever the index's order.
	slices.SortStableFunc(l.parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.row, b.row), cmp.Compare(a.col, b.col))
	})
	budget := 64*len(l.parts) + 1024
	for i := range l.parts {
		p := &l.parts[i]
		p.x, p.y = float32(round(float64(p.x)-left)), float32(round(float64(p.y)-top))
		r := image.Rect(int(p.x), int(p.y), int(p.x)+int(p.w), int(p.y)+int(p.h)).Intersect(image.Rect(0, 0, l.W, l.H))
		if r.Empty() {
			continue
		}
		for y := r.Min.Y / Side; y <= (r.Max.Y-1)/Side; y++ {
			for x := r.Min.X / Side; x <= (r.Max.X-1)/Side; x++ {
				if budget--; budget < 0 {
					return fmt.Errorf("images of %d x %d overlap too often: %w", l.section.w, l.section.h, tiff.ErrUnsupported)
				}
				l.bins[y*l.Cols+x] = append(l.bins[y*l.Cols+x], int32(i))
			}
		}
	}
	return nil
}

// Load returns image i of a level through the caller's cache.
type Load func(i int, decode func() (*tiff.Segment, error)) (*tiff.Segment, error)

// Tile puts a tile of Side x Side pixels together. Where nothing was
// scanned it is transparent; the error wraps tiff.ErrMissing if that is so
// everywhere. load keeps images, which several tiles show; nil decodes them
// anew.
func (l *Level) Tile(col, row int, load Load) (*tiff.Segment, error) {
	if col < 0 || row < 0 || col >= l.Cols || row >= l.Rows {
		return nil, fmt.Errorf("mirax: read tile (%d, %d): outside %d x %d", col, row, l.Cols, l.Rows)
	}
	ids := l.bins[row*l.Cols+col]
	if len(ids) == 0 {
		return nil, fmt.Errorf("mirax: read tile (%d, %d): %w", col, row, tiff.ErrMissing)
	}
	if load == nil {
		load = func(_ int, decode func() (*tiff.Segment, error)) (*tiff.Segment, error) { return decode() }
	}
	r := image.Rect(col*Side, row*Side, (col+1)*Side, (row+1)*Side).Intersect(image.Rect(0, 0, l.W, l.H))
	dst := image.NewRGBA(r)
	for _, id := range ids {
		p := l.parts[id]
		img, err := load(int(p.image), func() (*tiff.Segment, error) { return l.decode(l.records[p.image]) })
		if err != nil {
			return nil, fmt.Errorf("mirax: read tile (%d, %d): image %d: %w", col, row, p.image, err)
		}
		src := &image.RGBA{Pix: img.Pix, Stride: 4 * img.W, Rect: image.Rect(0, 0, img.W, img.H)}
		at := image.Pt(int(p.x), int(p.y))
		to := image.Rectangle{Min: at, Max: at.Add(image.Pt(int(p.w), int(p.h)))}
		draw.Draw(dst, to, src, image.Pt(int(p.srcX), int(p.srcY)), draw.Src)
	}
	return &tiff.Segment{W: r.Dx(), H: r.Dy(), Pix: dst.Pix}, nil
}

// decode reads an image.
func (l *Level) decode(r record) (*tiff.Segment, error) {
	w, h := l.section.w, l.section.h
	if limit := 4*w*h + 1<<16; int(r.size) > limit {
		return nil, fmt.Errorf("%d bytes, over %d: %w", r.size, limit, tiff.ErrCorrupt)
	}
	b, err := l.slide.read(r)
	if err != nil {
		return nil, err
	}
	if l.section.format == "JPEG" {
		fw, fh, _, err := jpegtile.Header(b)
		if err == nil && (fw != w || fh != h) {
			err = fmt.Errorf("JPEG of %d x %d, want %d x %d", fw, fh, w, h)
		}
		var pix []byte
		if err == nil {
			pix, _, _, err = (*jpegtile.Tables)(nil).Decode(b, jpegtile.Auto)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
		}
		return &tiff.Segment{W: w, H: h, Pix: pix}, nil
	}
	config, decode := png.DecodeConfig, png.Decode
	if l.section.format == "BMP24" {
		config, decode = bmp.DecodeConfig, bmp.Decode
	}
	c, err := config(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
	}
	// A byte of PNG stands for at most 1032, Deflate's limit.
	if c.Width != w || c.Height != h || w*h/1100 > len(b) {
		return nil, fmt.Errorf("%s of %d x %d in %d bytes, want %d x %d: %w", l.section.format, c.Width, c.Height, len(b), w, h, tiff.ErrCorrupt)
	}
	pic, err := decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
	}
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(dst, dst.Rect, pic, pic.Bounds().Min, draw.Src)
	return &tiff.Segment{W: w, H: h, Pix: dst.Pix}, nil
}
