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
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/synth"
)

// truthSide is the side of the picture of truth.
const truthSide = 1500

// glandColour is what the numbers of glands begin at.
const glandColour = 1 << 20

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
			n = glandColour + int(t.Glands[i])
		}
		pic.SetRGBA(i%truthSide, i/truthSide, color.RGBA{byte(n), byte(n >> 8), byte(n >> 16), 255})
	}
	return pic
})

// colours are the objects of a picture of truth: the box of each, in the
// order of their first pixels.
type colours struct {
	boxes map[int]*image.Rectangle
	order []int
}

// colourAt returns the number of the object at a pixel, 0 if there is none.
func colourAt(img *image.RGBA, x, y int) int {
	p := img.Pix[y*img.Stride+4*x:]
	return int(p[0]) | int(p[1])<<8 | int(p[2])<<16
}

func coloursOf(img *image.RGBA) colours {
	c := colours{boxes: map[int]*image.Rectangle{}}
	for y := range img.Rect.Dy() {
		for x, w := 0, img.Rect.Dx(); x < w; {
			n, x0 := colourAt(img, x, y), x
			for x < w && colourAt(img, x, y) == n {
				x++
			}
			switch b := c.boxes[n]; {
			case n == 0:
			case b == nil:
				c.boxes[n] = &image.Rectangle{Min: image.Pt(x0, y), Max: image.Pt(x, y+1)}
				c.order = append(c.order, n)
			default:
				*b = b.Union(image.Rect(x0, y, x, y+1))
			}
		}
	}
	return c
}

// findColours returns the region of each colour that a point lies on.
func findColours(_ context.Context, img *image.RGBA, points []sam.Point) ([]sam.Region, error) {
	size := sam.Size{H: img.Rect.Dy(), W: img.Rect.Dx()}
	boxes := coloursOf(img).boxes
	var out []sam.Region
	for _, p := range points {
		x, y := min(int(p.X), size.W-1), min(int(p.Y), size.H-1)
		n := colourAt(img, x, y)
		b := boxes[n]
		if b == nil {
			continue
		}
		delete(boxes, n)
		small, err := sam.NewMask(sam.Size{H: b.Dy(), W: b.Dx()}, func(x, y int) bool { return colourAt(img, x+b.Min.X, y+b.Min.Y) == n })
		if err != nil {
			return nil, err
		}
		m, err := small.Place(size, b.Min)
		if err != nil {
			return nil, err
		}
		out = append(out, sam.Region{Mask: m, IoUPred: 0.9, Stability: 0.95, Point: sam.Point{X: float64(x) + 0.5, Y: float64(y) + 0.5}, Prompt: -1})
	}
	return out, nil
}

// finder is a finder by the points that a model would decode.
func finder(find func(ctx context.Context, img *image.RGBA, points []sam.Point) ([]sam.Region, error)) sam.SlideFinder {
	return sam.SlideFinder{Name: "test", Find: func(ctx context.Context, img *image.RGBA, t sam.SlideTile) ([]sam.Region, error) {
		var points []sam.Point
		for _, p := range t.Prompts {
			points = append(points, p.Points[0])
		}
		return find(ctx, img, points)
	}}
}

// segmentWith is SegmentSlide with that finder.
func segmentWith(ctx context.Context, s *sam.Slide, dir string, o sam.SegmentOptions, find func(ctx context.Context, img *image.RGBA, points []sam.Point) ([]sam.Region, error)) (*sam.SegmentResult, error) {
	return sam.SegmentSlide(ctx, s, dir, finder(find), o)
}

// tilesOf lays out the tiles of a slide and returns core and window of each.
func tilesOf(t *testing.T, s *sam.Slide, o sam.SegmentOptions) (cores, windows []image.Rectangle) {
	_, err := sam.SegmentSlide(context.Background(), s, t.TempDir(), sam.SlideFinder{Name: "tiles", Find: func(_ context.Context, _ *image.RGBA, t sam.SlideTile) ([]sam.Region, error) {
		cores, windows = append(cores, t.Core), append(windows, t.Window)
		return nil, nil
	}}, o)
	require.NoError(t, err)
	return cores, windows
}

// findMiddles prompts each nucleus with its pixel nearest to the middle of
// what the tile shows of it, which tiles that cut it do not agree on.
func findMiddles(_ context.Context, img *image.RGBA, _ float64) ([]sam.Prompt, error) {
	c := coloursOf(img)
	var out []sam.Prompt
	for _, n := range c.order {
		if n >= glandColour {
			continue
		}
		b := *c.boxes[n]
		best, at := 1<<30, image.Point{}
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				dx, dy := 2*x+1-b.Min.X-b.Max.X, 2*y+1-b.Min.Y-b.Max.Y
				if d := dx*dx + dy*dy; d < best && colourAt(img, x, y) == n {
					best, at = d, image.Pt(x, y)
				}
			}
		}
		out = append(out, sam.Prompt{Points: []sam.Point{{X: float64(at.X) + 0.5, Y: float64(at.Y) + 0.5, Label: sam.Foreground}}})
	}
	return out, nil
}

// objectRow is a line of objects.csv.
type objectRow struct {
	Class          string
	MPP            float64
	X, Y           float64 // centroid
	Box            string
	W, H           float64
	Area           float64
	PointX, PointY float64
	Tiles          int
}

// readObjects reads objects.csv.
func readObjects(t *testing.T, dir string) []objectRow {
	f, err := os.Open(filepath.Join(dir, sam.CSVFile))
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	col := map[string]int{}
	for i, n := range rows[0] {
		col[n] = i
	}
	var out []objectRow
	for _, r := range rows[1:] {
		num := func(name string) float64 {
			if r[col[name]] == "" {
				return 0
			}
			v, err := strconv.ParseFloat(r[col[name]], 64)
			require.NoError(t, err)
			return v
		}
		out = append(out, objectRow{
			Class: r[col["class"]], MPP: num("mpp"), X: num("centroid_x"), Y: num("centroid_y"), Box: fmt.Sprint(r[col["box_x"] : col["box_h"]+1]),
			W: num("box_w"), H: num("box_h"), Area: num("area_px"), PointX: num("point_x"), PointY: num("point_y"), Tiles: int(num("tiles")),
		})
	}
	return out
}

// shapes counts objects by box and area.
func shapes(rows []objectRow) map[string]int {
	out := map[string]int{}
	for _, r := range rows {
		out[fmt.Sprint(r.Box, r.Area)]++
	}
	return out
}

// sums are the hashes of a run's outputs.
func sums(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	for _, n := range append(labelFiles(t, dir), sam.GeoJSONFile, sam.CSVFile, sam.OverlayFile) {
		b, err := os.ReadFile(filepath.Join(dir, n))
		require.NoError(t, err)
		out[n] = fmt.Sprintf("%x", sha256.Sum256(b))
	}
	return out
}

// TestSeams compares one tile over the whole picture with many small ones:
// the same objects, none cut, none twice, for points of a grid of one spacing
// and for prompts that finders of neighbouring tiles place differently. The
// points of the grid are decoded once each, though windows overlap.
func TestSeams(t *testing.T) {
	const spacing = 10
	ctx, s := context.Background(), sam.SlideFromImage(truth(), 0.5)
	for _, mode := range []string{"grid", "find"} {
		run := func(t *testing.T, tile, halo int) (res *sam.SegmentResult, rows []objectRow, decoded int) {
			dir := t.TempDir()
			o := sam.SegmentOptions{AllTiles: true, Tile: tile, Halo: halo}
			if mode == "find" {
				o.Find, o.FindName = findMiddles, mode
			} else {
				o.Everything.PointsPerSide = min(tile, truthSide) / spacing
			}
			res, err := segmentWith(ctx, s, dir, o, func(ctx context.Context, img *image.RGBA, points []sam.Point) ([]sam.Region, error) {
				decoded += len(points)
				return findColours(ctx, img, points)
			})
			require.NoError(t, err)
			return res, readObjects(t, dir), decoded
		}
		res, rows, once := run(t, 4096, 512)
		assert.Equal(t, 1, res.Tiles)
		want := shapes(rows)
		require.Greater(t, len(want), 1000, "objects")
		for _, tt := range []struct{ tile, halo int }{{1280, 160}, {500, 62}, {400, 40}, {300, 75}} {
			t.Run(fmt.Sprintf("%s/tile=%d/halo=%d", mode, tt.tile, tt.halo), func(t *testing.T) {
				res, rows, decoded := run(t, tt.tile, tt.halo)
				t.Logf("%d tiles, %d objects, %d prompts, with one tile %d", res.Tiles, res.Objects, decoded, once)
				assert.Equal(t, want, shapes(rows))
				if mode == "grid" {
					assert.Equal(t, once, decoded)
				}
			})
		}
	}
}

// TestGridOnSeams puts points of the grid on seams, where rounding decides:
// each is decoded once.
func TestGridOnSeams(t *testing.T) {
	const tile, wide = 768, 16_384
	s := sam.SlideFromImage(image.NewRGBA(image.Rect(0, 0, wide, 1)), 0)
	for _, side := range []int{11, 32, 41} {
		o := sam.SegmentOptions{AllTiles: true, Tile: tile, Halo: 128}
		o.Everything.PointsPerSide = side
		got, want := 0, 0
		_, err := segmentWith(context.Background(), s, t.TempDir(), o, func(_ context.Context, _ *image.RGBA, points []sam.Point) ([]sam.Region, error) {
			got += len(points)
			return nil, nil
		})
		require.NoError(t, err)
		for i := 0; (2*i+1)*tile < wide*2*side; i++ {
			want += side
		}
		assert.Equal(t, want, got, "%d points a side", side)
	}
}

// TestPointOnFarEdge: a grid of one's own may hold the slide's last corner.
func TestPointOnFarEdge(t *testing.T) {
	s := sam.SlideFromImage(image.NewRGBA(image.Rect(0, 0, 1000, 800)), 0)
	o := sam.SegmentOptions{AllTiles: true, Tile: 400, Halo: 50}
	o.Everything.PointGrids = [][]sam.Point{{{X: 1, Y: 1}}}
	got, dir := 0, t.TempDir()
	_, err := segmentWith(context.Background(), s, dir, o, func(_ context.Context, img *image.RGBA, points []sam.Point) ([]sam.Region, error) {
		got += len(points)
		var out []sam.Region
		for _, p := range points {
			m, err := sam.NewMask(sam.Size{W: img.Rect.Dx(), H: img.Rect.Dy()}, func(x, y int) bool { return x > img.Rect.Dx()-20 && y > img.Rect.Dy()-20 })
			if err != nil {
				return nil, err
			}
			out = append(out, sam.Region{Mask: m, Point: p, IoUPred: 0.9, Stability: 0.9, Prompt: -1, Crop: img.Rect})
		}
		return out, nil
	})
	require.NoError(t, err)
	assert.Equal(t, 1, got)
	assert.Len(t, readObjects(t, dir), 1)
}

// TestMaxArea: the bound is for what is put together from tiles as well.
func TestMaxArea(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 200, 600))
	for i := range len(img.Pix) / 4 {
		c := color.RGBA{A: 255}
		if image.Pt(i%200, i/200).In(image.Rect(50, 50, 60, 550)) {
			c.R = 1
		}
		img.SetRGBA(i%200, i/200, c)
	}
	s := sam.SlideFromImage(img, 0)
	for most, want := range map[int]int{0: 1, 2500: 0, 5000: 1} {
		dir := t.TempDir()
		_, err := segmentWith(context.Background(), s, dir, sam.SegmentOptions{AllTiles: true, Tile: 200, Halo: 50, MaxArea: most}, findColours)
		require.NoError(t, err)
		assert.Len(t, readObjects(t, dir), want, "at most %d pixels", most)
	}
}

// TestKilledRuns stops a run at random places, damages what lies there, and
// checks that the end is the same, bit for bit; so are shards. It does so for
// one scale and for several.
func TestKilledRuns(t *testing.T) {
	s, err := sam.NewSlide(truthPyramid{}, 0.5)
	require.NoError(t, err)
	t.Run("one", func(t *testing.T) {
		testKilled(t, s, sam.SegmentOptions{AllTiles: true, Tile: 640, Halo: 80, Class: "nucleus"})
	})
	t.Run("several", func(t *testing.T) {
		testKilled(t, s, sam.SegmentOptions{AllTiles: true, Tile: 640, Halo: 80, Scales: []sam.SegmentScale{
			{Class: "nucleus", MaxArea: 2000}, {MPP: 2, MinArea: 40, Class: "gland"}, {MPP: 1, MinArea: 30},
		}})
	})
}

func testKilled(t *testing.T, s *sam.Slide, o sam.SegmentOptions) {
	ctx := context.Background()
	plain := t.TempDir()
	_, err := segmentWith(ctx, s, plain, o, findColours)
	require.NoError(t, err)
	want := sums(t, plain)

	rng := rand.New(rand.NewPCG(4, 5))
	dir := t.TempDir()
	stopped := 0
	for range 40 {
		run, cancel := context.WithCancel(ctx)
		left := rng.IntN(3)
		_, err := segmentWith(run, s, dir, o, func(ctx context.Context, img *image.RGBA, ps []sam.Point) ([]sam.Region, error) {
			if left == 0 {
				cancel()
				return nil, ctx.Err()
			}
			left--
			return findColours(ctx, img, ps)
		})
		cancel()
		if err == nil {
			break
		}
		require.ErrorIs(t, err, context.Canceled)
		stopped++
		files, err := filepath.Glob(filepath.Join(dir, "tiles", "*", "*", "*.json"))
		require.NoError(t, err)
		if len(files) > 0 && rng.IntN(2) == 0 { // a torn or altered file
			f := files[rng.IntN(len(files))]
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			b[rng.IntN(len(b)-1)] ^= 1
			require.NoError(t, os.WriteFile(f, b[:len(b)-rng.IntN(2)], 0o600))
		}
	}
	res, err := segmentWith(ctx, s, dir, o, findColours)
	require.NoError(t, err)
	assert.Equal(t, want, sums(t, dir))
	t.Logf("stopped %d times, %d of %d tiles resumed at the end", stopped, res.Resumed, res.Tiles)

	shards := t.TempDir()
	for i := range 3 {
		o.Shard, o.Shards = 2-i, 3
		res, err := segmentWith(ctx, s, shards, o, findColours)
		require.NoError(t, err)
		assert.False(t, res.Merged)
		if i < 2 {
			o.Shard, o.Shards = 0, 0
			_, err = sam.MergeSlide(ctx, s, shards, finder(nil), o)
			require.ErrorIs(t, err, sam.ErrUnfinished)
		}
	}
	o.Shard, o.Shards = 0, 0
	_, err = sam.MergeSlide(ctx, s, shards, finder(nil), o)
	require.NoError(t, err)
	assert.Equal(t, want, sums(t, shards))

	o.Tile = 512
	_, err = segmentWith(ctx, s, shards, o, findColours)
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
		{256, 257, 256, 32, image.Rectangle{}}, {1000, 700, 256, 32, image.Rect(0, 250, 310, 700)}, {640, 448, 256, 32, image.Rectangle{}},
	} {
		s := sam.SlideFromImage(image.NewRGBA(image.Rect(0, 0, tt.w, tt.h)), 0)
		cores, windows := tilesOf(t, s, sam.SegmentOptions{AllTiles: true, Tile: tt.tile, Halo: tt.halo, Region: tt.region})
		area := 0
		want := image.Rect(0, 0, tt.w, tt.h)
		for i, c := range cores {
			area += c.Dx() * c.Dy()
			assert.True(t, c.In(windows[i]))
			assert.True(t, windows[i].In(want))
			assert.Equal(t, image.Pt(min(tt.tile, tt.w), min(tt.tile, tt.h)), windows[i].Size())
			assert.True(t, c.Inset(-tt.halo).Intersect(want).In(windows[i]), "a halo around %v in %v", c, windows[i])
			for _, d := range cores[:i] {
				assert.False(t, c.Overlaps(d))
			}
		}
		if tt.region != (image.Rectangle{}) {
			want = tt.region
		}
		assert.Equal(t, want.Dx()*want.Dy(), area)
		if tt.w <= tt.tile && tt.h <= tt.tile {
			assert.Len(t, cores, 1, "one tile shows all")
		}
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
	// The mask closes small lumens.
	assert.Greater(t, float64(both)/float64(either), 0.9)

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
	res, err := segmentWith(ctx, s, dir, sam.SegmentOptions{
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
		{"area", sam.SegmentOptions{MinArea: 9, MaxArea: 8}, "the least area first"},
		{"find without a name", sam.SegmentOptions{Find: sam.FindNuclei}, "need a FindName"},
		{"prompts", sam.SegmentOptions{Everything: sam.EverythingOptions{Prompts: []sam.Prompt{{}}}}, "use Find"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := segmentWith(ctx, s, t.TempDir(), tt.o, findColours)
			assert.ErrorContains(t, err, tt.want)
			assert.Equal(t, 1, strings.Count(err.Error(), "sam: "), "the package is named once: %v", err)
		})
	}
	broken := errors.New("the model fell asleep")
	_, err := segmentWith(ctx, s, t.TempDir(), sam.SegmentOptions{AllTiles: true}, func(context.Context, *image.RGBA, []sam.Point) ([]sam.Region, error) { return nil, broken })
	assert.ErrorIs(t, err, broken)
}

// TestPadded: a picture smaller than the model's input is seen at the
// resolution that was asked for, and not enlarged.
func TestPadded(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs the bundled model")
	}
	pic, truth := synth.New(9, synth.Options{Solid: true}).Region(20_000, 21_000, 256, 256, 0.25)
	whole := 0 // nuclei that do not touch the edge
	for _, n := range truth.List {
		if n.Area > 300 {
			whole++
		}
	}
	require.Greater(t, whole, 3)
	m, err := sam.Bundled()
	require.NoError(t, err)
	objects := map[bool]int{}
	for _, enlarge := range []bool{false, true} {
		o := sam.SegmentOptions{AllTiles: true, Find: sam.FindNuclei, FindName: "nuclei", Disjoint: true, Enlarge: enlarge}
		o.Everything.SingleMask, o.Everything.Local = true, true
		res, err := m.SegmentSlide(context.Background(), sam.SlideFromImage(pic, 0.25), t.TempDir(), o)
		require.NoError(t, err)
		objects[enlarge] = res.Objects
		t.Log(enlarge, res.Describe())
	}
	assert.GreaterOrEqual(t, objects[false], whole*3/4, "of %d", whole)
	assert.Greater(t, objects[false], objects[true], "seen four times as large")
}
