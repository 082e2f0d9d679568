package sam

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"os"
)

// labelTile is the side of the label pyramid's tiles.
const labelTile = 256

// labelWriter writes objects as a pyramid of labels: a tiled BigTIFF of
// 32-bit numbers, 0 for none, each level half the one before by taking every
// second pixel, Deflate. Where objects overlap the later one is on top.
//
// Tiles go out as soon as no object can reach them, so that about two rows of
// tiles of each level are held. Tiles without an object share one copy.
type labelWriter struct {
	f      *os.File
	w      *bufio.Writer
	at     uint64
	levels []*labelLevel
	masks  []labelled // that reach rows not yet written
	mpp    float64
	err    error
}

type labelled struct {
	id   uint32
	mask *Mask
}

type labelLevel struct {
	w, h, cols, rows int
	next             int // row of tiles to write
	offs, sizes      []uint64
	parts            map[int][]uint32 // tiles of row next, by column
	zero             [2]uint64
}

func newLabelWriter(f *os.File, p *scalePlan) *labelWriter {
	l := &labelWriter{f: f, w: bufio.NewWriterSize(f, 1<<20), mpp: p.MPP}
	for width, height := p.W, p.H; ; width, height = (width+1)/2, (height+1)/2 {
		v := &labelLevel{w: width, h: height, cols: (width-1)/labelTile + 1, rows: (height-1)/labelTile + 1, parts: map[int][]uint32{}}
		v.offs, v.sizes = make([]uint64, v.cols*v.rows), make([]uint64, v.cols*v.rows)
		l.levels = append(l.levels, v)
		if v.cols == 1 && v.rows == 1 {
			break
		}
	}
	// close puts the header here.
	l.write(make([]byte, 16))
	return l
}

func (l *labelWriter) write(b []byte) {
	if l.err != nil {
		return
	}
	n, err := l.w.Write(b)
	l.at += uint64(n)
	l.err = err
}

// add takes the next object.
func (l *labelWriter) add(id uint32, m *Mask) error {
	l.masks = append(l.masks, labelled{id, m})
	return l.err
}

// settle writes the tiles that end above row y, which no further object
// reaches.
func (l *labelWriter) settle(y int) error {
	z := l.levels[0]
	for z.next < z.rows && min((z.next+1)*labelTile, z.h) <= y {
		l.paintRow()
		l.writeRow(0)
	}
	// Masks that end above are done.
	keep := l.masks[:0]
	for _, m := range l.masks {
		if m.mask.Bounds().Max.Y > z.next*labelTile {
			keep = append(keep, m)
		}
	}
	clear(l.masks[len(keep):])
	l.masks = keep
	return l.err
}

// paintRow fills the tiles of level 0's next row.
func (l *labelWriter) paintRow() {
	z := l.levels[0]
	y0 := z.next * labelTile
	y1 := min(y0+labelTile, z.h)
	for _, m := range l.masks {
		for r := range m.mask.Runs() {
			if r.Y < y0 || r.Y >= y1 {
				continue
			}
			for x := r.X0; x < r.X1; x++ {
				t := z.parts[x/labelTile]
				if t == nil {
					t = make([]uint32, labelTile*labelTile)
					z.parts[x/labelTile] = t
				}
				t[(r.Y-y0)*labelTile+x%labelTile] = m.id
			}
		}
	}
}

// writeRow writes the next row of a level and hands its halves to the level
// below, which is written when it has two of them.
func (l *labelWriter) writeRow(k int) {
	v := l.levels[k]
	for c := range v.cols {
		i := v.next*v.cols + c
		t := v.parts[c]
		if t == nil {
			if v.zero[1] == 0 {
				v.zero = l.tile(make([]uint32, labelTile*labelTile))
			}
			v.offs[i], v.sizes[i] = v.zero[0], v.zero[1]
			continue
		}
		at := l.tile(t)
		v.offs[i], v.sizes[i] = at[0], at[1]
		if k+1 < len(l.levels) {
			l.levels[k+1].take(t, c, v.next)
		}
	}
	v.parts = map[int][]uint32{}
	v.next++
	if k+1 < len(l.levels) && (v.next%2 == 0 || v.next == v.rows) {
		l.writeRow(k + 1)
	}
}

// take puts every second pixel of a tile of the level above into place.
func (v *labelLevel) take(t []uint32, col, row int) {
	d := v.parts[col/2]
	if d == nil {
		d = make([]uint32, labelTile*labelTile)
		v.parts[col/2] = d
	}
	const half = labelTile / 2
	ox, oy := col%2*half, row%2*half
	for y := range half {
		for x := range half {
			d[(oy+y)*labelTile+ox+x] = t[2*y*labelTile+2*x]
		}
	}
}

// tile writes one tile and returns its place and length.
func (l *labelWriter) tile(t []uint32) [2]uint64 {
	raw := make([]byte, 0, 4*len(t))
	for _, v := range t {
		raw = binary.LittleEndian.AppendUint32(raw, v)
	}
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write(raw); err != nil && l.err == nil {
		l.err = err
	}
	if err := z.Close(); err != nil && l.err == nil {
		l.err = err
	}
	at := l.at
	l.write(b.Bytes())
	return [2]uint64{at, uint64(b.Len())}
}

// close writes what is left, the directories, and the header at the beginning
// of the file, and brings it to the disk.
func (l *labelWriter) close() error {
	if err := l.settle(l.levels[0].h); err != nil {
		return err
	}
	le := binary.LittleEndian
	header := le.AppendUint64([]byte{'I', 'I', 43, 0, 8, 0, 0, 0}, l.at)
	for k, v := range l.levels {
		l.directory(v, k > 0, k == len(l.levels)-1)
	}
	if l.err == nil {
		l.err = l.w.Flush()
	}
	if l.err == nil {
		_, l.err = l.f.WriteAt(header, 0)
	}
	if l.err == nil {
		l.err = l.f.Sync()
	}
	if l.err != nil {
		return fmt.Errorf("write labels: %w", l.err)
	}
	return l.f.Close()
}

// directory writes the values too long for a field, then the directory, then
// where the next one is.
func (l *labelWriter) directory(v *labelLevel, reduced, last bool) {
	le := binary.LittleEndian
	type field struct {
		tag, typ uint16
		vals     []uint64
	}
	res := []uint64{}
	unit := uint64(1)
	if l.mpp > 0 {
		// Pixels per centimetre as a fraction over 1000.
		f := float64(v.w) / float64(l.levels[0].w)
		res, unit = []uint64{uint64(1e4/l.mpp*f*1000) | 1000<<32}, 3
	}
	sub := uint64(0)
	if reduced {
		sub = 1
	}
	fields := []field{
		{254, 4, []uint64{sub}}, {256, 4, []uint64{uint64(v.w)}}, {257, 4, []uint64{uint64(v.h)}}, {258, 3, []uint64{32}}, {259, 3, []uint64{8}},
		{262, 3, []uint64{1}}, {277, 3, []uint64{1}}, {282, 5, res}, {283, 5, res}, {296, 3, []uint64{unit}},
		{322, 3, []uint64{labelTile}}, {323, 3, []uint64{labelTile}}, {324, 16, v.offs}, {325, 16, v.sizes}, {339, 3, []uint64{1}},
	}
	size := map[uint16]int{3: 2, 4: 4, 5: 8, 16: 8}
	long, count := 0, 0
	for _, f := range fields {
		if n := size[f.typ] * len(f.vals); n > 8 {
			long += n
		}
		if len(f.vals) > 0 {
			count++
		}
	}
	// The directory comes first, so that the header and the directory before
	// can name it; the long values follow it.
	place := l.at + 8 + uint64(20*count) + 8
	dir := le.AppendUint64(nil, uint64(count))
	var values []byte
	for _, f := range fields {
		if len(f.vals) == 0 {
			continue
		}
		dir = le.AppendUint16(le.AppendUint16(dir, f.tag), f.typ)
		dir = le.AppendUint64(dir, uint64(len(f.vals)))
		var b []byte
		for _, x := range f.vals {
			switch size[f.typ] {
			case 2:
				b = le.AppendUint16(b, uint16(x))
			case 4:
				b = le.AppendUint32(b, uint32(x))
			default:
				b = le.AppendUint64(b, x)
			}
		}
		if len(b) > 8 {
			dir = le.AppendUint64(dir, place+uint64(len(values)))
			values = append(values, b...)
			continue
		}
		dir = append(dir, append(b, make([]byte, 8-len(b))...)...)
	}
	next := place + uint64(long)
	if last {
		next = 0
	}
	l.write(le.AppendUint64(dir, next))
	l.write(values)
}
