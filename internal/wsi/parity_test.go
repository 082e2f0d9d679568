package wsi_test

import (
	"context"
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

// parityIndex is what testdata/reference.py writes.
type parityIndex struct {
	Files []struct {
		File           string
		Levels         [][2]int
		Vendor         string
		MPP, Objective float64
		Associated     []string
	}
	Regions []struct {
		File              string
		Level, X, Y, W, H int
		Tol               int
		How, Raw          string
	}
}

// TestParity compares regions with OpenSlide and libvips. Run
//
//	testdata/reference.py $SAM_TESTDATA/slides OUT
//	SAM_SLIDEREF=OUT go test -run TestParity ./internal/wsi
func TestParity(t *testing.T) {
	dir := os.Getenv("SAM_SLIDEREF")
	if dir == "" {
		t.Skip("SAM_SLIDEREF is not set: no output of testdata/reference.py to compare with")
	}
	b, err := os.ReadFile(filepath.Join(dir, "regions.json"))
	require.NoError(t, err)
	var idx parityIndex
	require.NoError(t, json.Unmarshal(b, &idx))
	for _, f := range idx.Files {
		s, err := wsi.Open(f.File, wsi.Options{})
		require.NoError(t, err)
		var levels [][2]int
		for _, l := range s.Levels() {
			levels = append(levels, [2]int{l.W, l.H})
		}
		assert.Equal(t, f.Levels, levels, f.File)
		if f.MPP != 0 { // OpenSlide 3.4 has none for generic TIFFs
			assert.InDelta(t, f.MPP, s.Meta().MPPX, 1e-9, f.File)
		}
		assert.Equal(t, f.Objective, s.Meta().Objective, f.File)
		names := append([]string{}, s.AssociatedNames()...)
		sort.Strings(names)
		assert.ElementsMatch(t, f.Associated, names, f.File)
		require.NoError(t, s.Close())
	}
	var s *wsi.Slide
	open := ""
	hist := map[string]*[256]int{}
	var order []string
	for _, r := range idx.Regions {
		if r.File != open {
			if s, err = wsi.Open(r.File, wsi.Options{}); !assert.NoError(t, err, r.File) {
				s = nil
			}
			open = r.File
			order = append(order, open)
			hist[open] = new([256]int)
		}
		if s == nil {
			continue
		}
		want, err := os.ReadFile(filepath.Join(dir, r.Raw))
		require.NoError(t, err)
		var got *image.RGBA
		if r.Level < 0 {
			a, err := s.Associated(r.How)
			require.NoError(t, err, "%s %s", r.File, r.How)
			got = a.(*image.RGBA)
			require.Equal(t, image.Pt(r.W, r.H), got.Rect.Size())
		} else {
			got = image.NewRGBA(image.Rect(0, 0, r.W, r.H))
			if !assert.NoError(t, s.ReadRegion(context.Background(), r.Level, image.Pt(r.X, r.Y), got), r.File) {
				continue
			}
		}
		require.Len(t, got.Pix, len(want))
		worst := 0
		for i, v := range got.Pix {
			d := int(v) - int(want[i])
			d = max(d, -d)
			hist[open][d]++
			worst = max(worst, d)
		}
		// Lossless data must agree bit for bit; JPEG and JPEG 2000 decoders
		// may round apart by 2 levels.
		assert.LessOrEqual(t, worst, r.Tol, "%s level %d (%d, %d) %d x %d against %s", filepath.Base(r.File), r.Level, r.X, r.Y, r.W, r.H, r.How)
	}
	for _, f := range order {
		h := hist[f]
		n, last := 0, 0
		for i, v := range h {
			n += v
			if v > 0 {
				last = i
			}
		}
		t.Logf("%-28s worst %d, %.4f%% of values differ", filepath.Base(f), last, 100*float64(n-h[0])/float64(max(n, 1)))
	}
}
