package sam_test

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
)

// generatorCase is one run of segment_anything's generator.
type generatorCase struct {
	Name          string
	Model         string
	Seed          uint64
	Size          golden.Size
	PictureSeed   uint64 `json:"picture_seed"`
	Formula       bool
	MaskThreshold float64 `json:"mask_threshold"`
	Options       struct {
		PointsPerSide        int            `json:"points_per_side"`
		PointsPerBatch       int            `json:"points_per_batch"`
		PredIoUThresh        *float64       `json:"pred_iou_thresh"`
		StabilityScoreThresh *float64       `json:"stability_score_thresh"`
		StabilityScoreOffset float64        `json:"stability_score_offset"`
		BoxNMSThresh         float64        `json:"box_nms_thresh"`
		CropNLayers          int            `json:"crop_n_layers"`
		CropNMSThresh        float64        `json:"crop_nms_thresh"`
		CropOverlapRatio     float64        `json:"crop_overlap_ratio"`
		CropDownscale        int            `json:"crop_n_points_downscale_factor"`
		PointGrids           [][][2]float64 `json:"point_grids"`
		MinMaskRegionArea    int            `json:"min_mask_region_area"`
	}
}

func (c generatorCase) options() sam.EverythingOptions {
	o := c.Options
	out := sam.EverythingOptions{
		PointsPerSide: o.PointsPerSide, PointsPerBatch: o.PointsPerBatch, StabilityScoreOffset: o.StabilityScoreOffset,
		MaskThreshold: c.MaskThreshold, BoxNMSThresh: o.BoxNMSThresh, CropNLayers: o.CropNLayers, CropNMSThresh: o.CropNMSThresh,
		CropOverlapRatio: o.CropOverlapRatio, CropNPointsDownscaleFactor: o.CropDownscale, MinMaskRegionArea: o.MinMaskRegionArea,
	}
	// The original's 0 is no filter, ours the default.
	filter := func(v *float64) float64 {
		switch {
		case v == nil:
			return 0
		case *v <= 0:
			return -1
		}
		return *v
	}
	out.PredIoUThresh, out.StabilityScoreThresh = filter(o.PredIoUThresh), filter(o.StabilityScoreThresh)
	for _, g := range o.PointGrids {
		var ps []sam.Point
		for _, p := range g {
			ps = append(ps, sam.Point{X: p[0], Y: p[1], Label: sam.Foreground})
		}
		out.PointGrids = append(out.PointGrids, ps)
	}
	return out
}

func splitmix(z uint64) uint64 {
	z += 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// formula draws the masks of reference/everything.py.
func formula(low, frame int, seed uint64) sam.DrawnMasks {
	return sam.DrawnMasks{Low: low, Frame: frame, Draw: func(px, py float64, k int) ([]float32, float32) {
		qx, qy := uint64(math.Floor(px*16+0.5)), uint64(math.Floor(py*16+0.5))
		h := splitmix(qx*0x1000003 + qy*0x10001 + uint64(k)*977 + seed*0x9E3779B1)
		r := int(2 + h%5 + 3*uint64(k))
		cx := int(px*float64(low)/float64(frame)) + int((h>>8)%3) - 1
		cy := int(py*float64(low)/float64(frame)) + int((h>>16)%3) - 1
		v := make([]float32, low*low)
		sq := func(x int) int { return x * x }
		for i := range v {
			x, y := i%low, i/low
			a := r*r - sq(x-cx) - sq(y-cy)
			if h>>20&1 != 0 && sq(x-cx-1)+sq(y-cy) <= 1 {
				a = -16
			}
			if h>>21&1 != 0 && sq(x-cx-r-3)+sq(y-cy) <= 1 {
				a = 16
			}
			v[i] = float32(a)/4 + 0.0337
		}
		return v, float32(0.7 + float64(h>>32&0xFFFF)/65536*0.35)
	}}
}

func ints(t *testing.T, f *golden.File, name string) []int {
	x, err := f.Float32s(name)
	require.NoError(t, err)
	out := make([]int, len(x.Data))
	for i, v := range x.Data {
		out[i] = int(v)
	}
	return out
}

func generatorCases(t *testing.T) (*golden.File, []generatorCase) {
	f, err := golden.Load("everything")
	require.NoError(t, err)
	var meta struct {
		What  string
		Cases []generatorCase
	}
	require.NoError(t, f.Meta(&meta))
	require.Len(t, meta.Cases, 11)
	return f, meta.Cases
}

// TestEverythingParity compares with segment_anything's generator: the same
// masks in the same order.
func TestEverythingParity(t *testing.T) {
	f, cases := generatorCases(t)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			ctx := context.Background()
			model, err := golden.LoadModel(c.Model)
			require.NoError(t, err)
			var got []sam.Region
			if c.Formula {
				got, err = sam.EverythingFrom(ctx, formula(4*model.Config.Grid(), model.Config.ImgSize, c.Seed), sam.Size(c.Size), c.options())
			} else {
				m, e := sam.NewRandom(configOf(model.Config), c.Seed)
				require.NoError(t, e)
				got, err = m.Everything(ctx, golden.Picture(c.Size, c.PictureSeed), c.options())
			}
			require.NoError(t, err)
			compareRegions(t, f, c, got)
		})
	}
}

func compareRegions(t *testing.T, f *golden.File, c generatorCase, got []sam.Region) {
	iou, err := f.Float32s(c.Name + "/iou")
	require.NoError(t, err)
	stability, err := f.Float32s(c.Name + "/stability")
	require.NoError(t, err)
	point, err := f.Float32s(c.Name + "/point")
	require.NoError(t, err)
	bbox, crop, area := ints(t, f, c.Name+"/bbox"), ints(t, f, c.Name+"/crop"), ints(t, f, c.Name+"/area")
	counts, runs := ints(t, f, c.Name+"/counts"), ints(t, f, c.Name+"/runs")
	require.Len(t, got, len(iou.Data))
	worst, flipped := 0.0, 0
	for i, r := range got {
		// Float32 sums in another order: predicted IoU agrees to 1e-4, the
		// bound that the project sets itself; stability is a ratio of counts.
		assert.InDelta(t, iou.Data[i], r.IoUPred, 1e-4, "mask %d", i)
		want := float64(stability.Data[i])
		if math.IsNaN(want) { // nothing above the lower threshold
			want = 0
		}
		assert.InDelta(t, want, r.Stability, 1e-4, "mask %d", i)
		worst = max(worst, math.Abs(want-float64(r.Stability)), math.Abs(float64(iou.Data[i]-r.IoUPred)))
		assert.Equal(t, [4]int(bbox[4*i:4*i+4]), r.BBox(), "mask %d", i)
		assert.Equal(t, crop[4*i:4*i+4], []int{r.Crop.Min.X, r.Crop.Min.Y, r.Crop.Dx(), r.Crop.Dy()}, "mask %d", i)
		assert.InDelta(t, float64(point.Data[2*i]), r.Point.X, 1e-4)
		assert.InDelta(t, float64(point.Data[2*i+1]), r.Point.Y, 1e-4)
		mask, err := sam.MaskFromRLE(sam.RLE{Size: sam.Size(c.Size), Counts: counts[:runs[i]]})
		require.NoError(t, err)
		counts = counts[runs[i]:]
		require.Equal(t, area[i], mask.Area())
		if !c.Formula {
			// A logit within rounding of the threshold may fall on its other
			// side: no more than one pixel in ten thousand of the picture.
			flips := r.Mask.Area() + mask.Area() - 2*intersection(r.Mask, mask)
			flipped += flips
			assert.LessOrEqual(t, float64(flips), math.Ceil(maskShare*float64(c.Size.H*c.Size.W)), "mask %d", i)
			continue
		}
		assert.Equal(t, mask.RLE(), r.Mask.RLE(), "mask %d", i)
	}
	t.Logf("%d masks, scores within %.1e, %d pixels differ in all", len(got), worst, flipped)
}

func intersection(a, b *sam.Mask) int {
	n := 0
	for r := range a.Runs() {
		for x := r.X0; x < r.X1; x++ {
			if b.At(x, r.Y) {
				n++
			}
		}
	}
	return n
}

// TestEverythingBatches checks that the batch size does not change anything,
// and that an embedding serves as well as the picture.
func TestEverythingBatches(t *testing.T) {
	_, cases := generatorCases(t)
	c := cases[0]
	model, err := golden.LoadModel(c.Model)
	require.NoError(t, err)
	m, err := sam.NewRandom(configOf(model.Config), c.Seed)
	require.NoError(t, err)
	ctx, pic := context.Background(), golden.Picture(c.Size, c.PictureSeed)
	want, err := m.Everything(ctx, pic, c.options())
	require.NoError(t, err)
	for _, n := range []int{1, 3, 64, 1000} {
		o := c.options()
		o.PointsPerBatch = n
		last := 0
		o.Progress = func(done, total int) {
			assert.Equal(t, 64, total)
			assert.Equal(t, min(last+n, 64), done)
			last = done
		}
		got, err := m.Everything(ctx, pic, o)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, 64, last)
	}
	e, err := m.Embed(ctx, pic)
	require.NoError(t, err)
	got, err := m.EverythingIn(ctx, e, c.options())
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestEverythingPrompts(t *testing.T) {
	s := sam.Size{H: 200, W: 300}
	d := formula(32, 64, 5)
	prompts := []sam.Prompt{
		{Points: []sam.Point{{X: 40, Y: 50, Label: sam.Foreground}}},
		{Points: []sam.Point{{X: 250, Y: 150, Label: sam.Foreground}}},
	}
	got, err := sam.EverythingFrom(context.Background(), d, s, sam.EverythingOptions{Prompts: prompts, CropNLayers: 1, PredIoUThresh: -1, StabilityScoreThresh: -1, BoxNMSThresh: 2})
	require.NoError(t, err)
	require.NotEmpty(t, got)
	for _, r := range got {
		assert.Equal(t, prompts[r.Prompt].Points[0], r.Point)
		at := image.Pt(int(r.Point.X), int(r.Point.Y))
		assert.True(t, at.In(r.Crop), "%v in %v", at, r.Crop)
	}
}

func TestEverythingLocal(t *testing.T) {
	m := tinyModel(t, 3)
	box := sam.Prompt{Box: &sam.Box{X0: 30, Y0: 20, X1: 90, Y1: 60}}
	for _, o := range []sam.EverythingOptions{{PointsPerSide: 9}, {PointsPerSide: 5, CropNLayers: 1}, {Prompts: []sam.Prompt{box}}} {
		o.PredIoUThresh, o.StabilityScoreThresh, o.BoxNMSThresh, o.CropNMSThresh = -1, -1, 2, 2
		whole, err := m.Everything(context.Background(), picture(), o)
		require.NoError(t, err)
		o.Local = true
		local, err := m.Everything(context.Background(), picture(), o)
		require.NoError(t, err)
		type key struct {
			at    sam.Point
			crop  image.Rectangle
			score float32
		}
		of := map[key]sam.Region{} // fewer pieces of masks are near a crop's edge, so some are new
		for _, r := range local {
			of[key{r.Point, r.Crop, r.IoUPred}] = r
		}
		less := 0
		for _, r := range whole {
			p := sam.Prompt{Points: []sam.Point{r.Point}}
			if o.Prompts != nil {
				p = o.Prompts[r.Prompt]
			}
			want, err := r.Mask.On(p)
			require.NoError(t, err)
			got, ok := of[key{r.Point, r.Crop, r.IoUPred}]
			require.True(t, ok)
			assert.True(t, want.Equal(got.Mask))
			assert.Equal(t, r.Stability, got.Stability)
			less += r.Mask.Area() - got.Mask.Area()
		}
		assert.Positive(t, less, "%+v", o)
	}
}

// TestEverythingFloor: masks that the filter by predicted IoU drops are not
// upscaled; those that stay are as they are without the filter.
func TestEverythingFloor(t *testing.T) {
	m := tinyModel(t, 3)
	o := sam.EverythingOptions{PointsPerSide: 4, PredIoUThresh: -1, StabilityScoreThresh: -1, BoxNMSThresh: 2}
	all, err := m.Everything(context.Background(), picture(), o)
	require.NoError(t, err)
	require.Len(t, all, 48)
	seen := map[int]bool{}
	for _, at := range []int{0, 1, 5, 24, 47} { // by falling predicted IoU
		if all[at].IoUPred <= 0 {
			break
		}
		o.PredIoUThresh = float64(all[at].IoUPred)
		var want []sam.Region
		for _, r := range all {
			if r.IoUPred > all[at].IoUPred {
				want = append(want, r)
			}
		}
		got, err := m.Everything(context.Background(), picture(), o)
		require.NoError(t, err)
		require.Len(t, got, len(want))
		for i := range want {
			assert.Equal(t, want[i], got[i])
		}
		seen[len(want)] = true
	}
	assert.GreaterOrEqual(t, len(seen), 3)
}

func TestEverythingErrors(t *testing.T) {
	d, s := formula(32, 64, 5), sam.Size{H: 50, W: 60}
	for _, tt := range []struct {
		name string
		o    sam.EverythingOptions
		want string
	}{
		{"negative", sam.EverythingOptions{CropNLayers: -1}, "CropNLayers is -1"},
		{"grid", sam.EverythingOptions{PointsPerSide: 1e6}, "at most"},
		{"both", sam.EverythingOptions{PointsPerSide: 3, PointGrids: [][]sam.Point{{{X: 0.5, Y: 0.5}}}}, "both"},
		{"outside", sam.EverythingOptions{PointGrids: [][]sam.Point{{{X: 1.5, Y: 0.5}}}}, "want 0 to 1"},
		{"layers", sam.EverythingOptions{CropNLayers: 1, PointGrids: [][]sam.Point{{{X: 0.5, Y: 0.5}}}}, "1 point grids"},
		{"none left", sam.EverythingOptions{CropNLayers: 2, PointsPerSide: 3, CropNPointsDownscaleFactor: 2}, "no point left"},
		{"nan", sam.EverythingOptions{BoxNMSThresh: math.NaN()}, "BoxNMSThresh is NaN"},
		{"prompts", sam.EverythingOptions{PointsPerSide: 4, Prompts: []sam.Prompt{{}}}, "both Prompts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := sam.EverythingFrom(context.Background(), d, s, tt.o)
			assert.ErrorContains(t, err, tt.want)
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := sam.EverythingFrom(ctx, d, s, sam.EverythingOptions{})
	assert.ErrorIs(t, err, context.Canceled)
}

func ExampleModel_Everything() {
	model, err := golden.LoadModel("small_a")
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := sam.NewRandom(configOf(model.Config), 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	pic := golden.Picture(golden.Size{H: 60, W: 90}, 5001)
	regions, err := m.Everything(context.Background(), pic, sam.EverythingOptions{
		PointsPerSide: 3, PredIoUThresh: -1, StabilityScoreThresh: -1, BoxNMSThresh: 0.95, MaskThreshold: 0.32,
	})
	fmt.Println(len(regions), "objects", err)
	// Output: 24 objects <nil>
}

// TestRegionRecord writes one region in the three forms.
func TestRegionRecord(t *testing.T) {
	m, err := sam.NewMask(sam.Size{H: 2, W: 3}, func(x, y int) bool { return x+y == 1 || x+y == 2 })
	require.NoError(t, err)
	r := sam.Region{Mask: m, IoUPred: 0.5, Stability: 0.25, Point: sam.Point{X: 1.5, Y: 1}, Crop: image.Rect(0, 0, 3, 2)}
	b, err := json.Marshal(r.Record(sam.FormRLE))
	require.NoError(t, err)
	assert.JSONEq(t, `{"segmentation":{"size":[2,3],"counts":[1,4,1]},"area":4,"bbox":[0,0,2,1],"predicted_iou":0.5,`+
		`"point_coords":[[1.5,1]],"stability_score":0.25,"crop_box":[0,0,3,2]}`, string(b))
	b, err = json.Marshal(r.Record(sam.FormCompressedRLE).Segmentation)
	require.NoError(t, err)
	assert.JSONEq(t, `{"size":[2,3],"counts":"141"}`, string(b))
	b, err = json.Marshal(r.Record(sam.FormBinary).Segmentation)
	require.NoError(t, err)
	assert.JSONEq(t, `[[0,1,1],[1,1,0]]`, string(b))
}
