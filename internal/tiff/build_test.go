package tiff_test

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"sort"

	jpeg2000 "github.com/ajroetker/go-jpeg2000"

	"github.com/slidesam/sam/internal/tiff"
)

// builder writes TIFFs for the tests: any byte order, classic or Big.
type builder struct {
	order binary.AppendByteOrder
	big   bool
}

type field struct {
	typ  uint16 // 2, 3, 4, 7, 16
	vals []uint64
}

type page struct {
	fields map[tiff.Tag]field
	segs   [][]byte
	tiled  bool
}

// short is a SHORT field.
func short(v ...uint64) field { return field{3, v} }

func (w builder) value(b []byte, typ uint16, v uint64) []byte {
	switch typ {
	case 2, 7:
		return append(b, byte(v))
	case 3:
		return w.order.AppendUint16(b, uint16(v))
	case 4:
		return w.order.AppendUint32(b, uint32(v))
	}
	return w.order.AppendUint64(b, v)
}

func (w builder) file(pages ...page) []byte {
	mark := map[bool]string{true: "MM", false: "II"}[w.order.AppendUint16(nil, 1)[1] == 1]
	word, inline := uint16(4), 4
	out := append([]byte(mark), 0, 0)
	ptr := 4
	if w.big {
		word, inline, ptr = 16, 8, 8
		out = w.order.AppendUint16(out[:2], 43)
		out = append(w.order.AppendUint16(out, 8), 0, 0)
	} else {
		out = w.order.AppendUint16(out[:2], 42)
	}
	out = w.value(out, word, 0)
	for _, p := range pages {
		var offs, sizes field
		offs.typ, sizes.typ = word, word
		for _, s := range p.segs {
			at := len(out)
			if len(s) == 0 {
				at = 0
			}
			offs.vals, sizes.vals = append(offs.vals, uint64(at)), append(sizes.vals, uint64(len(s)))
			out = append(out, s...)
		}
		fields := map[tiff.Tag]field{}
		for k, v := range p.fields {
			fields[k] = v
		}
		if p.tiled {
			fields[tiff.TileOffsets], fields[tiff.TileByteCounts] = offs, sizes
		} else {
			fields[tiff.StripOffsets], fields[tiff.StripByteCounts] = offs, sizes
		}
		var tags []int
		for k := range fields {
			tags = append(tags, int(k))
		}
		sort.Ints(tags)
		var dir []byte
		if w.big {
			dir = w.order.AppendUint64(dir, uint64(len(tags)))
		} else {
			dir = w.order.AppendUint16(dir, uint16(len(tags)))
		}
		for _, t := range tags {
			f := fields[tiff.Tag(t)]
			var v []byte
			for _, x := range f.vals {
				v = w.value(v, f.typ, x)
			}
			if len(v) > inline {
				at := uint64(len(out))
				out = append(out, v...)
				v = w.value(nil, word, at)
			}
			for len(v) < inline {
				v = append(v, 0)
			}
			dir = w.order.AppendUint16(dir, uint16(t))
			dir = w.order.AppendUint16(dir, f.typ)
			dir = w.value(dir, word, uint64(len(f.vals)))
			dir = append(dir, v...)
		}
		copy(out[ptr:], w.value(nil, word, uint64(len(out))))
		ptr = len(out) + len(dir)
		out = w.value(append(out, dir...), word, 0)
	}
	return out
}

// gradient returns a test picture's samples [h, w, spp] of 8 bits.
func gradient(w, h, spp int) []byte {
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

// cut returns one tile of samples [h, w, spp], edge repeated outside.
func cut(b []byte, w, h, spp, x0, y0, tw, th int) []byte {
	var out []byte
	for y := y0; y < y0+th; y++ {
		for x := x0; x < x0+tw; x++ {
			at := (min(y, h-1)*w + min(x, w-1)) * spp
			out = append(out, b[at:at+spp]...)
		}
	}
	return out
}

// tiled returns a page of uncompressed tiles.
func tiled(b []byte, w, h, spp, tw, th int) page {
	p := page{tiled: true, fields: map[tiff.Tag]field{
		tiff.ImageWidth: short(uint64(w)), tiff.ImageLength: short(uint64(h)), tiff.BitsPerSample: short(8, 8, 8, 8),
		tiff.SamplesPerPixel: short(uint64(spp)), tiff.Photometric: short(2), tiff.Compression: short(1),
		tiff.TileWidth: short(uint64(tw)), tiff.TileLength: short(uint64(th)),
	}}
	p.fields[tiff.BitsPerSample] = field{3, p.fields[tiff.BitsPerSample].vals[:spp]}
	if spp == 1 {
		p.fields[tiff.Photometric] = short(1)
	}
	for y := 0; y < h; y += th {
		for x := 0; x < w; x += tw {
			p.segs = append(p.segs, cut(b, w, h, spp, x, y, tw, th))
		}
	}
	return p
}

// j2kTile is a lossless JPEG 2000 tile.
func j2kTile(w, h int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.SetRGBA(x, y, color.RGBA{byte(x * 5), byte(y * 9), byte(x * y), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg2000.Encode(&b, img, &jpeg2000.EncodeOptions{Lossless: true}); err != nil {
		panic(err)
	}
	return b.Bytes()
}
