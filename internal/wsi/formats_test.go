package wsi_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"sort"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/wsi"
)

// reading is what an independent reader makes of a slide.
type reading struct {
	By         string
	Levels     [][3]any          // width, height, SHA-256 of the RGBA pixels
	MPP        []float64         `json:"mpp"`
	Objective  float64           `json:"objective"`
	Associated map[string]string `json:"associated"` // SHA-256 by name
}

// readings reads one of the lists of testdata/formats.
func readings(t *testing.T, list string) map[string]reading {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "formats", list))
	require.NoError(t, err)
	var out map[string]reading
	require.NoError(t, json.Unmarshal(b, &out))
	return out
}

func digestOf(pix []byte) string {
	h := sha256.Sum256(pix)
	return hex.EncodeToString(h[:])
}

// checkReading compares a slide with what another reader gave, bit for bit.
func checkReading(t *testing.T, s *wsi.Slide, want reading) {
	t.Helper()
	require.Len(t, s.Levels(), len(want.Levels))
	for i, l := range s.Levels() {
		w := want.Levels[i]
		require.Equal(t, []any{float64(l.W), float64(l.H)}, w[:2], "level %d", i)
		dst := image.NewRGBA(image.Rect(0, 0, l.W, l.H))
		require.NoError(t, s.ReadRegion(ctx, i, image.Point{}, dst))
		assert.Equal(t, w[2], digestOf(dst.Pix), "level %d against %s", i, want.By)
	}
	if want.MPP != nil {
		assert.InDeltaSlice(t, want.MPP, []float64{s.Meta().MPPX, s.Meta().MPPY}, 1e-9)
	}
	if want.Objective != 0 {
		assert.Equal(t, want.Objective, s.Meta().Objective)
	}
	if want.Associated == nil {
		return
	}
	names := []string{}
	for n := range want.Associated {
		names = append(names, n)
	}
	sort.Strings(names)
	got := append([]string{}, s.AssociatedNames()...)
	sort.Strings(got)
	assert.Equal(t, names, got)
	for _, n := range got {
		pic, err := s.Associated(n)
		require.NoError(t, err, n)
		assert.Equal(t, want.Associated[n], digestOf(pic.(*image.RGBA).Pix), n)
	}
}
