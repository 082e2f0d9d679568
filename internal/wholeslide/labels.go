package wholeslide

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/tiff"
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
	f      *atomicfile.File
	w      *tiff.Writer
	levels []*labelLevel
	masks  []labelled // that reach rows not yet written
	mpp    float64
	err    error
}

type labelled struct {
	id   uint32
	mask *mask.Mask
}

type labelLevel struct {
	w, h, cols, rows int
	next             int // row of tiles to write
	offs, sizes      []uint64
	parts            map[int][]uint32 // tiles of row next, by column
	zero             [2]uint64
}

func newLabelWriter(f *atomicfile.File, p *scalePlan) *labelWriter {
	l := &labelWriter{f: f, w: tiff.NewWriter(f), mpp: p.mpp}
	for width, height := p.size.W, p.size.H; ; width, height = (width+1)/2, (height+1)/2 {
		v := &labelLevel{w: width, h: height, cols: (width-1)/labelTile + 1, rows: (height-1)/labelTile + 1, parts: map[int][]uint32{}}
		v.offs, v.sizes = make([]uint64, v.cols*v.rows), make([]uint64, v.cols*v.rows)
		l.levels = append(l.levels, v)
		if v.cols == 1 && v.rows == 1 {
			return l
		}
	}
}

// add takes the next object.
func (l *labelWriter) add(id uint32, m *mask.Mask) error {
	l.masks = append(l.masks, labelled{id, m})
	return errors.Join(l.err, l.w.Err())
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
	return errors.Join(l.err, l.w.Err())
}

// paintRow fills the tiles of level 0's next row.
func (l *labelWriter) paintRow() {
	z := l.levels[0]
	y0 := z.next * labelTile
	y1 := min(y0+labelTile, z.h)
	for _, m := range l.masks {
		for r := range m.mask.RunsIn(y0, y1) {
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
	_, err := z.Write(raw)
	if err = errors.Join(err, z.Close()); err != nil && l.err == nil {
		l.err = err
	}
	at, n := l.w.Segment(b.Bytes())
	return [2]uint64{at, n}
}

// commit writes what is left, the directories and the header, and puts the
// file in its place.
func (l *labelWriter) commit() error {
	if err := l.settle(l.levels[0].h); err != nil {
		return err
	}
	var dirs [][]tiff.Field
	for k, v := range l.levels {
		dirs = append(dirs, l.fields(v, k > 0))
	}
	l.w.Directories(dirs...)
	if err := errors.Join(l.err, l.w.Err()); err != nil {
		return fmt.Errorf("write labels: %w", err)
	}
	if err := l.f.Overwrite(0, l.w.Header()); err != nil {
		return fmt.Errorf("write labels: %w", err)
	}
	return l.f.Commit()
}

// fields returns the directory of a level.
func (l *labelWriter) fields(v *labelLevel, reduced bool) []tiff.Field {
	const (
		deflate      = 8
		blackIsZero  = 1
		centimetre   = 3
		noUnit       = 1
		unsigned     = 1
		reducedImage = 1
	)
	short := func(t tiff.Tag, v uint64) tiff.Field {
		return tiff.Field{Tag: t, Type: tiff.Short, Values: []uint64{v}}
	}
	long := func(t tiff.Tag, v uint64) tiff.Field { return tiff.Field{Tag: t, Type: tiff.Long, Values: []uint64{v}} }
	var resolution []uint64
	unit := uint64(noUnit)
	if l.mpp > 0 {
		// Pixels per centimetre as a fraction over 1000.
		f := float64(v.w) / float64(l.levels[0].w)
		resolution, unit = []uint64{uint64(1e4/l.mpp*f*1000) | 1000<<32}, centimetre
	}
	sub := uint64(0)
	if reduced {
		sub = reducedImage
	}
	return []tiff.Field{
		long(tiff.NewSubfileType, sub), long(tiff.ImageWidth, uint64(v.w)), long(tiff.ImageLength, uint64(v.h)),
		short(tiff.BitsPerSample, 32), short(tiff.Compression, deflate), short(tiff.Photometric, blackIsZero), short(tiff.SamplesPerPixel, 1),
		{Tag: tiff.XResolution, Type: tiff.Rational, Values: resolution}, {Tag: tiff.YResolution, Type: tiff.Rational, Values: resolution},
		short(tiff.ResolutionUnit, unit), short(tiff.TileWidth, labelTile), short(tiff.TileLength, labelTile),
		{Tag: tiff.TileOffsets, Type: tiff.Long8, Values: v.offs}, {Tag: tiff.TileByteCounts, Type: tiff.Long8, Values: v.sizes},
		short(tiff.SampleFormat, unsigned),
	}
}
