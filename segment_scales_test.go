package sam_test

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
)

// truthPyramid is the picture of truth as a slide of 0.5 micrometres per
// pixel with levels of every second and fourth pixel, so that colours stay
// numbers of objects.
type truthPyramid struct{}

func (truthPyramid) Levels() (out []sam.SlideLevel) {
	for _, d := range []int{1, 2, 4} {
		out = append(out, sam.SlideLevel{W: truthSide / d, H: truthSide / d, TileW: 256, TileH: 256, Downsample: float64(d)})
	}
	return out
}

func (truthPyramid) ReadRegion(ctx context.Context, level int, at image.Point, dst *image.RGBA) error {
	d := 1 << level
	for y := range dst.Rect.Dy() {
		for x := range dst.Rect.Dx() {
			if p := image.Pt((at.X+x)*d+d/2, (at.Y+y)*d+d/2); p.In(truth().Rect) {
				dst.SetRGBA(x, y, truth().RGBAAt(p.X, p.Y))
			}
		}
	}
	return ctx.Err()
}

// fineAndCoarse are two scales that both look for everything; the coarse one
// leaves out what has few pixels there.
func fineAndCoarse() sam.SegmentOptions {
	return sam.SegmentOptions{
		AllTiles: true, Tile: 300, Halo: 60,
		Scales: []sam.SegmentScale{
			{MPP: 0.5, Class: "fine", Everything: sam.EverythingOptions{PointsPerSide: 60}},
			{MPP: 2, Class: "coarse, 2", MinArea: 30, Everything: sam.EverythingOptions{PointsPerSide: 75}},
		},
	}
}

// TestScales finds nuclei and glands in one run: nothing twice, nothing lost,
// nuclei in glands stay, and what the fine scale had to put together comes
// from the coarse one if that saw it whole.
func TestScales(t *testing.T) {
	ctx := context.Background()
	s, err := sam.NewSlide(truthPyramid{}, 0.5)
	require.NoError(t, err)
	dir := t.TempDir()
	res, err := segmentWith(ctx, s, dir, fineAndCoarse(), findColours)
	require.NoError(t, err)
	require.Len(t, res.Scales, 2)
	assert.Equal(t, []string{"coarse, 2", "fine"}, []string{res.Scales[0].Class, res.Scales[1].Class})
	assert.Equal(t, []string{"labels-2.tif", "labels-0.5.tif"}, []string{res.Scales[0].Labels, res.Scales[1].Labels})
	assert.Equal(t, res.Objects, res.Scales[0].Objects+res.Scales[1].Objects)
	assert.Equal(t, res.Tiles, res.Scales[0].Tiles+res.Scales[1].Tiles)

	alone := map[string]map[int]objectRow{}
	for _, sc := range fineAndCoarse().Scales {
		o, dir := fineAndCoarse(), t.TempDir()
		o.Scales = []sam.SegmentScale{sc}
		_, err := segmentWith(ctx, s, dir, o, findColours)
		require.NoError(t, err)
		alone[sc.Class] = byColour(t, readObjects(t, dir))
	}
	both := byColour(t, readObjects(t, dir))
	fromCoarse, nested := 0, 0
	for n, r := range both {
		fine, inFine := alone["fine"][n]
		coarse, inCoarse := alone["coarse, 2"][n]
		require.True(t, inFine || inCoarse)
		switch r.Class {
		case "fine":
			assert.Equal(t, fine, r)
			assert.Equal(t, 0.5, r.MPP)
			assert.True(t, !inCoarse || max(fine.W, fine.H) < 300, "object %d: %+v fits into no tile, coarse %+v", n, fine, coarse)
			if g := truth().RGBAAt(int(r.X), int(r.Y)); n < glandColour && int(g.B)>>4 == 1 {
				nested++
			}
		default:
			assert.Equal(t, coarse, r)
			assert.Equal(t, 2.0, r.MPP)
			fromCoarse++
			assert.True(t, !inFine || max(fine.W, fine.H) > 2*60, "object %d: %+v, fine %+v fits into a tile", n, r, fine)
		}
	}
	for class, rows := range alone {
		for n := range rows {
			assert.Contains(t, both, n, class)
		}
	}
	t.Logf("%d objects: %d of the fine scale's %d, %d of the coarse one's %d", res.Objects, res.Scales[1].Objects, len(alone["fine"]), fromCoarse, len(alone["coarse, 2"]))
	assert.Greater(t, fromCoarse, 3)
	assert.Greater(t, res.Scales[1].Objects, 1000)
}

// byColour sorts objects by what lies under the point that found them; no two
// may lie on one.
func byColour(t *testing.T, rows []objectRow) map[int]objectRow {
	out := map[int]objectRow{}
	for _, r := range rows {
		n := colourAt(truth(), int(r.PointX), int(r.PointY))
		_, twice := out[n]
		require.False(t, twice, "object %d: %+v and %+v", n, out[n], r)
		out[n] = r
	}
	return out
}

// TestScaleList checks that one scale in the list is the short form, that the
// order of the list does not matter, and what is refused.
func TestScaleList(t *testing.T) {
	ctx := context.Background()
	s, err := sam.NewSlide(truthPyramid{}, 0.5)
	require.NoError(t, err)
	run := func(o sam.SegmentOptions) map[string]string {
		dir := t.TempDir()
		_, err := segmentWith(ctx, s, dir, o, findColours)
		require.NoError(t, err)
		return sums(t, dir)
	}
	list := sam.SegmentOptions{AllTiles: true, Tile: 300, Halo: 60, Scales: []sam.SegmentScale{{MPP: 1, Class: "x", MinArea: 9, Everything: sam.EverythingOptions{PointsPerSide: 50}}}}
	short := sam.SegmentOptions{AllTiles: true, Tile: 300, Halo: 60, MPP: 1, Class: "x", MinArea: 9, Everything: sam.EverythingOptions{PointsPerSide: 50}}
	want := run(short)
	assert.Len(t, want, 4)
	assert.Equal(t, want, run(list))

	o := fineAndCoarse()
	want = run(o)
	assert.Len(t, want, 5)
	slices.Reverse(o.Scales)
	assert.Equal(t, want, run(o))

	for _, tt := range []struct {
		o    sam.SegmentOptions
		want string
	}{
		{sam.SegmentOptions{Class: "x", Scales: list.Scales}, "both Scales and one of MPP"},
		{sam.SegmentOptions{Scales: []sam.SegmentScale{{MPP: 0.5}, {}}}, "two scales of 0.5"},
		{sam.SegmentOptions{Scales: []sam.SegmentScale{{MPP: -1}}}, "want more than 0"},
	} {
		_, err := segmentWith(ctx, s, t.TempDir(), tt.o, findColours)
		assert.ErrorContains(t, err, tt.want)
	}
	bare := sam.SlideFromImage(truth(), 0)
	_, err = segmentWith(ctx, bare, t.TempDir(), fineAndCoarse(), findColours)
	assert.ErrorIs(t, err, sam.ErrNoMPP)
}

// labelFiles are the labels of a run.
func labelFiles(t *testing.T, dir string) []string {
	names, err := filepath.Glob(filepath.Join(dir, "labels*.tif"))
	require.NoError(t, err)
	require.NotEmpty(t, names, fmt.Sprint("no labels in ", dir))
	for i, n := range names {
		names[i] = filepath.Base(n)
	}
	return names
}

// TestDisjoint drops what lies in a better object, and nothing else.
func TestDisjoint(t *testing.T) {
	ctx, s := context.Background(), sam.SlideFromImage(image.NewRGBA(image.Rect(0, 0, 200, 200)), 0)
	box := func(r image.Rectangle, iou float32) sam.Region {
		m, err := sam.NewMask(sam.Size{H: 200, W: 200}, func(x, y int) bool { return image.Pt(x, y).In(r) })
		require.NoError(t, err)
		return sam.Region{Mask: m, IoUPred: iou, Point: sam.Point{X: float64(r.Min.X), Y: float64(r.Min.Y)}, Prompt: -1}
	}
	regions := []sam.Region{
		box(image.Rect(22, 22, 30, 30), 0.8), // in the next one
		box(image.Rect(20, 20, 60, 60), 0.9),
		box(image.Rect(45, 45, 70, 70), 0.7),   // overlaps it by less than half
		box(image.Rect(15, 15, 75, 75), 0.6),   // holds all
		box(image.Rect(100, 20, 140, 60), 0.5), // alone
	}
	for _, tt := range []struct {
		disjoint bool
		want     int
	}{{false, 5}, {true, 3}} {
		dir := t.TempDir()
		_, err := segmentWith(ctx, s, dir, sam.SegmentOptions{AllTiles: true, Disjoint: tt.disjoint}, func(context.Context, *image.RGBA, []sam.Point) ([]sam.Region, error) {
			return regions, nil
		})
		require.NoError(t, err)
		rows := readObjects(t, dir)
		assert.Len(t, rows, tt.want)
		if tt.disjoint {
			assert.Equal(t, []string{"[20 20 40 40]", "[45 45 25 25]", "[100 20 40 40]"}, []string{rows[0].Box, rows[1].Box, rows[2].Box})
			assert.Equal(t, 25.0*25-15*15, rows[1].Area, "without the pixels that the better one has")
			labels := readLabels(t, filepath.Join(dir, sam.LabelsFile))
			for i, r := range rows {
				assert.Equal(t, int(r.Area), labels[uint32(i+1)], "no pixel belongs to two")
			}
		}
	}
}

// TestDisjointTiles: what becomes of an object does not depend on seams. A
// loses to B, which loses to C, which another row of tiles finds later: A and
// C stay.
func TestDisjointTiles(t *testing.T) {
	const side = 600
	size := sam.Size{H: side, W: 200}
	s := sam.SlideFromImage(image.NewRGBA(image.Rect(0, 0, size.W, size.H)), 0)
	objects := []struct {
		r   image.Rectangle
		iou float32
	}{{image.Rect(50, 100, 60, 140), 0.7}, {image.Rect(50, 110, 60, 160), 0.8}, {image.Rect(50, 133, 60, 230), 0.9}}
	for _, tile := range []int{1024, 200} {
		o := sam.SegmentOptions{AllTiles: true, Disjoint: true, Tile: tile, Halo: 50}
		_, windows := tilesOf(t, s, o)
		at, dir := 0, t.TempDir()
		_, err := segmentWith(context.Background(), s, dir, o, func(context.Context, *image.RGBA, []sam.Point) (out []sam.Region, err error) {
			w := windows[at]
			at++
			for i, b := range objects {
				// The first row of tiles finds A and B, the second C.
				if len(windows) > 1 && (i < 2) != (at == 1) || at > 2 {
					continue
				}
				m, err := sam.NewMask(sam.Size{H: w.Dy(), W: w.Dx()}, func(x, y int) bool { return image.Pt(x, y).Add(w.Min).In(b.r) })
				if err != nil {
					return nil, err
				}
				y := b.r.Min.Y + 5
				if i == 2 {
					y = b.r.Max.Y - 5
				}
				out = append(out, sam.Region{Mask: m, IoUPred: b.iou, Point: sam.Point{X: 55 - float64(w.Min.X), Y: float64(y - w.Min.Y)}, Prompt: -1})
			}
			return out, nil
		})
		require.NoError(t, err)
		var tops []string
		for _, r := range readObjects(t, dir) {
			tops = append(tops, r.Box)
		}
		assert.Equal(t, []string{"[50 100 10 33]", "[50 133 10 97]"}, tops, "tiles of %d: %v", tile, windows)
	}
}
