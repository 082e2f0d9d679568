package wsi_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/wsi"
)

var ctx = context.Background()

func fixture(name string) string { return filepath.Join("..", "tiff", "testdata", name) }

// dataFile returns a file of SAM_TESTDATA/slides.
func dataFile(t *testing.T, name string) string {
	dir := os.Getenv("SAM_TESTDATA")
	if dir == "" {
		t.Skip("SAM_TESTDATA is not set")
	}
	return filepath.Join(dir, "slides", name)
}

func TestRealSlides(t *testing.T) {
	for _, tt := range []struct {
		file, format   string
		levels         []image.Point
		mpp, objective float64
		icc            int
		names          []string
	}{
		{"cmu-1-small-region.svs", "aperio", []image.Point{{2220, 2967}}, 0.499, 20, 0, []string{"thumbnail", "label", "macro"}},
		{"tcga-cr-7395-jp2k.svs", "aperio", []image.Point{{4443, 3567}, {2221, 1783}}, 0, 0, 3144, []string{"thumbnail"}},
		{"he-example-ome-bigtiff.tif", "ome-tiff", []image.Point{{1380, 1484}}, 0.5000799214486333, 0, 0, nil},
		{"kidney-ihc.tif", "tiff", []image.Point{{1493, 901}}, 0, 0, 0, nil},
		{"boxes.tiff", "tiff", []image.Point{{300, 250}, {150, 125}, {75, 62}, {37, 31}}, 0, 0, 588, nil},
		{"small.svs", "aperio", []image.Point{{16, 16}}, 0.499, 20, 0, []string{"thumbnail"}},
		{"histo.jpg", "jpeg", []image.Point{{500, 300}}, 0, 0, 0, nil},
		{"boxes.png", "png", []image.Point{{300, 250}}, 0, 0, 0, nil},
	} {
		t.Run(tt.file, func(t *testing.T) {
			s, err := wsi.Open(dataFile(t, tt.file), wsi.Options{})
			require.NoError(t, err)
			defer s.Close()
			var sizes []image.Point
			for i, l := range s.Levels() {
				sizes = append(sizes, image.Pt(l.W, l.H))
				dst := image.NewRGBA(image.Rect(0, 0, 300, 200))
				require.NoError(t, s.ReadRegion(ctx, i, image.Pt(l.W-200, l.H-100), dst))
				assert.Equal(t, uint8(255), dst.RGBAAt(199, 99).A)
				assert.Equal(t, color.RGBA{}, dst.RGBAAt(200, 100), "outside")
			}
			m := s.Meta()
			assert.Equal(t, tt.levels, sizes)
			assert.Equal(t, tt.format, m.Format)
			assert.Equal(t, []float64{tt.mpp, tt.mpp, tt.objective}, []float64{m.MPPX, m.MPPY, m.Objective})
			assert.Len(t, m.ICC, tt.icc)
			assert.Equal(t, tt.names, s.AssociatedNames())
			for _, n := range s.AssociatedNames() {
				_, err := s.Associated(n)
				assert.NoError(t, err, n)
			}
		})
	}
}

// TestBoxes compares a TIFF with the same picture as PNG.
func TestBoxes(t *testing.T) {
	a, err := wsi.Open(dataFile(t, "boxes.tiff"), wsi.Options{})
	require.NoError(t, err)
	b, err := wsi.Open(dataFile(t, "boxes.png"), wsi.Options{})
	require.NoError(t, err)
	x, y := image.NewRGBA(image.Rect(0, 0, 300, 250)), image.NewRGBA(image.Rect(0, 0, 300, 250))
	require.NoError(t, a.ReadRegion(ctx, 0, image.Point{}, x))
	require.NoError(t, b.ReadRegion(ctx, 0, image.Point{}, y))
	assert.Equal(t, y.Pix, x.Pix)
}

func TestBadFiles(t *testing.T) {
	_, err := wsi.Open(dataFile(t, "broken.svs"), wsi.Options{})
	assert.ErrorIs(t, err, wsi.ErrFormat)
	_, err = wsi.Open(dataFile(t, "unopenable.tiff"), wsi.Options{})
	assert.ErrorIs(t, err, tiff.ErrUnsupported)
	s, err := wsi.Open(dataFile(t, "unreadable.svs"), wsi.Options{})
	require.NoError(t, err)
	dst := image.NewRGBA(image.Rect(0, 0, 16, 16))
	err = s.ReadRegion(ctx, 0, image.Point{}, dst)
	var te *wsi.TileError
	require.ErrorAs(t, err, &te)
	assert.ErrorIs(t, err, tiff.ErrCorrupt)
	assert.Equal(t, image.Rect(0, 0, 16, 16), te.Rect)
}

func TestForeign(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		file string
		b    []byte
		want string
		how  string
	}{
		{"b", []byte("ZISRAWFILE"), "CZI", "OpenSlide"}, {"a.vsi", []byte("II*\x00"), "VSI", "bfconvert"},
		{"a.isyntax", []byte("<"), "iSyntax", "isyntax2raw"},
	} {
		t.Run(tt.want+" "+tt.file, func(t *testing.T) {
			p := filepath.Join(dir, tt.file)
			require.NoError(t, os.WriteFile(p, tt.b, 0o600))
			_, err := wsi.Open(p, wsi.Options{})
			require.ErrorIs(t, err, wsi.ErrFormat)
			assert.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "convert")
			assert.ErrorContains(t, err, tt.how)
		})
	}
	_, err := wsi.Open(filepath.Join(dir, "none.svs"), wsi.Options{})
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = wsi.Open(dir, wsi.Options{})
	assert.Error(t, err)
}

func TestGenericPyramid(t *testing.T) {
	s, err := wsi.Open(fixture("pyramid-subifd.tif"), wsi.Options{})
	require.NoError(t, err)
	defer s.Close()
	var got []string
	for _, l := range s.Levels() {
		got = append(got, fmt.Sprintf("%dx%d/%.3f", l.W, l.H, l.Downsample))
	}
	assert.Equal(t, []string{"83x61/1.000", "41x30/2.029", "20x15/4.108"}, got)
	assert.InDelta(t, 0.25, s.Meta().MPPX, 1e-9)
}

// TestBadTile breaks one tile of a file in two ways.
func TestBadTile(t *testing.T) {
	b, err := os.ReadFile(fixture("tile-jpeg420.tif"))
	require.NoError(t, err)
	f, err := tiff.Open(fixture("tile-jpeg420.tif"))
	require.NoError(t, err)
	offs, err := f.Dirs()[0].Uints(tiff.TileOffsets)
	require.NoError(t, err)
	counts, err := f.Dirs()[0].Uints(tiff.TileByteCounts)
	require.NoError(t, err)
	f.Close()
	corrupt := append([]byte{}, b...)
	clear(corrupt[offs[4]+20 : offs[4]+counts[4]])
	// The lengths lie one after the other: the fifth becomes 0.
	missing := append([]byte{}, b...)
	var list []byte
	for _, c := range counts {
		list = binary.LittleEndian.AppendUint16(list, uint16(c))
	}
	wide := make([]byte, 0, 4*len(counts))
	for _, c := range counts {
		wide = binary.LittleEndian.AppendUint32(wide, uint32(c))
	}
	switch i, j := indexOf(b, list), indexOf(b, wide); {
	case i >= 0:
		clear(missing[i+8 : i+10])
	case j >= 0:
		clear(missing[j+16 : j+20])
	default:
		t.Fatal("lengths not found")
	}
	for name, data := range map[string][]byte{"corrupt": corrupt, "missing": missing} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "bad.tif")
			require.NoError(t, os.WriteFile(p, data, 0o600))
			s, err := wsi.Open(p, wsi.Options{})
			require.NoError(t, err)
			defer s.Close()
			dst := image.NewRGBA(image.Rect(0, 0, 83, 61))
			var te *wsi.TileError
			require.ErrorAs(t, s.ReadRegion(ctx, 0, image.Point{}, dst), &te)
			assert.Equal(t, image.Rect(32, 16, 64, 32), te.Rect)

			var bad []image.Rectangle
			skip, err := wsi.Open(p, wsi.Options{SkipBadTiles: true, OnBadTile: func(e *wsi.TileError) { bad = append(bad, e.Rect) }})
			require.NoError(t, err)
			defer skip.Close()
			require.NoError(t, skip.ReadRegion(ctx, 0, image.Point{}, dst))
			assert.Equal(t, []image.Rectangle{image.Rect(32, 16, 64, 32)}, bad)
			assert.Equal(t, color.RGBA{}, dst.RGBAAt(40, 20))
			assert.Equal(t, uint8(255), dst.RGBAAt(70, 20).A)
		})
	}
}

func indexOf(b, sub []byte) int {
	for i := 0; i+len(sub) <= len(b); i++ {
		if string(b[i:i+len(sub)]) == string(sub) {
			return i
		}
	}
	return -1
}

// TestGoroutines reads one file from many goroutines through a cache that
// holds two tiles.
func TestGoroutines(t *testing.T) {
	s, err := wsi.Open(fixture("tile-jpeg444.tif"), wsi.Options{CacheBytes: 2 * 32 * 16 * 4})
	require.NoError(t, err)
	defer s.Close()
	want := image.NewRGBA(image.Rect(0, 0, 83, 61))
	require.NoError(t, s.ReadRegion(ctx, 0, image.Point{}, want))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 30 {
				at := image.Pt((i*7+g*3)%60, (i*5+g)%40)
				got := image.NewRGBA(image.Rect(0, 0, 20, 20))
				if !assert.NoError(t, s.ReadRegion(ctx, 0, at, got)) {
					return
				}
				ref := want.SubImage(image.Rect(at.X, at.Y, at.X+20, at.Y+20)).(*image.RGBA)
				for y := range 20 {
					assert.Equal(t, ref.Pix[y*ref.Stride:][:80], got.Pix[y*got.Stride:][:80])
				}
			}
		}()
	}
	wg.Wait()
	stop, cancel := context.WithCancel(ctx)
	cancel()
	assert.ErrorIs(t, s.ReadRegion(stop, 0, image.Point{}, want), context.Canceled)
}

func TestPictures(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 12, 9))
	for i := range img.Pix {
		img.Pix[i] = byte(i*3) | 0x80
	}
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 255
	}
	dir := t.TempDir()
	for _, name := range []string{"a.png", "a.jpg"} {
		f, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		if name == "a.png" {
			require.NoError(t, png.Encode(f, img))
		} else {
			require.NoError(t, jpeg.Encode(f, img, nil))
		}
		require.NoError(t, f.Close())
		s, err := wsi.Open(filepath.Join(dir, name), wsi.Options{MPP: 0.5})
		require.NoError(t, err)
		assert.Equal(t, 0.5, s.Meta().MPPY)
		dst := image.NewRGBA(image.Rect(0, 0, 5, 5))
		require.NoError(t, s.ReadRegion(ctx, 0, image.Pt(3, 2), dst))
		if name == "a.png" {
			assert.Equal(t, color.RGBAModel.Convert(img.At(4, 4)), dst.At(1, 2))
		}
	}
}

// TestReadAt checks that a pixel does not depend on the rectangle it is read
// in, that halving averages as a triangle filter does, and the level chosen.
func TestReadAt(t *testing.T) {
	src := image.NewRGBA(image.Rect(0, 0, 101, 83))
	for y := range 83 {
		for x := range 101 {
			src.SetRGBA(x, y, color.RGBA{byte(2*x + y), byte(x * y), byte(x ^ y), 255})
		}
	}
	s := wsi.FromImage(src, 0.25, 0.25)
	w, h, err := s.SizeAt(0.6)
	require.NoError(t, err)
	assert.Equal(t, []int{42, 34}, []int{w, h})
	whole := image.NewRGBA(image.Rect(0, 0, w, h))
	require.NoError(t, s.ReadAt(ctx, 0.6, image.Point{}, whole))
	part := image.NewRGBA(image.Rect(0, 0, 11, 7))
	require.NoError(t, s.ReadAt(ctx, 0.6, image.Pt(20, 13), part))
	for y := range 7 {
		for x := range 11 {
			require.Equal(t, whole.RGBAAt(20+x, 13+y), part.RGBAAt(x, y))
		}
	}
	// The red ramp is linear: its filtered value is the ramp at the centre.
	c := whole.RGBAAt(10, 10)
	assert.InDelta(t, 2*(10.5*2.4-0.5)+(10.5*2.4-0.5), float64(c.R), 1)

	same := image.NewRGBA(image.Rect(0, 0, 101, 83))
	require.NoError(t, s.ReadAt(ctx, 0.25, image.Point{}, same))
	assert.Equal(t, src.Pix, same.Pix)
	_, err = wsi.FromImage(src, 0, 0).LevelAt(1)
	assert.ErrorIs(t, err, wsi.ErrNoMPP)
	assert.Error(t, s.ReadAt(ctx, -1, image.Point{}, same))

	p, err := wsi.Open(fixture("pyramid-subifd.tif"), wsi.Options{})
	require.NoError(t, err)
	for mpp, want := range map[float64]int{0.1: 0, 0.25: 0, 0.49: 0, 0.55: 1, 1.1: 2, 9: 2} {
		l, err := p.LevelAt(mpp)
		require.NoError(t, err)
		assert.Equal(t, want, l, "%v", mpp)
	}
}

func Example() {
	s, err := wsi.Open(filepath.Join("..", "tiff", "testdata", "pyramid-subifd.tif"), wsi.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	dst := image.NewRGBA(image.Rect(0, 0, 8, 8))
	err = s.ReadRegion(context.Background(), 1, image.Pt(4, 4), dst)
	fmt.Println(len(s.Levels()), s.Meta().Format, dst.RGBAAt(0, 0), err)
	// Output: 3 tiff {34 153 6 255} <nil>
}
