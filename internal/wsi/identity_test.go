package wsi_test

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/wsi"
)

func identityOf(t *testing.T, s *wsi.Slide) string {
	t.Helper()
	id, err := s.Identity(ctx)
	require.NoError(t, err)
	return id
}

func identityAt(t *testing.T, path string) string {
	t.Helper()
	s, err := wsi.Open(path, wsi.Options{MPP: 0.25})
	require.NoError(t, err)
	defer s.Close()
	return identityOf(t, s)
}

// TestIdentity changes content that no name, size or tag shows.
func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, b, 0o600))
		return p
	}
	pic := func(shade uint8) []byte {
		img := image.NewGray(image.Rect(0, 0, 20, 10))
		img.SetGray(19, 9, color.Gray{Y: shade})
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, img))
		return b.Bytes()
	}
	a := identityAt(t, put("a.png", pic(1)))
	assert.Equal(t, a, identityAt(t, put("other-name.png", pic(1))), "place and name do not count")
	assert.NotEqual(t, a, identityAt(t, put("a.png", pic(2))))

	b, err := os.ReadFile(fixture("tile-none.tif"))
	require.NoError(t, err)
	a = identityAt(t, put("a.tif", b))
	assert.Equal(t, a, identityAt(t, put("b.tif", b)))
	b[100] ^= 1 // in the first tile
	assert.NotEqual(t, a, identityAt(t, put("a.tif", b)))

	x, y := image.NewRGBA(image.Rect(0, 0, 9, 9)), image.NewRGBA(image.Rect(0, 0, 9, 9))
	y.Pix[7] = 1
	assert.NotEqual(t, identityOf(t, wsi.FromImage(x, 1, 1)), identityOf(t, wsi.FromImage(y, 1, 1)))

	src := func(p *image.RGBA) string {
		s, err := wsi.FromSource(source{p}, 1)
		require.NoError(t, err)
		return identityOf(t, s)
	}
	assert.Equal(t, src(x), src(x))
	assert.NotEqual(t, src(x), src(y))
}
