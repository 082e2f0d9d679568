package tiff_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/tiff/tifftest"
)

// whole decodes all of a page to RGBA.
func whole(im *tiff.Image) ([]byte, error) {
	out := make([]byte, 4*im.W*im.H)
	for row := range im.Rows {
		for col := range im.Cols {
			s, err := im.Segment(col, row)
			if err != nil {
				return nil, err
			}
			for y := 0; y < s.H && row*im.SegH+y < im.H; y++ {
				n := min(s.W, im.W-col*im.SegW)
				copy(out[((row*im.SegH+y)*im.W+col*im.SegW)*4:], s.Pix[y*s.W*4:][:4*n])
			}
		}
	}
	return out, nil
}

func parse(b []byte) (*tiff.File, error) { return tiff.New(bytes.NewReader(b), int64(len(b))) }

// TestFixtures compares whole pictures with libtiff, bit for bit: JPEG ones
// too, since the arithmetic is libjpeg's.
func TestFixtures(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "expected.json"))
	require.NoError(t, err)
	var want map[string]struct {
		W, H   int
		SHA256 string
	}
	require.NoError(t, json.Unmarshal(b, &want))
	require.Len(t, want, 13)
	for name, w := range want {
		t.Run(name, func(t *testing.T) {
			f, err := tiff.Open(filepath.Join("testdata", name))
			require.NoError(t, err)
			defer f.Close()
			im, err := f.Dirs()[0].Image()
			require.NoError(t, err)
			assert.Equal(t, []int{w.W, w.H}, []int{im.W, im.H})
			pix, err := whole(im)
			require.NoError(t, err)
			sum := sha256.Sum256(pix)
			assert.Equal(t, w.SHA256, hex.EncodeToString(sum[:]))
		})
	}
}

func TestOrders(t *testing.T) {
	const w, h = 37, 29
	src := tifftest.Gradient(w, h, 3)
	for _, big := range []bool{false, true} {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			t.Run(fmt.Sprintf("%v/big=%v", order, big), func(t *testing.T) {
				b := tifftest.Builder{Order: order, Big: big}
				second := tifftest.Tiled(tifftest.Gradient(18, 14, 3), 18, 14, 3, 16, 16)
				f, err := parse(b.File(tifftest.Tiled(src, w, h, 3, 16, 16), second))
				require.NoError(t, err)
				assert.Equal(t, big, f.Big())
				require.Len(t, f.Dirs(), 2)
				im, err := f.Dirs()[0].Image()
				require.NoError(t, err)
				pix, err := whole(im)
				require.NoError(t, err)
				for i := range w * h {
					require.Equal(t, append(src[3*i:3*i+3:3*i+3], 255), pix[4*i:4*i+4], "pixel %d", i)
				}
			})
		}
	}
}

func TestSamples(t *testing.T) {
	const w, h = 20, 18
	b := tifftest.Builder{Order: binary.BigEndian, Big: false}
	gray, rgb := tifftest.Gradient(w, h, 1), tifftest.Gradient(w, h, 3)
	planes := tifftest.Tiled(gray, w, h, 1, 16, 16)
	planes.Fields[tiff.SamplesPerPixel], planes.Fields[tiff.Photometric], planes.Fields[tiff.PlanarConfig] = tifftest.Short(3), tifftest.Short(2), tifftest.Short(2)
	planes.Fields[tiff.BitsPerSample] = tifftest.Short(8, 8, 8)
	planes.Segs = nil
	for c := range 3 {
		one := make([]byte, w*h)
		for i := range one {
			one[i] = rgb[3*i+c]
		}
		planes.Segs = append(planes.Segs, tifftest.Tiled(one, w, h, 1, 16, 16).Segs...)
	}
	inverse := tifftest.Tiled(gray, w, h, 1, 16, 16)
	inverse.Fields[tiff.Photometric] = tifftest.Short(0)
	palette := tifftest.Tiled(gray, w, h, 1, 16, 16)
	palette.Fields[tiff.Photometric] = tifftest.Short(3)
	cmap := make([]uint64, 768)
	for i := range 256 {
		cmap[i], cmap[256+i], cmap[512+i] = uint64(255-i)<<8|7, uint64(i)<<8, 0x2a00
	}
	palette.Fields[tiff.ColorMap] = tifftest.Short(cmap...)
	for _, tt := range []struct {
		name string
		p    tifftest.Page
		want func(i int) []byte
	}{
		{"planes", planes, func(i int) []byte { return []byte{rgb[3*i], rgb[3*i+1], rgb[3*i+2], 255} }},
		{"white is zero", inverse, func(i int) []byte { v := 255 - gray[i]; return []byte{v, v, v, 255} }},
		{"palette", palette, func(i int) []byte { return []byte{255 - gray[i], gray[i], 0x2a, 255} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parse(b.File(tt.p))
			require.NoError(t, err)
			im, err := f.Dirs()[0].Image()
			require.NoError(t, err)
			pix, err := whole(im)
			require.NoError(t, err)
			for i := range w * h {
				require.Equal(t, tt.want(i), pix[4*i:4*i+4], "pixel %d", i)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	set := func(tag tiff.Tag, f tifftest.Field) tifftest.Page {
		p := tifftest.Tiled(tifftest.Gradient(20, 18, 3), 20, 18, 3, 16, 16)
		p.Fields[tag] = f
		return p
	}
	drop := func(i int) tifftest.Page {
		p := tifftest.Tiled(tifftest.Gradient(20, 18, 3), 20, 18, 3, 16, 16)
		p.Segs[i] = nil
		return p
	}
	shortTile := func(n int) tifftest.Page {
		p := tifftest.Tiled(tifftest.Gradient(20, 18, 3), 20, 18, 3, 16, 16)
		p.Segs[1] = p.Segs[1][:n]
		return p
	}
	for _, tt := range []struct {
		name string
		p    tifftest.Page
		err  error
		text string
	}{
		{"compression", set(tiff.Compression, tifftest.Short(50002)), tiff.ErrUnsupported, "JPEG XL"},
		{"bits", set(tiff.BitsPerSample, tifftest.Short(12, 12, 12)), tiff.ErrUnsupported, "12 bits"},
		{"unequal bits", set(tiff.BitsPerSample, tifftest.Short(8, 8, 16)), tiff.ErrUnsupported, "[8 8 16]"},
		{"float", set(tiff.SampleFormat, tifftest.Short(3, 3, 3)), tiff.ErrUnsupported, "floating-point"},
		{"cmyk", set(tiff.Photometric, tifftest.Short(5)), tiff.ErrUnsupported, "photometric interpretation 5"},
		{"ycbcr", set(tiff.Photometric, tifftest.Short(6)), tiff.ErrUnsupported, "YCbCr"},
		{"width 0", set(tiff.ImageWidth, tifftest.Short(0)), tiff.ErrCorrupt, "size 0"},
		{"tile 0", set(tiff.TileWidth, tifftest.Short(0)), tiff.ErrCorrupt, "tile size 0"},
		{"too few tiles", set(tiff.ImageLength, tifftest.Short(400)), tiff.ErrCorrupt, "offsets"},
		{"huge tile", set(tiff.TileWidth, tifftest.Long(1<<29)), tiff.ErrUnsupported, "pixels"},
		{"predictor 3", func() tifftest.Page {
			p := set(tiff.Predictor, tifftest.Short(3))
			p.Fields[tiff.Compression] = tifftest.Short(5)
			return p
		}(), tiff.ErrUnsupported, "floating-point predictor"},
		{"missing tile", drop(2), tiff.ErrMissing, "segment (0, 1)"},
		{"short tile", shortTile(700), tiff.ErrCorrupt, "700 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parse(tifftest.Builder{Order: binary.LittleEndian, Big: true}.File(tt.p))
			require.NoError(t, err)
			im, err := f.Dirs()[0].Image()
			if err == nil {
				_, err = whole(im)
			}
			require.ErrorIs(t, err, tt.err)
			assert.ErrorContains(t, err, tt.text)
		})
	}
}

func TestStructure(t *testing.T) {
	good := tifftest.Builder{Order: binary.LittleEndian, Big: false}.File(tifftest.Tiled(tifftest.Gradient(20, 18, 3), 20, 18, 3, 16, 16))
	loop := bytes.Clone(good)
	copy(loop[len(loop)-4:], loop[4:8]) // the next directory is the first
	beyond := bytes.Clone(good)
	binary.LittleEndian.PutUint32(beyond[4:], uint32(len(good)+1))
	for _, tt := range []struct {
		name string
		in   []byte
		err  error
	}{
		{"empty", nil, tiff.ErrNotTIFF},
		{"text", []byte("II is not a TIFF header"), tiff.ErrNotTIFF},
		{"offset", beyond, tiff.ErrCorrupt},
		{"cut", good[:len(good)-20], tiff.ErrCorrupt},
		{"no directory", append(bytes.Clone(good[:4]), 0, 0, 0, 0), tiff.ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(tt.in)
			assert.ErrorIs(t, err, tt.err)
		})
	}
}

// TestLeniency reads what libtiff reads too, with a warning.
func TestLeniency(t *testing.T) {
	good := tifftest.Builder{Order: binary.LittleEndian, Big: false}.File(tifftest.Tiled(tifftest.Gradient(20, 18, 3), 20, 18, 3, 16, 16))
	loop, past := bytes.Clone(good), bytes.Clone(good)
	copy(loop[len(loop)-4:], loop[4:8]) // the next directory is the first
	binary.LittleEndian.PutUint32(past[len(past)-4:], uint32(len(past)+100))
	for name, b := range map[string][]byte{"is an earlier one": loop, "would lie at byte": past} {
		f, err := parse(b)
		require.NoError(t, err)
		require.Len(t, f.Dirs(), 1)
		require.Len(t, f.Warnings(), 1)
		assert.Contains(t, f.Warnings()[0], name)
	}
	p := tifftest.Tiled(tifftest.Gradient(20, 18, 3), 20, 18, 3, 16, 16)
	p.Fields[tiff.FillOrder] = tifftest.Short(0)
	f, err := parse(tifftest.Builder{Order: binary.LittleEndian, Big: false}.File(p))
	require.NoError(t, err)
	_, err = f.Dirs()[0].Image()
	require.NoError(t, err)
}

func TestJPEG2000(t *testing.T) {
	p := tifftest.Tiled(tifftest.Gradient(64, 64, 3), 64, 64, 3, 64, 64)
	p.Fields[tiff.Compression] = tifftest.Short(33005)
	tile := tifftest.J2K("products-64x64")
	p.Segs = [][]byte{tile}
	f, err := parse(tifftest.Builder{Order: binary.LittleEndian, Big: false}.File(p))
	require.NoError(t, err)
	im, err := f.Dirs()[0].Image()
	require.NoError(t, err)
	pix, err := whole(im)
	require.NoError(t, err)
	for y := range 64 {
		for x := range 64 {
			require.Equal(t, []byte{byte(x * 5), byte(y * 9), byte(x * y), 255}, pix[4*(64*y+x):4*(64*y+x)+4])
		}
	}
	for _, tt := range []struct {
		name string
		at   int // byte of the codestream
		v    byte
	}{{"width", 8, 1}, {"component bits", 42, 9}, {"components", 41, 200}, {"tiles", 24 + 1, 0}} {
		bad := bytes.Clone(tile)
		bad[tt.at] = tt.v
		if bytes.Equal(bad, tile) {
			bad[tt.at] ^= 1
		}
		p.Segs = [][]byte{bad}
		f, err := parse(tifftest.Builder{Order: binary.LittleEndian, Big: false}.File(p))
		require.NoError(t, err)
		im, err := f.Dirs()[0].Image()
		require.NoError(t, err)
		if _, err = whole(im); err == nil {
			t.Logf("%s: still decodes", tt.name)
			continue
		}
		assert.True(t, errors.Is(err, tiff.ErrCorrupt) || errors.Is(err, tiff.ErrUnsupported), "%s: %v", tt.name, err)
	}
}
