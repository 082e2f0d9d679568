package ndpi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/slidesam/sam/internal/jpegtile"
	"github.com/slidesam/sam/internal/tiff"
)

const (
	maxSide    = 1 << 30
	maxHeader  = 1 << 20 // bytes before the data of a JPEG
	maxWhole   = 1 << 26 // pixels of a JPEG without restart markers
	maxPart    = 1 << 22 // bytes of one restart interval
	tileHeight = 256     // rows that intervals are stacked up to
)

// Picture is one JPEG of the file. A tile is a stack of restart intervals,
// or the whole picture if it has no restart markers; tiles reach over the
// right and lower edge.
type Picture struct {
	W, H         int
	TileW, TileH int
	Cols, Rows   int

	f          file
	off, end   int64 // of the JPEG in the file
	data       int64 // where its first interval begins
	partH      int   // rows of an interval, 0 without restart markers
	parts      int   // rows of intervals
	color      jpegtile.Color
	tables     *jpegtile.Tables
	frame      []byte // start and frame header of an interval
	scan       []byte // scan header
	low, high  []uint32
	scanOnce   sync.Once
	scanned    []int64
	scanFailed error
}

// picture reads the JPEG header of a directory.
func (f file) picture(d directory) (*Picture, error) {
	var v [5]uint64
	for i, t := range []uint16{tWidth, tHeight, tStripOffset, tStripSize, tCompression} {
		var err error
		if v[i], err = f.uint(d, t); err != nil {
			return nil, err
		}
	}
	if n := d[tStripOffset].count; n != 1 {
		return nil, fmt.Errorf("%d strips, want one JPEG: %w", n, tiff.ErrUnsupported)
	}
	if v[4] != 7 && v[4] != 0 {
		return nil, fmt.Errorf("compression %d (JPEG XR is 22610), want JPEG: %w", v[4], tiff.ErrUnsupported)
	}
	if v[0] == 0 || v[1] == 0 || v[0] > maxSide || v[1] > maxSide {
		return nil, fmt.Errorf("size %d x %d: %w", v[0], v[1], tiff.ErrCorrupt)
	}
	if v[2] >= uint64(f.size) || v[3] > uint64(f.size)-v[2] {
		return nil, fmt.Errorf("JPEG of %d bytes at %d beyond the end (%d bytes): %w", v[3], v[2], f.size, tiff.ErrCorrupt)
	}
	p := &Picture{W: int(v[0]), H: int(v[1]), f: f, off: int64(v[2]), end: int64(v[2] + v[3])}
	if err := p.readHeader(); err != nil {
		return nil, err
	}
	if p.partH == 0 {
		return p, nil
	}
	n := int64(p.Cols) * int64(p.parts)
	if n > p.end-p.off {
		return nil, fmt.Errorf("%d restart intervals in %d bytes: %w", n, p.end-p.off, tiff.ErrCorrupt)
	}
	var err error
	if p.low, err = f.longs(d, tStartsLow, n); err != nil {
		return nil, err
	}
	p.high, err = f.longs(d, tStartsHigh, n)
	return p, err
}

// readHeader reads the JPEG up to its data.
func (p *Picture) readHeader() error {
	tables := []byte{0xff, 0xd8}
	var sof []byte
	restart := 0
	ycc, told := true, false
	pos := p.off + 2
	head := make([]byte, 4)
	if err := p.f.read(head[:2], p.off); err != nil {
		return err
	}
	if head[0] != 0xff || head[1] != 0xd8 {
		return fmt.Errorf("no JPEG at %d: %w", p.off, tiff.ErrCorrupt)
	}
	for p.scan == nil {
		if pos-p.off > maxHeader {
			return fmt.Errorf("JPEG header of over %d bytes: %w", maxHeader, tiff.ErrUnsupported)
		}
		if err := p.f.read(head, pos); err != nil {
			return err
		}
		if head[0] != 0xff {
			return fmt.Errorf("no JPEG marker at %d: %w", pos, tiff.ErrCorrupt)
		}
		if head[1] == 0xff {
			pos++
			continue
		}
		seg := make([]byte, 2+int(binary.BigEndian.Uint16(head[2:])))
		if len(seg) < 4 {
			return fmt.Errorf("JPEG marker of %d bytes at %d: %w", len(seg), pos, tiff.ErrCorrupt)
		}
		if err := p.f.read(seg, pos); err != nil {
			return err
		}
		pos += int64(len(seg))
		switch m := seg[1]; {
		case m == 0xdb, m == 0xc4:
			tables = append(tables, seg...)
		case m == 0xdd && len(seg) >= 6:
			restart = int(binary.BigEndian.Uint16(seg[4:]))
		case m == 0xee && len(seg) >= 16 && string(seg[4:9]) == "Adobe":
			ycc, told = seg[15] != 0, true
		case m == 0xe0 && len(seg) >= 9 && string(seg[4:9]) == "JFIF\x00":
			told = true
		case m >= 0xc0 && m <= 0xcf && m != 0xc8 && m != 0xcc:
			sof = seg
		case m == 0xda:
			p.scan = seg
		}
	}
	p.data = pos
	if len(sof) < 10 {
		return fmt.Errorf("JPEG without a frame header: %w", tiff.ErrCorrupt)
	}
	if n := int(sof[9]); n != 3 || len(sof) != 10+3*n {
		return fmt.Errorf("JPEG of %d components (fluorescence?), want 3: %w", n, tiff.ErrUnsupported)
	}
	if !told && sof[10] == 'R' && sof[13] == 'G' && sof[16] == 'B' {
		ycc = false
	}
	p.color = jpegtile.RGB
	if ycc {
		p.color = jpegtile.YCbCr
	}
	var err error
	if p.tables, err = jpegtile.ParseTables(append(tables, 0xff, 0xd9)); err != nil {
		return fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
	}
	return p.grid(sof, restart)
}

// grid fits tiles to the restart intervals.
func (p *Picture) grid(sof []byte, restart int) error {
	jh, jw := int(binary.BigEndian.Uint16(sof[5:])), int(binary.BigEndian.Uint16(sof[7:]))
	fits := p.W <= 65500 && p.H <= 65500 // what the JPEG's own size can tell
	if restart == 0 || !p.single(sof) {
		if fits && jw > 0 && jh > 0 {
			p.W, p.H = jw, jh // the directory's size is wrong in some small levels
		}
		if int64(p.W)*int64(p.H) > maxWhole {
			return fmt.Errorf("JPEG of %d x %d without restart markers, over %d pixels: %w", p.W, p.H, maxWhole, tiff.ErrUnsupported)
		}
		p.TileW, p.TileH, p.Cols, p.Rows = p.W, p.H, 1, 1
		return nil
	}
	if fits && (jw != p.W || jh != p.H) {
		return fmt.Errorf("JPEG of %d x %d, want %d x %d: %w", jw, jh, p.W, p.H, tiff.ErrCorrupt)
	}
	hmax, vmax := 1, 1
	for i := range 3 {
		hmax, vmax = max(hmax, int(sof[11+3*i]>>4)), max(vmax, int(sof[11+3*i]&15))
	}
	across := (p.W-1)/(8*hmax) + 1
	if restart > across || across%restart != 0 {
		return fmt.Errorf("restart interval of %d in rows of %d units: %w", restart, across, tiff.ErrUnsupported)
	}
	p.TileW, p.partH = restart*8*hmax, 8*vmax
	p.Cols, p.parts = across/restart, (p.H-1)/p.partH+1
	k := min(max(tileHeight/p.partH, 1), p.parts)
	p.TileH, p.Rows = k*p.partH, (p.parts-1)/k+1
	p.frame = append([]byte{0xff, 0xd8}, sof...)
	binary.BigEndian.PutUint16(p.frame[7:], uint16(p.partH))
	if p.TileW > 65500 {
		return fmt.Errorf("restart intervals of %d pixels: %w", p.TileW, tiff.ErrUnsupported)
	}
	binary.BigEndian.PutUint16(p.frame[9:], uint16(p.TileW))
	return nil
}

// single reports whether all components come in one baseline scan, so that
// an interval stands alone.
func (p *Picture) single(sof []byte) bool {
	return sof[1] <= 0xc1 && len(p.scan) > 4 && p.scan[4] == sof[9]
}

// Tile decodes a tile to RGBA.
func (p *Picture) Tile(col, row int) (*tiff.Segment, error) {
	if col < 0 || row < 0 || col >= p.Cols || row >= p.Rows {
		return nil, fmt.Errorf("ndpi: read tile (%d, %d): outside %d x %d", col, row, p.Cols, p.Rows)
	}
	pix, err := p.tile(col, row)
	if err != nil {
		return nil, fmt.Errorf("ndpi: read tile (%d, %d): %w", col, row, err)
	}
	return &tiff.Segment{W: p.TileW, H: len(pix) / 4 / p.TileW, Pix: pix}, nil
}

func (p *Picture) tile(col, row int) ([]byte, error) {
	if p.partH == 0 {
		if n, limit := p.end-p.off, int64(p.W)*int64(p.H)*4+maxHeader; n > limit {
			return nil, fmt.Errorf("JPEG of %d bytes, over %d: %w", n, limit, tiff.ErrCorrupt)
		}
		b := make([]byte, p.end-p.off)
		if err := p.f.read(b, p.off); err != nil {
			return nil, err
		}
		return p.decode(b, p.W, p.H)
	}
	first := row * (p.TileH / p.partH)
	last := min(first+p.TileH/p.partH, p.parts)
	var out []byte
	for r := first; r < last; r++ {
		b, err := p.part(r*p.Cols + col)
		if err != nil {
			return nil, err
		}
		whole := bytes.Join([][]byte{p.frame, p.scan, b, {0xff, 0xd9}}, nil)
		pix, err := p.decode(whole, p.TileW, p.partH)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = make([]byte, 0, len(pix)*(last-first))
		}
		out = append(out, pix...)
	}
	return out, nil
}

func (p *Picture) decode(b []byte, w, h int) ([]byte, error) {
	pix, gw, gh, err := p.tables.Decode(b, p.color)
	switch {
	case errors.Is(err, jpegtile.ErrUnsupported):
		return nil, fmt.Errorf("%w: %w", err, tiff.ErrUnsupported)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
	case gw != w || gh != h:
		return nil, fmt.Errorf("JPEG of %d x %d, want %d x %d: %w", gw, gh, w, h, tiff.ErrCorrupt)
	}
	return pix, nil
}

// part reads the data of restart interval i. The file's list of their
// starts is believed where a marker lies before the start; otherwise the
// JPEG is searched once from its beginning.
func (p *Picture) part(i int) ([]byte, error) {
	if p.low != nil {
		from, to := p.start(i), p.end
		if i+1 < len(p.low) {
			to = p.start(i + 1)
		}
		if from >= p.data && to > from && to <= p.end && to-from <= maxPart {
			b := make([]byte, to-from+2)
			if err := p.f.read(b, from-2); err != nil {
				return nil, err
			}
			if (i == 0 || isRestart(b)) && (i+1 == len(p.low) || isRestart(b[len(b)-2:])) {
				return b[2 : len(b)-2], nil
			}
		}
	}
	p.scanOnce.Do(func() { p.scanned, p.scanFailed = p.search() })
	if p.scanFailed != nil {
		return nil, p.scanFailed
	}
	from, to := p.scanned[i], p.scanned[i+1]-2
	if to < from || to-from > maxPart {
		return nil, fmt.Errorf("restart interval of %d bytes: %w", to-from, tiff.ErrCorrupt)
	}
	b := make([]byte, to-from)
	return b, p.f.read(b, from)
}

func isRestart(b []byte) bool { return b[0] == 0xff && b[1]&0xf8 == 0xd0 }

func (p *Picture) start(i int) int64 {
	v := int64(p.low[i])
	if p.high != nil {
		v |= int64(p.high[i]&0x7fffffff) << 32
	}
	if v > p.end-p.off {
		return -1
	}
	return p.off + v
}

// search finds the starts of all intervals, and the end of the last, by
// their markers.
func (p *Picture) search() ([]int64, error) {
	n := p.Cols * p.parts
	starts := append(make([]int64, 0, n+1), p.data)
	buf := make([]byte, 1<<16)
	for pos := p.data; pos < p.end; {
		b := buf[:min(int64(len(buf)), p.end-pos)]
		if err := p.f.read(b, pos); err != nil {
			return nil, err
		}
		step := len(b)
		if step > 1 {
			step-- // a marker may lie across the border
		}
		for k := 0; k < step; {
			j := bytes.IndexByte(b[k:step], 0xff)
			if j < 0 || k+j+1 >= len(b) {
				break
			}
			k += j
			if m := b[k+1]; m&0xf8 == 0xd0 {
				if len(starts) == n {
					return append(starts, pos+int64(k)+2), nil
				}
				starts = append(starts, pos+int64(k)+2)
			} else if m == 0xd9 && len(starts) == n {
				return append(starts, pos+int64(k)+2), nil
			}
			k++
		}
		pos += int64(step)
	}
	if len(starts) == n { // the end marker is missing
		return append(starts, p.end+2), nil
	}
	return nil, fmt.Errorf("%d of %d restart intervals: %w", len(starts), n, tiff.ErrCorrupt)
}
