package dicom

import (
	"fmt"
	"sort"
	"sync"

	"github.com/slidesam/sam/internal/tiff"
)

// Picture is a level or an associated picture: one instance, or the parts
// of a concatenation. It is cut into tiles of TileW x TileH that reach over
// the right and lower edge.
type Picture struct {
	Name         string // of an associated picture
	Err          error  // why an associated picture cannot be read
	W, H         int
	TileW, TileH int
	Cols, Rows   int

	parts  []*instance
	sparse map[[2]int]ref // column and row; nil if tiled fully

	halvesOnce sync.Once
	halves     int // see Reductions
}

// ref is a frame of a part.
type ref struct{ part, frame int32 }

// newPicture joins the parts.
func newPicture(parts []*instance) (*Picture, error) {
	sort.SliceStable(parts, func(i, j int) bool { return parts[i].partFrom < parts[j].partFrom })
	a := parts[0]
	if a.parts > 0 && int64(len(parts)) != a.parts {
		return nil, fmt.Errorf("%d of %d parts of the concatenation are there: %w", len(parts), a.parts, tiff.ErrCorrupt)
	}
	total := int64(0)
	for _, in := range parts {
		if err := in.checkPixels(); err != nil {
			return nil, err
		}
		if in.rows != a.rows || in.columns != a.columns || in.matrixW != a.matrixW || in.matrixH != a.matrixH || in.samples != a.samples || in.kind != a.kind {
			return nil, fmt.Errorf("the parts of the concatenation differ (%s, %s): %w", a.name, in.name, tiff.ErrCorrupt)
		}
		if len(parts) > 1 && in.partFrom != total {
			return nil, fmt.Errorf("part %d of the concatenation begins at frame %d, want %d: %w", in.part, in.partFrom, total, tiff.ErrCorrupt)
		}
		if err := in.indexFrames(); err != nil {
			return nil, fmt.Errorf("%s: %w", in.name, err)
		}
		total += in.frames
	}
	p := &Picture{parts: parts, W: int(a.matrixW), H: int(a.matrixH), TileW: int(a.columns), TileH: int(a.rows)}
	if a.matrixW == 0 && a.matrixH == 0 && total == 1 { // labels of some writers
		p.W, p.H = p.TileW, p.TileH
	}
	if p.W <= 0 || p.H <= 0 || p.W > maxSide || p.H > maxSide {
		return nil, fmt.Errorf("total pixel matrix of %d x %d: %w", p.W, p.H, tiff.ErrCorrupt)
	}
	p.Cols, p.Rows = (p.W-1)/p.TileW+1, (p.H-1)/p.TileH+1
	full := int64(p.Cols) * int64(p.Rows)
	switch {
	case a.organization == "TILED_FULL" || a.organization == "" && !placed(a):
		if total < full {
			return nil, fmt.Errorf("%d frames for %d x %d tiles: %w", total, p.Cols, p.Rows, tiff.ErrCorrupt)
		}
		return p, nil
	case a.organization == "TILED_SPARSE" || a.organization == "":
		return p, p.indexPlaces()
	}
	return nil, fmt.Errorf("dimension organization %q: %w", a.organization, tiff.ErrUnsupported)
}

// placed reports whether the frames have places of their own.
func placed(in *instance) bool { return len(in.place) > 0 && in.place[0].x >= 0 }

// indexPlaces maps the tiles of the first focal plane and optical path.
func (p *Picture) indexPlaces() error {
	p.sparse = map[[2]int]ref{}
	var first *place
	for k, in := range p.parts {
		if int64(len(in.place)) != in.frames {
			return fmt.Errorf("%s: places of %d frames of %d: %w", in.name, len(in.place), in.frames, tiff.ErrCorrupt)
		}
		for i := range in.place {
			at := &in.place[i]
			if first == nil {
				first = at
			}
			if at.z != first.z || at.path != first.path {
				continue
			}
			x, y := int(at.x), int(at.y)
			if x < 0 || y < 0 || x >= p.W || y >= p.H {
				return fmt.Errorf("%s: frame %d at (%d, %d) of %d x %d: %w", in.name, i, x, y, p.W, p.H, tiff.ErrCorrupt)
			}
			if x%p.TileW != 0 || y%p.TileH != 0 {
				return fmt.Errorf("%s: frame %d at (%d, %d) lies between the tiles of %d x %d: %w", in.name, i, x, y, p.TileW, p.TileH, tiff.ErrUnsupported)
			}
			key := [2]int{x / p.TileW, y / p.TileH}
			if _, dup := p.sparse[key]; !dup {
				p.sparse[key] = ref{int32(k), int32(i)}
			}
		}
		in.place = nil
	}
	return nil
}

// Tile decodes a tile to RGBA. The error wraps tiff.ErrMissing if a sparse
// picture leaves it out.
func (p *Picture) Tile(col, row int) (*tiff.Segment, error) {
	return p.read(col, row, func(in *instance, b []byte) (*tiff.Segment, error) {
		return in.decode(b, min(p.TileW, p.W-col*p.TileW), min(p.TileH, p.H-row*p.TileH))
	})
}

// Reductions returns how often tiles can be halved while they are decoded, as
// [tiff.Image.Reductions] does.
func (p *Picture) Reductions() int {
	p.halvesOnce.Do(func() {
		if p.Err != nil || codecOf(p.parts[0].syntax) != jpeg2000 {
			return
		}
		if b, err := p.parts[0].frame(0); err == nil {
			p.halves = tiff.Halvings(b, p.TileW, p.TileH)
		}
	})
	return p.halves
}

// Reduced is Tile at 1/2^n of the size, n up to Reductions; see
// [tiff.Image.Reduced].
func (p *Picture) Reduced(col, row, n int) (*tiff.Segment, error) {
	if n < 0 || n > p.Reductions() {
		return nil, fmt.Errorf("dicom: read tile (%d, %d) at 1/2^%d, over 1/2^%d", col, row, n, p.Reductions())
	}
	return p.read(col, row, func(in *instance, b []byte) (*tiff.Segment, error) {
		pix, err := in.decodeJPEG2000(b, n)
		return &tiff.Segment{W: p.TileW >> n, H: p.TileH >> n, Pix: pix}, err
	})
}

// read finds the frame of a tile and decodes it.
func (p *Picture) read(col, row int, decode func(*instance, []byte) (*tiff.Segment, error)) (*tiff.Segment, error) {
	if p.Err != nil {
		return nil, fmt.Errorf("dicom: read tile: %w", p.Err)
	}
	if col < 0 || row < 0 || col >= p.Cols || row >= p.Rows {
		return nil, fmt.Errorf("dicom: read tile (%d, %d): outside %d x %d", col, row, p.Cols, p.Rows)
	}
	part, frame := 0, int64(row)*int64(p.Cols)+int64(col)
	if p.sparse != nil {
		r, ok := p.sparse[[2]int{col, row}]
		if !ok {
			return nil, fmt.Errorf("dicom: read tile (%d, %d): %w", col, row, tiff.ErrMissing)
		}
		part, frame = int(r.part), int64(r.frame)
	} else {
		for frame >= p.parts[part].frames {
			frame -= p.parts[part].frames
			part++
		}
	}
	in := p.parts[part]
	b, err := in.frame(frame)
	var seg *tiff.Segment
	if err == nil {
		seg, err = decode(in, b)
	}
	if err != nil {
		return nil, fmt.Errorf("dicom: read tile (%d, %d): %w", col, row, err)
	}
	return seg, nil
}
