package mirax

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/slidesam/sam/internal/tiff"
)

// index is Index.dat, little-endian words of 32 bits.
type index struct {
	b     []byte
	files int // data files
}

// record is a piece of a data file.
type record struct{ file, off, size int32 }

func (x index) int(at int) (int, error) {
	if at < 0 || at > len(x.b)-4 {
		return 0, fmt.Errorf("index: word at %d of %d bytes: %w", at, len(x.b), tiff.ErrCorrupt)
	}
	return int(int32(binary.LittleEndian.Uint32(x.b[at:]))), nil
}

// page follows the pointer at `at` to the first page of records.
func (x index) page(at int) (int, error) {
	p, err := x.int(at)
	if err != nil {
		return 0, err
	}
	zero, err := x.int(p)
	if err != nil {
		return 0, err
	}
	if zero != 0 {
		return 0, fmt.Errorf("index: %d before the pages, want 0: %w", zero, tiff.ErrCorrupt)
	}
	return x.int(p + 4)
}

// piece reads offset, size and file of a record.
func (x index) piece(at int) (record, error) {
	if at < 0 || at > len(x.b)-12 {
		return record{}, fmt.Errorf("index: record at %d of %d bytes: %w", at, len(x.b), tiff.ErrCorrupt)
	}
	w := func(i int) int32 { return int32(binary.LittleEndian.Uint32(x.b[at+4*i:])) }
	r := record{off: w(0), size: w(1), file: w(2)}
	if r.off < 0 || r.size < 0 || r.file < 0 || int(r.file) >= x.files {
		return r, fmt.Errorf("index: record of %d bytes at %d of file %d: %w", r.size, r.off, r.file, tiff.ErrCorrupt)
	}
	return r, nil
}

// record returns record n of those outside of the pyramid, whose table is
// pointed to at root.
func (x index) record(root, n int) (record, error) {
	p, err := x.int(root)
	if err != nil {
		return record{}, err
	}
	if p, err = x.page(p + 4*n); err != nil {
		return record{}, err
	}
	count, err := x.int(p)
	if err != nil {
		return record{}, err
	}
	if count < 1 {
		return record{}, fmt.Errorf("index: record %d is empty: %w", n, tiff.ErrCorrupt)
	}
	return x.piece(p + 16)
}

// part is a piece of an image: where it lies in the image and, in pixels of
// its level, in the scanner's frame.
type part struct {
	image      int32 // of the level's records
	srcX, srcY int32
	w, h       int32
	x, y       float32
	col, row   int32 // among the parts of its level
}

// mosaic is how the photos make up the levels.
type mosaic struct {
	across, down int // images of the camera
	divisions    int // images per side of a photo
	sections     []section
	positions    []int32 // x, y per photo; nil: by the nominal overlap
	records      [][]record
	parts        [][]part
}

// readPositions reads the table of the photos' places: a flag and x and y
// of 32 bits each.
func (m *mosaic) readPositions(b []byte, packed bool) error {
	n := (m.across / m.divisions) * (m.down / m.divisions)
	if packed {
		if n*9/1100 > len(b) {
			return fmt.Errorf("%d bytes cannot hold %d positions: %w", len(b), n, tiff.ErrCorrupt)
		}
		z, err := zlib.NewReader(bytes.NewReader(b))
		if err != nil {
			return fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
		}
		defer z.Close()
		if b, err = io.ReadAll(io.LimitReader(z, int64(9*n)+1)); err != nil {
			return fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
		}
	}
	if len(b) != 9*n {
		return fmt.Errorf("%d bytes for %d positions: %w", len(b), n, tiff.ErrCorrupt)
	}
	m.positions = make([]int32, 2*n)
	for i := range n {
		if b[9*i]&0xfe != 0 {
			return fmt.Errorf("flag %d of position %d: %w", b[9*i], i, tiff.ErrCorrupt)
		}
		for k := range 2 {
			v := int64(int32(binary.LittleEndian.Uint32(b[9*i+1+4*k:]))) * int64(m.sections[0].concat)
			if v < -1<<30 || v > 1<<30 {
				return fmt.Errorf("position %d at %d: %w", i, v, tiff.ErrCorrupt)
			}
			m.positions[2*i+k] = int32(v)
		}
	}
	return nil
}

// size is that of the scanner's frame in pixels of level 0.
func (m *mosaic) size() (w, h float64) {
	c := m.sections[0]
	w = float64(m.across)*float64(c.w) - float64((m.across-1)/m.divisions)*math.Ceil(c.overlapX)
	h = float64(m.down)*float64(c.h) - float64((m.down-1)/m.divisions)*math.Ceil(c.overlapY)
	return max(w/float64(c.concat), 1), max(h/float64(c.concat), 1)
}

// photo returns where a photo lies on level 0.
func (m *mosaic) photo(col, row int) (x, y float64) {
	if m.positions != nil {
		i := row*(m.across/m.divisions) + col
		if 2*i+1 >= len(m.positions) {
			return 0, 0
		}
		return float64(m.positions[2*i]), float64(m.positions[2*i+1])
	}
	c := m.sections[0]
	return float64(int(float64(col) * (float64(c.w*m.divisions) - c.overlapX))), float64(int(float64(row) * (float64(c.h*m.divisions) - c.overlapY)))
}

// place reads the lists of images of all levels, pointed to from root on,
// and cuts the images into the parts that one photo each gives.
func (m *mosaic) place(x index, root int) error {
	c := m.sections[0]
	whole := m.positions == nil && c.overlapX == 0 && c.overlapY == 0
	active := map[int]bool{} // photos with an image on level 0
	left := len(x.b)/16 + 1  // records of the index
	for i, sec := range m.sections {
		// Images of several photos are cut apart; the photos of a level that
		// needs no cutting are only looked at.
		perImage := max(1, sec.concat/m.divisions)
		cut, look := perImage, 1
		if whole {
			cut, look = 1, perImage
		}
		var recs []record
		var parts []part
		p, err := x.page(root + 4*i)
		if err != nil {
			return err
		}
		for pages := 0; ; pages++ {
			n, err := x.int(p)
			if err != nil {
				return err
			}
			next, err := x.int(p + 4)
			if err != nil {
				return err
			}
			if left -= max(n, 1); n < 0 || left < 0 {
				return fmt.Errorf("level %d: the index lists more records than it has: %w", i, tiff.ErrCorrupt)
			}
			for k := range n {
				at := p + 8 + 16*k
				image, err := x.int(at)
				if err != nil {
					return err
				}
				r, err := x.piece(at + 4)
				if err != nil {
					return err
				}
				col, row := image%m.across, image/m.across
				if image < 0 || row >= m.down || col%sec.concat != 0 || row%sec.concat != 0 {
					return fmt.Errorf("level %d: image %d of %d x %d: %w", i, image, m.across, m.down, tiff.ErrCorrupt)
				}
				recs = append(recs, r)
				if parts, err = m.cut(parts, i, len(recs)-1, col, row, cut, look, active); err != nil {
					return err
				}
				if len(parts) > len(x.b)+1024 {
					return fmt.Errorf("level %d: more parts of images than the index has bytes: %w", i, tiff.ErrCorrupt)
				}
			}
			if next == 0 {
				break
			}
			p += 8 + 16*n // pages lie one behind the other
		}
		m.records, m.parts = append(m.records, recs), append(m.parts, parts)
	}
	return nil
}

// cut appends the parts of an image at (col, row) of the camera's images.
func (m *mosaic) cut(parts []part, level, image, col, row, cut, look int, active map[int]bool) ([]part, error) {
	sec, c := m.sections[level], m.sections[0]
	tw, th := float64(sec.w)/float64(cut), float64(sec.h)/float64(cut)
	for yi := 0; yi < cut && row+yi*m.divisions < m.down; yi++ {
		for xi := 0; xi < cut && col+xi*m.divisions < m.across; xi++ {
			xx, yy := col+xi*m.divisions, row+yi*m.divisions
			px, py := xx/m.divisions, yy/m.divisions
			x, y := m.photo(px, py)
			if level == 0 {
				// Photos that were not taken lie at (0, 0).
				if m.positions != nil && x == 0 && y == 0 && (px != 0 || py != 0) {
					continue
				}
				active[py*m.across+px] = true
			} else if !m.taken(px, py, look, active) {
				continue
			}
			x += float64(c.w * (xx - px*m.divisions))
			y += float64(c.h * (yy - py*m.divisions))
			p := part{image: int32(image), srcX: round(tw * float64(xi)), srcY: round(th * float64(yi)),
				x: float32(x / float64(sec.concat)), y: float32(y / float64(sec.concat)),
				col: int32(col/min(sec.concat, m.divisions) + xi), row: int32(row/min(sec.concat, m.divisions) + yi)}
			p.w, p.h = round(tw*float64(xi+1))-p.srcX, round(th*float64(yi+1))-p.srcY
			if p.w > 0 && p.h > 0 {
				parts = append(parts, p)
			}
		}
	}
	return parts, nil
}

// taken reports whether one of look x look photos has an image on level 0.
func (m *mosaic) taken(px, py, look int, active map[int]bool) bool {
	for y := py; y < py+look && y*m.divisions < m.down; y++ {
		for x := px; x < px+look && x*m.divisions < m.across; x++ {
			if active[y*m.across+x] {
				return true
			}
		}
	}
	return false
}

func round(v float64) int32 { return int32(math.Floor(v + 0.5)) }
