package wholeslide_test

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/wholeslide"
	"github.com/slidesam/sam/internal/wsi"
)

// boxSeen is what a tile sees of a box of the slide, and the point that finds
// it there.
type boxSeen struct {
	box image.Rectangle
	pt  wholeslide.Point
}

// findBoxes finds boxes that are listed for each tile, as its window cuts them.
func findBoxes(of map[int][]boxSeen) wholeslide.Finder {
	return func(_ context.Context, img *image.RGBA, t wholeslide.Tile) ([]wholeslide.Object, wholeslide.Tally, error) {
		var out []wholeslide.Object
		for _, b := range of[t.Index] {
			box := b.box.Sub(t.Window.Min)
			m, err := mask.New(mask.Size{H: img.Rect.Dy(), W: img.Rect.Dx()}, func(x, y int) bool { return image.Pt(x, y).In(box) })
			if err != nil {
				return nil, wholeslide.Tally{}, err
			}
			at := wholeslide.Point{X: b.pt.X - float64(t.Window.Min.X), Y: b.pt.Y - float64(t.Window.Min.Y)}
			out = append(out, wholeslide.Object{Mask: m, IoUPred: 0.9, Stability: 1, Pt: at})
		}
		return out, wholeslide.Tally{Masks: len(out)}, nil
	}
}

// markMissing rewrites a tile's file so that parts of the slide were missing.
func markMissing(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	body, _, _ := strings.Cut(string(b), "\n")
	var f map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &f))
	f["missing"] = []string{"a tile of the slide"}
	b, err = json.Marshal(f)
	require.NoError(t, err)
	sum := sha256.Sum256(b)
	require.NoError(t, os.WriteFile(path, []byte(string(b)+"\nsha256 "+hex.EncodeToString(sum[:])+"\n"), 0o600))
}

// TestSevered: three tiles, of cores 0 to 112, 112 to 208 and 208 to 320, see
// windows of 128 pixels. What ends at the side of a window is no object where
// the neighbour looked and saw nothing of it, and one where nobody looked.
// Issue 25.
func TestSevered(t *testing.T) {
	bar := image.Rect(60, 40, 200, 60)
	left, right, last := wholeslide.Point{X: 70, Y: 50}, wholeslide.Point{X: 150, Y: 50}, wholeslide.Point{X: 250, Y: 50}
	half, err := mask.New(mask.Size{H: 128, W: 320}, func(x, _ int) bool { return x < 100 || x >= 220 })
	require.NoError(t, err)
	for _, tt := range []struct {
		name    string
		seen    map[int][]boxSeen
		region  image.Rectangle
		tissue  *mask.Mask
		missing bool
		want    []string // box_x, box_y, box_w, box_h, area_px
		severed int
	}{
		{name: "the neighbour sees nothing", seen: map[int][]boxSeen{0: {{bar, left}}}, severed: 1},
		{name: "nor does the one to the left", seen: map[int][]boxSeen{1: {{bar, right}}}, severed: 1},
		{
			name: "it sees something else", seen: map[int][]boxSeen{0: {{bar, left}}, 1: {{image.Rect(130, 40, 150, 60), right}}},
			want: []string{"130 40 20 20 400"}, severed: 1,
		},
		{name: "it agrees", seen: map[int][]boxSeen{0: {{bar, left}}, 1: {{bar, right}}}, want: []string{"60 40 140 20 2800"}},
		{
			name: "it agrees by and large: in its core it is right",
			seen: map[int][]boxSeen{0: {{bar, left}}, 1: {{image.Rect(60, 44, 200, 60), right}}},
			want: []string{"60 40 140 20 2448"}, // 52 columns of 20 and 88 of 16
		},
		{
			name: "the third sees nothing", seen: map[int][]boxSeen{0: {{image.Rect(60, 40, 300, 60), left}}, 1: {{image.Rect(60, 40, 300, 60), right}}},
			severed: 2,
		},
		{
			name: "all three agree", seen: map[int][]boxSeen{
				0: {{image.Rect(60, 40, 300, 60), left}}, 1: {{image.Rect(60, 40, 300, 60), right}}, 2: {{image.Rect(60, 40, 300, 60), last}},
			},
			want: []string{"60 40 240 20 4800"},
		},
		{name: "the region ends there", seen: map[int][]boxSeen{0: {{bar, left}}}, region: image.Rect(0, 0, 112, 128), want: []string{"60 40 68 20 1360"}},
		{name: "the neighbour has no tissue", seen: map[int][]boxSeen{0: {{bar, left}}}, tissue: half, want: []string{"60 40 68 20 1360"}},
		{name: "it could not see all", seen: map[int][]boxSeen{0: {{bar, left}}}, missing: true, want: []string{"60 40 68 20 1360"}},
		{name: "it is whole", seen: map[int][]boxSeen{0: {{image.Rect(60, 40, 127, 60), left}}}, want: []string{"60 40 67 20 1340"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := wsi.FromImage(image.NewRGBA(image.Rect(0, 0, 320, 128)), 0.5, 0.5)
			plan := func(shard, shards int) *wholeslide.Plan {
				p, err := wholeslide.New(t.Context(), s, wholeslide.Options{
					Scales: []wholeslide.Scale{{Find: findBoxes(tt.seen)}}, Tile: 128, Halo: 16, Region: tt.region, Tissue: tt.tissue, Shard: shard, Shards: shards,
				})
				require.NoError(t, err)
				return p
			}
			run := func(shards int) (*wholeslide.Result, map[string]string) {
				dir := t.TempDir()
				for i := range shards {
					_, err := plan(shards-1-i, shards).Run(t.Context(), s, dir, nil)
					require.NoError(t, err)
				}
				if tt.missing {
					markMissing(t, filepath.Join(dir, "tiles", "0", "0000", "00000001.json"))
				}
				res, err := plan(0, 1).Merge(t.Context(), s, dir)
				require.NoError(t, err)
				return res, outputs(t, dir)
			}
			res, files := run(1)
			rows, err := csv.NewReader(strings.NewReader(files[wholeslide.CSVFile])).ReadAll()
			require.NoError(t, err)
			var got []string
			for _, r := range rows[1:] {
				got = append(got, strings.Join(r[5:10], " "))
			}
			assert.Equal(t, tt.want, got)
			assert.Equal(t, tt.severed, res.Tally.Severed)
			_, sharded := run(2)
			assert.Equal(t, files, sharded)
		})
	}
}
