// Package tifftest writes the TIFF files that tests read: any byte order,
// classic or Big, each field as the test wants it, wrong ones included.
//
//	p := tifftest.Tiled(tifftest.Gradient(64, 48, 3), 64, 48, 3, 16, 16)
//	p.Fields[tiff.FillOrder] = tifftest.Short(0)
//	b := tifftest.Builder{Order: binary.LittleEndian}.File(p)
package tifftest

import (
	"embed"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/slidesam/sam/internal/tiff"
)

// Builder writes files of one byte order, classic or Big.
type Builder struct {
	Order binary.AppendByteOrder
	Big   bool
}

// Field is the type and the values of a field: 2, 7 (bytes), 3, 8 (16 bits),
// 4, 9 (32), 5 (32 and 32, the numerator in the lower half), 16 (64).
type Field struct {
	Type   uint16
	Values []uint64
}

// Page is one directory. Its tiles or strips fill the fields of offsets and
// lengths; an empty one is left out of the file. Sub become its SubIFDs.
type Page struct {
	Fields map[tiff.Tag]Field
	Segs   [][]byte
	Tiled  bool
	Sub    []Page
}

// Short is a field of 16-bit values.
func Short(v ...uint64) Field { return Field{3, v} }

// Long is a field of 32-bit values.
func Long(v ...uint64) Field { return Field{4, v} }

// Ratio is a field of one fraction.
func Ratio(n, d uint64) Field { return Field{5, []uint64{n | d<<32}} }

// Text is a field of text, closed by a zero byte.
func Text(s string) Field {
	f := Field{Type: 2}
	for _, c := range []byte(s + "\x00") {
		f.Values = append(f.Values, uint64(c))
	}
	return f
}

func (w Builder) value(b []byte, typ uint16, v uint64) []byte {
	switch typ {
	case 2, 7:
		return append(b, byte(v))
	case 3, 8:
		return w.Order.AppendUint16(b, uint16(v))
	case 4, 9:
		return w.Order.AppendUint32(b, uint32(v))
	case 5:
		return w.Order.AppendUint32(w.Order.AppendUint32(b, uint32(v)), uint32(v>>32))
	}
	return w.Order.AppendUint64(b, v)
}

// word is the type of offsets.
func (w Builder) word() uint16 {
	if w.Big {
		return 16
	}
	return 4
}

// File returns a file of the pages.
func (w Builder) File(pages ...Page) []byte {
	mark := map[bool]string{true: "MM", false: "II"}[w.Order.AppendUint16(nil, 1)[1] == 1]
	out := []byte(mark)
	ptr := 4
	if w.Big {
		ptr = 8
		out = append(w.Order.AppendUint16(w.Order.AppendUint16(out, 43), 8), 0, 0)
	} else {
		out = w.Order.AppendUint16(out, 42)
	}
	out = w.value(out, w.word(), 0)
	for _, p := range pages {
		var at, next int
		out, at, next = w.page(out, p)
		copy(out[ptr:], w.value(nil, w.word(), uint64(at)))
		ptr = next
	}
	return out
}

// page appends a page and returns where its directory and the pointer to the
// next one lie.
func (w Builder) page(out []byte, p Page) (file []byte, at, next int) {
	fields := maps.Clone(p.Fields)
	offs, sizes := Field{Type: w.word()}, Field{Type: w.word()}
	for _, s := range p.Segs {
		at := len(out)
		if len(s) == 0 {
			at = 0
		}
		offs.Values, sizes.Values = append(offs.Values, uint64(at)), append(sizes.Values, uint64(len(s)))
		out = append(out, s...)
	}
	if p.Tiled {
		fields[tiff.TileOffsets], fields[tiff.TileByteCounts] = offs, sizes
	} else {
		fields[tiff.StripOffsets], fields[tiff.StripByteCounts] = offs, sizes
	}
	if len(p.Sub) > 0 {
		subs := Field{Type: w.word()}
		for _, s := range p.Sub {
			var at int
			out, at, _ = w.page(out, s)
			subs.Values = append(subs.Values, uint64(at))
		}
		fields[tiff.SubIFDs] = subs
	}
	inline := 4
	if w.Big {
		inline = 8
	}
	var dir []byte
	if w.Big {
		dir = w.Order.AppendUint64(dir, uint64(len(fields)))
	} else {
		dir = w.Order.AppendUint16(dir, uint16(len(fields)))
	}
	for _, t := range slices.Sorted(maps.Keys(fields)) {
		f := fields[t]
		var v []byte
		for _, x := range f.Values {
			v = w.value(v, f.Type, x)
		}
		if len(v) > inline {
			at := uint64(len(out))
			out = append(out, v...)
			v = w.value(nil, w.word(), at)
		}
		for len(v) < inline {
			v = append(v, 0)
		}
		dir = w.Order.AppendUint16(dir, uint16(t))
		dir = w.Order.AppendUint16(dir, f.Type)
		dir = w.value(dir, w.word(), uint64(len(f.Values)))
		dir = append(dir, v...)
	}
	at, next = len(out), len(out)+len(dir)
	return w.value(append(out, dir...), w.word(), 0), at, next
}

// Gradient returns a test picture's samples [h, w, spp] of 8 bits.
func Gradient(w, h, spp int) []byte {
	b := make([]byte, 0, w*h*spp)
	for y := range h {
		for x := range w {
			for c := range spp {
				b = append(b, byte(x*7+y*13+c*50+x*y/5))
			}
		}
	}
	return b
}

// Cut returns one tile of samples [h, w, spp], edge repeated outside.
func Cut(b []byte, w, h, spp, x0, y0, tw, th int) []byte {
	var out []byte
	for y := y0; y < y0+th; y++ {
		for x := x0; x < x0+tw; x++ {
			at := (min(y, h-1)*w + min(x, w-1)) * spp
			out = append(out, b[at:at+spp]...)
		}
	}
	return out
}

// Tiled returns a page of uncompressed tiles, RGB or, of one sample, gray.
func Tiled(b []byte, w, h, spp, tw, th int) Page {
	p := Page{Tiled: true, Fields: map[tiff.Tag]Field{
		tiff.ImageWidth: Short(uint64(w)), tiff.ImageLength: Short(uint64(h)),
		tiff.SamplesPerPixel: Short(uint64(spp)), tiff.Photometric: Short(2), tiff.Compression: Short(1),
		tiff.TileWidth: Short(uint64(tw)), tiff.TileLength: Short(uint64(th)),
		tiff.BitsPerSample: Short([]uint64{8, 8, 8, 8}[:spp]...),
	}}
	if spp == 1 {
		p.Fields[tiff.Photometric] = Short(1)
	}
	for y := 0; y < h; y += th {
		for x := 0; x < w; x += tw {
			p.Segs = append(p.Segs, Cut(b, w, h, spp, x, y, tw, th))
		}
	}
	return p
}

// Stripped returns a page of one uncompressed strip.
func Stripped(b []byte, w, h, spp int) Page {
	p := Tiled(b, w, h, spp, w, h)
	delete(p.Fields, tiff.TileWidth)
	delete(p.Fields, tiff.TileLength)
	p.Tiled, p.Fields[tiff.RowsPerStrip] = false, Short(uint64(h))
	return p
}

//go:embed testdata/*.j2k
var codestreams embed.FS

// J2K is the lossless JPEG 2000 codestream of that name in testdata, which
// testdata/make.py wrote through OpenJPEG.
func J2K(name string) []byte {
	b, err := codestreams.ReadFile("testdata/" + name + ".j2k")
	if err != nil {
		panic(err)
	}
	return b
}
