package sam_test

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/synth"
)

// truthSide is the side of the picture of truth.
const truthSide = 1500

// truth is a slide whose colours are the numbers of objects: nuclei and
// glands of a synthetic slide, glands many times as large as a tile. A finder
// of equal colours is a model without faults, so that whatever differs
// between tilings is the seams' doing.
var truth = sync.OnceValue(func() *image.RGBA {
	_, t := synth.New(3, synth.Options{Solid: true}).Region(40_000, 41_000, truthSide, truthSide, 0.5)
	pic := image.NewRGBA(image.Rect(0, 0, truthSide, truthSide))
	for i := range t.Nuclei {
		n := int(t.Nuclei[i])
		if n == 0 && t.Glands[i] > 0 {
			n = 1<<20 + int(t.Glands[i])
		}
		pic.SetRGBA(i%truthSide, i/truthSide, color.RGBA{byte(n), byte(n >> 8), byte(n >> 16), 255})
	}
	return pic
})

// findColours returns one region for each colour but black.
func findColours(_ context.Context, img *image.RGBA) ([]sam.Region, error) {
	size := sam.Size{H: img.Rect.Dy(), W: img.Rect.Dx()}
	boxes, order := map[color.RGBA]image.Rectangle{}, []color.RGBA{}
	for y := range size.H {
		for x := range size.W {
			c := img.RGBAAt(x, y)
			if c.R == 0 && c.G == 0 && c.B == 0 {
				continue
			}
			if _, ok := boxes[c]; !ok {
				order = append(order, c)
			}
			boxes[c] = boxes[c].Union(image.Rect(x, y, x+1, y+1))
		}
	}
	var out []sam.Region
	for _, c := range order {
		b := boxes[c]
		small, err := sam.NewMask(sam.Size{H: b.Dy(), W: b.Dx()}, func(x, y int) bool { return img.RGBAAt(x+b.Min.X, y+b.Min.Y) == c })
		if err != nil {
			return nil, err
		}
		m, err := small.Place(size, b.Min)
		if err != nil {
			return nil, err
		}
		out = append(out, sam.Region{Mask: m, IoUPred: 0.9, Stability: 0.95, Point: sam.Point{X: float64(b.Min.X), Y: float64(b.Min.Y)}})
	}
	return out, nil
}

// readObjects reads objects.csv: the area of the object with each box.
func readObjects(t *testing.T, dir string) map[string]int {
	f, err := os.Open(filepath.Join(dir, sam.CSVFile))
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	out := map[string]int{}
	for _, r := range rows[1:] {
		out[fmt.Sprint(r[3:8])]++
	}
	return out
}

// sums are the hashes of a run's outputs.
func sums(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	for _, n := range []string{sam.GeoJSONFile, sam.CSVFile, sam.LabelsFile, sam.OverlayFile} {
		b, err := os.ReadFile(filepath.Join(dir, n))
		require.NoError(t, err)
		out[n] = fmt.Sprintf("%x", sha256.Sum256(b))
	}
	return out
}

// TestSeams compares one tile over the whole picture with many small ones:
// the same objects, none cut, none twice.
func TestSeams(t *testing.T) {
	ctx, s := context.Background(), sam.SlideFromImage(truth(), 0.5)
	one := t.TempDir()
	res, err := sam.SegmentSlideWith(ctx, s, one, sam.SegmentOptions{AllTiles: true, Tile: 4096}, findColours)
	require.NoError(t, err)
	assert.Equal(t, 1, res.Tiles)
	want := readObjects(t, one)
	require.Greater(t, len(want), 1000, "objects")
	for _, tt := range []struct{ tile, halo int }{{1280, 160}, {512, 64}, {400, 40}, {300, 75}} {
		t.Run(fmt.Sprintf("tile=%d/halo=%d", tt.tile, tt.halo), func(t *testing.T) {
			dir := t.TempDir()
			res, err := sam.SegmentSlideWith(ctx, s, dir, sam.SegmentOptions{AllTiles: true, Tile: tt.tile, Halo: tt.halo}, findColours)
			require.NoError(t, err)
			got := readObjects(t, dir)
			t.Logf("%d tiles, %d objects", res.Tiles, res.Objects)
			assert.Equal(t, want, got)
			assert.Equal(t, len(want), res.Objects)
		})
	}
}

// TestKilledRuns stops a run at random places, damages what lies there, and
// checks that the end is the same, bit for bit; so are shards.
func TestKilledRuns(t *testing.T) {
	ctx, s := context.Background(), sam.SlideFromImage(truth(), 0.5)
	o := sam.SegmentOptions{AllTiles: true, Tile: 640, Halo: 80, Class: "nucleus"}
	plain := t.TempDir()
	_, err := sam.SegmentSlideWith(ctx, s, plain, o, findColours)
	require.NoError(t, err)
	want := sums(t, plain)

	rng := rand.New(rand.NewPCG(4, 5))
	dir := t.TempDir()
	stopped := 0
	for range 40 {
		run, cancel := context.WithCancel(ctx)
		left := rng.IntN(3)
		_, err := sam.SegmentSlideWith(run, s, dir, o, func(ctx context.Context, img *image.RGBA) ([]sam.Region, error) {
			if left == 0 {
				cancel()
				return nil, ctx.Err()
			}
			left--
			return findColours(ctx, img)
		})
		cancel()
		if err == nil {
			break
		}
		require.ErrorIs(t, err, context.Canceled)
		stopped++
		files, err := filepath.Glob(filepath.Join(dir, "tiles", "*", "*.json"))
		require.NoError(t, err)
		if len(files) > 0 && rng.IntN(2) == 0 { // a torn or altered file
			f := files[rng.IntN(len(files))]
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			b[rng.IntN(len(b)-1)] ^= 1
			require.NoError(t, os.WriteFile(f, b[:len(b)-rng.IntN(2)], 0o600))
		}
	}
	res, err := sam.SegmentSlideWith(ctx, s, dir, o, findColours)
	require.NoError(t, err)
	assert.Equal(t, want, sums(t, dir))
	t.Logf("stopped %d times, %d of %d tiles resumed at the end", stopped, res.Resumed, res.Tiles)

	shards := t.TempDir()
	for i := range 3 {
		o.Shard, o.Shards = 2-i, 3
		res, err := sam.SegmentSlideWith(ctx, s, shards, o, findColours)
		require.NoError(t, err)
		assert.False(t, res.Merged)
		if i < 2 {
			o.Shard, o.Shards = 0, 0
			_, err = sam.MergeSlideWith(ctx, s, shards, o)
			require.ErrorIs(t, err, sam.ErrUnfinished)
		}
	}
	o.Shard, o.Shards = 0, 0
	_, err = sam.MergeSlideWith(ctx, s, shards, o)
	require.NoError(t, err)
	assert.Equal(t, want, sums(t, shards))

	o.Tile = 512
	_, err = sam.SegmentSlideWith(ctx, s, shards, o, findColours)
	assert.ErrorIs(t, err, sam.ErrOtherRun)
}

// TestTiles checks that cores fill the area once, windows have one size, and
// cores lie in them.
func TestTiles(t *testing.T) {
	for _, tt := range []struct {
		w, h       int
		tile, halo int
		region     image.Rectangle
	}{
		{1000, 700, 256, 32, image.Rectangle{}}, {200, 900, 256, 64, image.Rectangle{}}, {257, 257, 256, 0, image.Rectangle{}},
		{1000, 700, 256, 32, image.Rect(130, 250, 900, 601)}, {100, 80, 256, 32, image.Rectangle{}},
	} {
		s := sam.SlideFromImage(image.NewRGBA(image.Rect(0, 0, tt.w, tt.h)), 0)
		cores, windows, err := sam.TilesOf(context.Background(), s, sam.SegmentOptions{AllTiles: true, Tile: tt.tile, Halo: tt.halo, Region: tt.region})
		require.NoError(t, err)
		area := 0
		want := image.Rect(0, 0, tt.w, tt.h)
		for i, c := range cores {
			area += c.Dx() * c.Dy()
			assert.True(t, c.In(windows[i]))
			assert.True(t, windows[i].In(want))
			assert.Equal(t, image.Pt(min(tt.tile, tt.w), min(tt.tile, tt.h)), windows[i].Size())
			for _, d := range cores[:i] {
				assert.False(t, c.Overlaps(d))
			}
		}
		if tt.region != (image.Rectangle{}) {
			want = tt.region
		}
		assert.Equal(t, want.Dx()*want.Dy(), area)
	}
}

func TestTissue(t *testing.T) {
	ctx := context.Background()
	slide := synth.New(11, synth.Options{Width: 40_000, Height: 40_000})
	pic, truth := slide.Region(0, 0, 800, 800, 0.25*40_000/800)
	m, err := sam.TissueMask(ctx, sam.SlideFromImage(pic, 12.5))
	require.NoError(t, err)
	both, either := 0, 0
	for i, in := range truth.Tissue {
		x, y := i%800, i/800
		if in && m.At(x, y) {
			both++
		}
		if in || m.At(x, y) {
			either++
		}
	}
	t.Logf("IoU of tissue %.3f", float64(both)/float64(either))
	// The mask is widened by two pixels on purpose and closes small lumens.
	assert.Greater(t, float64(both)/float64(either), 0.85)

	white := image.NewRGBA(image.Rect(0, 0, 400, 300))
	for i := range white.Pix {
		white.Pix[i] = 244
	}
	m, err = sam.TissueMask(ctx, sam.SlideFromImage(white, 1))
	require.NoError(t, err)
	assert.Zero(t, m.Area(), "glass")
	full, _ := synth.New(11, synth.Options{Solid: true}).Region(20_000, 20_000, 600, 600, 2)
	m, err = sam.TissueMask(ctx, sam.SlideFromImage(full, 2))
	require.NoError(t, err)
	// Lumens and clefts are white.
	assert.Greater(t, m.Area(), 600*600*8/10, "no glass")
}

// TestOutputs reads what a run wrote with other readers: encoding/json and
// our own TIFF reader's structure is checked in other tests.
func TestOutputs(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s := sam.SlideFromImage(truth(), 0.25)
	var last sam.SegmentProgress
	res, err := sam.SegmentSlideWith(ctx, s, dir, sam.SegmentOptions{
		MPP: 0.25, AllTiles: true, Tile: 512, Halo: 64, Class: "nucleus", MinArea: 20, Region: image.Rect(300, 200, 1500, 1100),
		Progress: func(p sam.SegmentProgress) { last = p },
	}, findColours)
	require.NoError(t, err)
	assert.Equal(t, last.Done, last.Total)
	assert.Equal(t, res.Tiles, last.Total)
	b, err := os.ReadFile(filepath.Join(dir, sam.GeoJSONFile))
	require.NoError(t, err)
	var fc struct {
		Type     string
		Features []struct {
			ID         string
			Geometry   struct{ Type string }
			Properties struct {
				ObjectType     string
				Classification struct{ Name string }
				Measurements   map[string]float64
			}
		}
	}
	require.NoError(t, json.Unmarshal(b, &fc))
	assert.Equal(t, "FeatureCollection", fc.Type)
	require.Len(t, fc.Features, res.Objects)
	for _, f := range fc.Features {
		m := f.Properties.Measurements
		assert.InDelta(t, m["Area px^2"]*0.0625, m["Area µm^2"], 1e-3)
		assert.GreaterOrEqual(t, m["Area px^2"], 20.0)
		assert.Equal(t, "nucleus", f.Properties.Classification.Name)
	}
	labels, err := sam.OpenSlide(filepath.Join(dir, sam.LabelsFile))
	assert.ErrorContains(t, err, "32 bits", "labels are numbers, not colours: %v", labels)
}

func TestSegmentErrors(t *testing.T) {
	ctx, s := context.Background(), sam.SlideFromImage(image.NewRGBA(image.Rect(0, 0, 300, 300)), 0)
	for _, tt := range []struct {
		name string
		o    sam.SegmentOptions
		want string
	}{
		{"mpp", sam.SegmentOptions{MPP: 0.5}, "pixel size unknown"},
		{"tile", sam.SegmentOptions{Tile: 10}, "tile of 10"},
		{"halo", sam.SegmentOptions{Tile: 256, Halo: 100}, "halo of 100"},
		{"shard", sam.SegmentOptions{Shard: 2, Shards: 2}, "shard 2 of 2"},
		{"region", sam.SegmentOptions{AllTiles: true, Region: image.Rect(400, 400, 500, 500)}, "outside the slide"},
		{"prompts", sam.SegmentOptions{Everything: sam.EverythingOptions{Prompts: []sam.Prompt{{}}}}, "use Find"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := sam.SegmentSlideWith(ctx, s, t.TempDir(), tt.o, findColours)
			assert.ErrorContains(t, err, tt.want)
		})
	}
	broken := errors.New("the model fell asleep")
	_, err := sam.SegmentSlideWith(ctx, s, t.TempDir(), sam.SegmentOptions{AllTiles: true}, func(context.Context, *image.RGBA) ([]sam.Region, error) { return nil, broken })
	assert.ErrorIs(t, err, broken)
}

// FuzzTileFile reads altered tile files.
func FuzzTileFile(f *testing.F) {
	body := `{"plan":"x","tile":0,"objects":[{"box":[1,2,3,2],"runs":"141","iou":0.5,"stability":1,"point":[2,3],"cut":false}]}`
	f.Add([]byte(body))
	f.Add([]byte(`{"plan":"x","tile":0,"objects":[{"box":[0,0,9,9],"runs":"a"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := fmt.Appendf(nil, "%s\nsha256 %x\n", b, sha256.Sum256(b))
		n, err := sam.ParseTile(whole, 40, 30)
		if err == nil && n > len(b) {
			t.Fatalf("%d objects in %d bytes", n, len(b))
		}
	})
}
