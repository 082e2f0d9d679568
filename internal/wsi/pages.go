package wsi

import (
	"fmt"
	"image"
	"sort"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// Bits of the field NewSubfileType.
const (
	subReduced = 1
	subMask    = 4
)

// isMask reports whether a page says that it is a transparency mask.
func isMask(d *tiff.Dir) bool {
	sub, err := d.Uint(tiff.NewSubfileType, 0)
	photo, err2 := d.Uint(tiff.Photometric, 1)
	return err == nil && sub&subMask != 0 || err2 == nil && photo == 4
}

// page is a directory whose picture can be read.
type page struct {
	dir *tiff.Dir
	im  *tiff.Image
}

// pagesOf returns the directories that hold a picture of their own; masks and
// what cannot be read are left out. If none is left the error is that of the
// first.
func pagesOf(dirs []*tiff.Dir) ([]page, error) {
	var out []page
	var first error
	for _, d := range dirs {
		if isMask(d) {
			continue
		}
		im, err := d.Image()
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		out = append(out, page{d, im})
	}
	if len(out) == 0 && first == nil {
		first = fmt.Errorf("no picture in the file: %w", ErrFormat)
	}
	if len(out) > 0 {
		first = nil
	}
	return out, first
}

// colourShare is how much smaller a page in colour may be than the largest
// gray one to be the slide: gray pages beside it are masks of it then, and it
// is a thumbnail of them otherwise.
const colourShare = 4

// larger reports whether p is rather the slide than q: of pages in colour, or
// of gray ones, that of more pixels; of both kinds that in colour, unless it is
// much smaller.
func (p page) larger(q page) bool {
	a, b := int64(p.im.W)*int64(p.im.H), int64(q.im.W)*int64(q.im.H)
	switch pg, qg := p.im.Gray(), q.im.Gray(); {
	case !pg && qg:
		return a*colourShare >= b
	case pg && !qg:
		return a > b*colourShare
	}
	return a > b
}

// largest returns the page that is the slide, of equal ones the first.
func largest(ps []page) page {
	best := ps[0]
	for _, p := range ps[1:] {
		if p.larger(best) {
			best = p
		}
	}
	return best
}

// levelsOf returns the pages that are reduced copies of top: smaller, of its
// shape and of as many samples; largest first, one of each size.
func levelsOf(top page, others []page) []page {
	var out []page
	for _, p := range others {
		if p.dir == top.dir || p.im.W >= top.im.W || p.im.H >= top.im.H || !sameShape(top.im.W, top.im.H, p.im.W, p.im.H) || !top.im.SameSamples(p.im) {
			continue
		}
		out = append(out, p)
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].im.W > out[j].im.W })
	kept := out[:0]
	for i, p := range out {
		if i == 0 || p.im.W != kept[len(kept)-1].im.W {
			kept = append(kept, p)
		}
	}
	return kept
}

// planes is a picture in three gray pages of one size: red, green and blue.
type planes [3]*tiff.Image

func (p planes) grid() (cols, rows, tileW, tileH int) {
	return p[0].Cols, p[0].Rows, p[0].SegW, p[0].SegH
}

func (p planes) tile(col, row int) (*tiff.Segment, error) {
	out, err := p[0].Segment(col, row)
	if err != nil {
		return nil, err
	}
	for c := 1; c < 3; c++ {
		s, err := p[c].Segment(col, row)
		if err != nil {
			return nil, err
		}
		for i := c; i < len(out.Pix); i += 4 {
			out.Pix[i] = s.Pix[i]
		}
	}
	return out, nil
}

// newPlanes returns the raster of three gray pages.
func newPlanes(ps []page) (planes, error) {
	var out planes
	for c := range out {
		out[c] = ps[c].im
		a, b := ps[0].im, ps[c].im
		if a.W != b.W || a.H != b.H || a.SegW != b.SegW || a.SegH != b.SegH || !b.Gray() {
			return out, refuse("channels of %d x %d and %d x %d, or not gray", a.W, a.H, b.W, b.H)
		}
	}
	return out, nil
}

// addPlanes adds three gray pages as the only level.
func (s *Slide) addPlanes(ps []page) error {
	r, err := newPlanes(ps)
	if err != nil {
		return err
	}
	s.addLevel(r, r[0].W, r[0].H)
	return nil
}

// associate names a page of the file.
func (s *Slide) associate(name string, d *tiff.Dir) {
	s.addAssociated(name, func() (image.Image, error) { return wholeImage(d) })
}

// imageJ is what ImageJ writes about a stack of pages.
type imageJ struct {
	channels, slices, frames int
	composite                bool
	unit                     string
}

// imageJUnits turns ImageJ's units of length into micrometres.
var imageJUnits = map[string]float64{
	"um": 1, "µm": 1, "μm": 1, `\u00b5m`: 1, "micron": 1, "microns": 1, "micrometer": 1, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "inch": 25400,
}

// parseImageJ reads an ImageJ description; ok is false for any other.
func parseImageJ(desc string) (j imageJ, ok bool) {
	if !strings.HasPrefix(desc, "ImageJ=") {
		return j, false
	}
	j = imageJ{channels: 1, slices: 1, frames: 1}
	for _, line := range strings.Split(desc, "\n") {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		n := int(min(decimal(v), 1<<30))
		switch k {
		case "channels":
			j.channels = max(n, 1)
		case "slices":
			j.slices = max(n, 1)
		case "frames":
			j.frames = max(n, 1)
		case "mode":
			j.composite = v == "composite"
		case "unit":
			j.unit = strings.ToLower(plainText(v))
		}
	}
	return j, true
}
