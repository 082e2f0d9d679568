//go:build openslide && (linux || darwin)

package wsi_test

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/wsi"
)

// TestOpenSlideAgrees reads slides with both readers.
func TestOpenSlideAgrees(t *testing.T) {
	for _, tt := range []struct {
		file string
		tol  int // of JPEG and JPEG 2000 decoders that round apart
	}{
		{"cmu-1-small-region.svs", 2}, {"tcga-cr-7395-jp2k.svs", 2}, {"small.svs", 2}, {"boxes.tiff", 2},
	} {
		t.Run(tt.file, func(t *testing.T) {
			path := dataFile(t, tt.file)
			ours, err := wsi.Open(path, wsi.Options{})
			require.NoError(t, err)
			defer ours.Close()
			theirs, err := wsi.OpenWithLibrary(path, wsi.Options{})
			require.NoError(t, err)
			defer theirs.Close()
			require.Len(t, theirs.Levels(), len(ours.Levels()))
			if theirs.Meta().MPPX > 0 { // OpenSlide 3.4 has none for generic TIFFs
				assert.InDelta(t, ours.Meta().MPPX, theirs.Meta().MPPX, 1e-9)
			}
			assert.Equal(t, ours.Meta().Objective, theirs.Meta().Objective)
			a, b := append([]string{}, ours.AssociatedNames()...), append([]string{}, theirs.AssociatedNames()...)
			sort.Strings(a)
			sort.Strings(b)
			assert.Equal(t, a, b)
			for _, name := range a {
				x, err := ours.Associated(name)
				require.NoError(t, err)
				y, err := theirs.Associated(name)
				require.NoError(t, err)
				assert.LessOrEqual(t, furthest(x.(*image.RGBA), y.(*image.RGBA)), tt.tol, name)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for k, l := range ours.Levels() {
				assert.Equal(t, [2]int{l.W, l.H}, [2]int{theirs.Levels()[k].W, theirs.Levels()[k].H})
				if ours.Meta().Format == "tiff" && (l.W < l.TileW || l.H < l.TileH) {
					// Debian's libtiff 4.5.0-6+deb12u4 reads tiles that are larger than their level
					// wrongly, with OpenSlide. Pillow shows what we read there.
					continue
				}
				whole := l.Downsample == math.Trunc(l.Downsample)
				for i := range 12 {
					w, h := 1+rng.IntN(min(l.W, 700)), 1+rng.IntN(min(l.H, 700))
					at := image.Pt(rng.IntN(l.W-w+1), rng.IntN(l.H-h+1))
					if i == 0 { // across the border
						at = image.Pt(l.W-w/2-1, l.H-h/2-1)
					}
					if !whole { // where the library does not interpolate
						at, w, h = image.Point{}, min(l.W, 512), min(l.H, 240)
					}
					x, y := image.NewRGBA(image.Rect(0, 0, w, h)), image.NewRGBA(image.Rect(0, 0, w, h))
					require.NoError(t, ours.ReadRegion(ctx, k, at, x))
					require.NoError(t, theirs.ReadRegion(ctx, k, at, y))
					assert.LessOrEqual(t, furthest(x, y), tt.tol, "level %d, %v, %d x %d", k, at, w, h)
				}
			}
		})
	}
}

// furthest returns the largest difference of two pictures, 256 if their sizes
// differ.
func furthest(a, b *image.RGBA) int {
	if a.Rect.Size() != b.Rect.Size() {
		return 256
	}
	worst := 0
	for i := range a.Pix {
		d := int(a.Pix[i]) - int(b.Pix[i])
		worst = max(worst, d, -d)
	}
	return worst
}

// ndpi builds a Hamamatsu NDPI of pictures, each level one JPEG.
func ndpi(t *testing.T, levels []*image.RGBA, lens float32) []byte {
	le := binary.LittleEndian
	out := []byte{'I', 'I', 42, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	ptr := 4 // where the place of the next directory goes, 8 bytes
	for i, pic := range levels {
		var b bytes.Buffer
		require.NoError(t, jpeg.Encode(&b, pic, &jpeg.Options{Quality: 95}))
		data := len(out)
		out = append(out, b.Bytes()...)
		out = append(out, make([]byte, len(out)%2)...)
		text := len(out)
		out = append(out, "Hamamatsu\x00"...)
		w, h := uint32(pic.Rect.Dx()), uint32(pic.Rect.Dy())
		fields := []struct {
			tag, typ uint16
			n, v     uint32
		}{
			{256, 4, 1, w}, {257, 4, 1, h}, {258, 3, 1, 8}, {259, 3, 1, 7}, {262, 3, 1, 6}, {271, 2, 10, uint32(text)},
			{273, 4, 1, uint32(data)}, {277, 3, 1, 3}, {278, 4, 1, h}, {279, 4, 1, uint32(b.Len())},
			{282, 5, 1, 0}, {283, 5, 1, 0}, {296, 3, 1, 3},
			{65420, 4, 1, 1}, {65421, 11, 1, math.Float32bits(lens / float32(int(1)<<(2*i)))}, {65422, 9, 1, 0}, {65423, 9, 1, 0}, {65424, 9, 1, 0},
		}
		res := uint32(len(out))
		out = le.AppendUint32(le.AppendUint32(out, 40_000>>(2*i)), 1) // pixels per centimetre: 0.25 micrometres
		le.PutUint64(out[ptr:], uint64(len(out)))
		out = le.AppendUint16(out, uint16(len(fields)))
		for _, f := range fields {
			if f.typ == 5 {
				f.v = res
			}
			out = le.AppendUint16(le.AppendUint16(out, f.tag), f.typ)
			out = le.AppendUint32(le.AppendUint32(out, f.n), f.v)
		}
		ptr = len(out)
		out = le.AppendUint64(out, 0)
	}
	return out
}

// TestOpenSlideReads opens an NDPI through the library.
func TestOpenSlideReads(t *testing.T) {
	var levels []*image.RGBA
	for _, side := range []int{640, 160} {
		g := image.NewRGBA(image.Rect(0, 0, side, side*3/4))
		for i := range len(g.Pix) / 4 {
			x, y := i%side, i/side
			v := byte(128 + 100*math.Sin(float64(x)*12/float64(side))*math.Cos(float64(y)*9/float64(side)))
			g.SetRGBA(x, y, color.RGBA{v, v, v, 255})
		}
		levels = append(levels, g)
	}
	path := filepath.Join(t.TempDir(), "a.ndpi")
	b := ndpi(t, levels, 40)
	require.NoError(t, os.WriteFile(path, b, 0o600))
	s, err := wsi.OpenWithLibrary(path, wsi.Options{})
	require.NoError(t, err)
	assert.Equal(t, "hamamatsu", s.Meta().Format)
	assert.Equal(t, 40.0, s.Meta().Objective)
	assert.InDelta(t, 0.25, s.Meta().MPPX, 1e-9)
	// The library adds levels that JPEG gives by itself.
	require.Len(t, s.Levels(), 6)
	assert.Equal(t, 4.0, s.Levels()[2].Downsample)
	for k, pic := range map[int]*image.RGBA{0: levels[0], 2: levels[1]} {
		dst := image.NewRGBA(pic.Rect.Inset(-20))
		require.NoError(t, s.ReadRegion(ctx, k, dst.Rect.Min, dst))
		for y := dst.Rect.Min.Y; y < dst.Rect.Max.Y; y++ {
			for x := dst.Rect.Min.X; x < dst.Rect.Max.X; x++ {
				c := dst.RGBAAt(x, y)
				if !image.Pt(x, y).In(pic.Rect) {
					require.Equal(t, color.RGBA{}, c)
					continue
				}
				require.Equal(t, byte(255), c.A)
				require.InDelta(t, pic.RGBAAt(x, y).R, c.R, 6, "level %d (%d, %d)", k, x, y) // JPEG of quality 95
			}
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dst := image.NewRGBA(image.Rect(0, 0, 300, 300))
			assert.NoError(t, s.ReadRegion(ctx, 0, image.Pt(200, 100), dst))
		})
	}
	wg.Wait()
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "twice")
	assert.ErrorIs(t, s.ReadRegion(ctx, 1, image.Point{}, image.NewRGBA(image.Rect(0, 0, 9, 9))), os.ErrClosed)

	other, err := wsi.OpenWithLibrary(path, wsi.Options{MPP: 0.5})
	require.NoError(t, err)
	assert.Equal(t, 0.5, other.Meta().MPPX)
	require.NoError(t, other.Close())
}

// TestOpenSlideErrors turns the library's errors into ours.
func TestOpenSlideErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.mrxs")
	require.NoError(t, os.WriteFile(path, []byte("no slide"), 0o600))
	_, err := wsi.Open(path, wsi.Options{})
	require.ErrorIs(t, err, wsi.ErrFormat)
	assert.ErrorContains(t, err, "OpenSlide does not know it")
	assert.ErrorContains(t, err, "MRXS")

	// Known by its tags, and broken inside.
	b := ndpi(t, []*image.RGBA{image.NewRGBA(image.Rect(0, 0, 64, 48))}, 40)
	at := bytes.Index(b, []byte{0xff, 0xd8})
	copy(b[at:], "????????")
	path = filepath.Join(dir, "b.ndpi")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	_, err = wsi.OpenWithLibrary(path, wsi.Options{})
	require.ErrorIs(t, err, wsi.ErrFormat)
	assert.ErrorContains(t, err, "OpenSlide: ")

	// One tile is corrupt: a TileError, and other levels go on.
	s, err := wsi.OpenWithLibrary(dataFile(t, "unreadable.svs"), wsi.Options{})
	require.NoError(t, err)
	defer s.Close()
	for range 2 {
		var te *wsi.TileError
		require.ErrorAs(t, s.ReadRegion(ctx, 0, image.Point{}, image.NewRGBA(image.Rect(0, 0, 16, 16))), &te)
		assert.ErrorContains(t, te, "OpenSlide: ")
	}
	var bad int
	skip, err := wsi.OpenWithLibrary(dataFile(t, "unreadable.svs"), wsi.Options{SkipBadTiles: true, OnBadTile: func(*wsi.TileError) { bad++ }})
	require.NoError(t, err)
	defer skip.Close()
	require.NoError(t, skip.ReadRegion(ctx, 0, image.Point{}, image.NewRGBA(image.Rect(0, 0, 16, 16))))
	assert.Equal(t, 1, bad)
}

// TestOpenSlideComesBack: a file that is away while the library needs to open
// it anew is read again once it is back.
func TestOpenSlideComesBack(t *testing.T) {
	b, err := os.ReadFile(dataFile(t, "unreadable.svs"))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "a.svs")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	s, err := wsi.OpenWithLibrary(path, wsi.Options{})
	require.NoError(t, err)
	defer s.Close()
	corrupt := func() error { return s.ReadRegion(ctx, 0, image.Point{}, image.NewRGBA(image.Rect(0, 0, 16, 16))) }
	require.NoError(t, os.Rename(path, path+".away"))
	require.ErrorContains(t, corrupt(), "cannot open it")
	require.ErrorContains(t, corrupt(), "cannot open it")
	require.NoError(t, os.Rename(path+".away", path))
	err = corrupt()
	require.ErrorContains(t, err, "OpenSlide: ")
	assert.NotErrorIs(t, err, os.ErrClosed)
	require.NoError(t, s.Close())
	assert.ErrorIs(t, corrupt(), os.ErrClosed)
}

// TestOpenSlideOthersErrors reads a slide with one corrupt tile from many
// goroutines: no other tile is bad, though they share a handle.
func TestOpenSlideOthersErrors(t *testing.T) {
	b, err := os.ReadFile(dataFile(t, "cmu-1-small-region.svs"))
	require.NoError(t, err)
	f, err := tiff.Open(dataFile(t, "cmu-1-small-region.svs"))
	require.NoError(t, err)
	defer f.Close()
	offs, err := f.Dirs()[0].Uints(tiff.TileOffsets)
	require.NoError(t, err)
	const bad = 42
	copy(b[offs[bad]:], "????????")
	path := filepath.Join(t.TempDir(), "a.svs")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	for range 5 {
		var mu sync.Mutex
		tiles := map[image.Point]bool{}
		s, err := wsi.OpenWithLibrary(path, wsi.Options{SkipBadTiles: true, OnBadTile: func(e *wsi.TileError) {
			mu.Lock()
			defer mu.Unlock()
			tiles[image.Pt(e.Col, e.Row)] = true
		}})
		require.NoError(t, err)
		l := s.Levels()[0]
		cols := (l.W-1)/l.TileW + 1
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for k := i; k < len(offs); k += 8 {
					dst := image.NewRGBA(image.Rect(0, 0, 9, 9))
					assert.NoError(t, s.ReadRegion(ctx, 0, image.Pt(k%cols*l.TileW, k/cols*l.TileH), dst))
				}
			})
		}
		wg.Wait()
		require.NoError(t, s.Close())
		assert.Equal(t, map[image.Point]bool{image.Pt(bad%cols, bad/cols): true}, tiles)
	}
}

func TestARGB(t *testing.T) {
	assert.Equal(t, []byte{0x20, 0x30, 0x40, 0x80, 1, 2, 3, 255}, wsi.FromARGB([]uint32{0x80203040, 0xff010203}))
}

// TestReportedBounds: coordinates count from the corner of the scanned part,
// as in QuPath.
func TestReportedBounds(t *testing.T) {
	s := report(t, "04_leica_bounds.scn")
	l := s.Levels()
	assert.Equal(t, image.Pt(1024, 768), image.Pt(l[0].W, l[0].H))
	pic := region(t, s)
	for _, at := range []image.Point{{0, 0}, {1023, 0}, {0, 767}, {1023, 767}} {
		assert.Equal(t, uint8(255), pic.RGBAAt(at.X, at.Y).A, "scanned at %v", at)
	}
	coarse := image.NewRGBA(image.Rect(0, 0, l[1].W, l[1].H))
	require.NoError(t, s.ReadRegion(ctx, 1, image.Point{}, coarse))
	assert.Equal(t, uint8(255), coarse.RGBAAt(l[1].W-1, l[1].H-1).A)
}
