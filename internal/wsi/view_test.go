package wsi_test

import (
	"bytes"
	"image"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/tiff/tifftest"
	"github.com/slidesam/sam/internal/wsi"
)

// waves is a JPEG 2000 slide of 2 x 2 tiles of slow waves.
func waves() tifftest.Page {
	p := plain(512, 512, 3, 0)
	p.Fields[tiff.Compression] = tifftest.Short(34712)
	p.Fields[tiff.TileWidth], p.Fields[tiff.TileLength] = tifftest.Short(256), tifftest.Short(256)
	p.Segs = nil
	for range 4 {
		p.Segs = append(p.Segs, tifftest.J2K("wave-256x256"))
	}
	return p
}

// apartBy compares a thumbnail with the same made of whole tiles: the mean and the
// root mean square of the differences, and the largest.
func apartBy(t *testing.T, s *wsi.Slide, side int) (mean, rms float64, worst int) {
	z := s.Levels()[0]
	got, _, f, err := s.ThumbnailOf(ctx, image.Rect(0, 0, z.W, z.H), side)
	require.NoError(t, err)
	want := image.NewRGBA(got.Rect)
	require.NoError(t, s.ReadAt(ctx, s.Meta().MPPX*f, image.Point{}, want))
	for i, v := range got.Pix {
		d := int(v) - int(want.Pix[i])
		mean += float64(d)
		rms += float64(d * d)
		worst = max(worst, d, -d)
	}
	n := float64(len(got.Pix))
	return mean / n, math.Sqrt(rms / n), worst
}

// TestHalved: a thumbnail of tiles that were decoded smaller is what it is of
// whole ones, in colour and in place.
func TestHalved(t *testing.T) {
	s, err := wsi.Open(saved(t, "a.tif", waves()), wsi.Options{MPP: 1})
	require.NoError(t, err)
	defer s.Close()
	for _, side := range []int{128, 64, 32} { // by 4, 8 and 16: one and two levels
		mean, rms, worst := apartBy(t, s, side)
		t.Logf("side %d: mean %.2f, rms %.2f, worst %d", side, mean, rms, worst)
		// The reversible wavelet rounds up at each level. With pixels in the wrong
		// place by one and a half of the slide's, rms is 5.
		assert.InDelta(t, 0, mean, 0.6)
		assert.Less(t, rms, 1.2)
		assert.Positive(t, rms, "the tiles were halved")
	}
}

// TestHalvedFault: a tile that is broken is an error that names it.
func TestHalvedFault(t *testing.T) {
	p := waves()
	p.Segs[3] = bytes.Clone(p.Segs[3][:200])
	s, err := wsi.Open(saved(t, "a.tif", p), wsi.Options{MPP: 1})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Thumbnail(ctx, 32)
	var te *wsi.TileError
	require.ErrorAs(t, err, &te)
	assert.Equal(t, [2]int{1, 1}, [2]int{te.Col, te.Row})
}

// TestHalvedUnlike: a tile without wavelet levels among others that have some.
func TestHalvedUnlike(t *testing.T) {
	p := waves()
	p.Segs[3] = tifftest.J2K("halves-256x256")
	s, err := wsi.Open(saved(t, "a.tif", p), wsi.Options{MPP: 1})
	require.NoError(t, err)
	defer s.Close()
	pic, err := s.Thumbnail(ctx, 64)
	require.NoError(t, err)
	for y := 34; y < 64; y++ {
		for x := 34; x < 64; x++ {
			if x >= 46 && x < 50 { // where the halves of the tile meet
				continue
			}
			v := map[bool]byte{true: 100, false: 200}[x < 48]
			require.Equal(t, []byte{v, v, v, 255}, pic.Pix[pic.PixOffset(x, y):][:4], "(%d, %d)", x, y)
		}
	}
}

// TestHalvedSlide does the same on a real slide.
func TestHalvedSlide(t *testing.T) {
	dir := os.Getenv("SAM_TESTDATA")
	if dir == "" {
		t.Skip("SAM_TESTDATA is not set: no real slide")
	}
	s, err := wsi.Open(filepath.Join(dir, "slides", "tcga-cr-7395-jp2k.svs"), wsi.Options{MPP: 0.5})
	require.NoError(t, err)
	defer s.Close()
	for _, side := range []int{512, 256, 128} {
		mean, rms, worst := apartBy(t, s, side)
		t.Logf("side %d: mean %.2f, rms %.2f, worst %d", side, mean, rms, worst)
		assert.InDelta(t, 0, mean, 0.2)
		assert.Less(t, rms, 2.0)
	}
}

// TestHalvedDICOM: frames of DICOM are decoded smaller, too.
func TestHalvedDICOM(t *testing.T) {
	s, err := wsi.Open(filepath.Join("testdata", "formats", "dicom-j2k"), wsi.Options{MPP: 1})
	require.NoError(t, err)
	defer s.Close()
	z := s.Levels()[0]
	mean, rms, worst := apartBy(t, s, max(z.W, z.H)/4)
	t.Logf("%d x %d in tiles of %d x %d: mean %.2f, rms %.2f, worst %d", z.W, z.H, z.TileW, z.TileH, mean, rms, worst)
	assert.InDelta(t, 0, mean, 0.6)
	assert.Less(t, rms, 1.5)
	assert.Positive(t, rms, "the tiles were halved")
}
