package wholeslide_test

import (
	"context"
	"encoding/csv"
	"image"
	"image/color"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/wholeslide"
	"github.com/slidesam/sam/internal/wsi"
)

// twoStains is a slide of squares of the first stain, 15 pixels wide and 20
// apart, on the second, whose amount rises from left to right.
func twoStains(a, b [3]float64) *wsi.Slide {
	pic := image.NewRGBA(image.Rect(0, 0, 400, 400))
	for y := range 400 {
		for x := range 400 {
			first, second := 0.05, 0.2+float64(x)/1000
			if x%20 < 15 && y%20 < 15 {
				first = 0.5 + float64(y)/1000
			}
			var c [3]uint8
			for i := range c {
				c[i] = uint8(math.Round(256*math.Pow(10, -first*a[i]-second*b[i]) - 1))
			}
			pic.SetRGBA(x, y, color.RGBA{c[0], c[1], c[2], 255})
		}
	}
	return wsi.FromImage(pic, 0.5, 0.5)
}

// shown records the colours that a finder of the squares was shown, by place on
// the slide.
type shown struct {
	sync.Mutex
	at map[image.Point]color.RGBA
}

func (s *shown) find(_ context.Context, img *image.RGBA, t wholeslide.Tile) ([]wholeslide.Object, wholeslide.Tally, error) {
	s.Lock()
	defer s.Unlock()
	var out []wholeslide.Object
	for i := range 400 {
		p := image.Pt(i%20*20+7, i/20*20+7)
		if !p.In(t.Core) {
			continue
		}
		q := p.Sub(t.Window.Min)
		s.at[p] = img.RGBAAt(q.X, q.Y)
		m, err := mask.New(mask.Size{H: img.Rect.Dy(), W: img.Rect.Dx()}, func(x, y int) bool {
			return image.Pt(x, y).In(image.Rect(q.X-7, q.Y-7, q.X+8, q.Y+8))
		})
		if err != nil {
			return nil, wholeslide.Tally{}, err
		}
		// What is found depends on the colours.
		out = append(out, wholeslide.Object{Mask: m, IoUPred: 0.6 + float32(s.at[p].R)/1000, Stability: 1, Pt: wholeslide.Point{X: float64(q.X), Y: float64(q.Y)}})
	}
	return out, wholeslide.Tally{Masks: len(out)}, nil
}

// TestNormalise: the finder is shown the slide in other stains, the same ones in
// every tile, shard and region, while what is measured is the slide itself.
func TestNormalise(t *testing.T) {
	pink := twoStains([3]float64{0.373, 0.770, 0.517}, [3]float64{0.144, 0.873, 0.467})
	var saw *shown
	plan := func(s *wsi.Slide, normalise bool, shard, shards int, region image.Rectangle) *wholeslide.Plan {
		saw = &shown{at: map[image.Point]color.RGBA{}}
		p, err := wholeslide.New(t.Context(), s, wholeslide.Options{
			Scales: []wholeslide.Scale{{Find: saw.find, Normalise: normalise}}, Tile: 128, Halo: 20, Shard: shard, Shards: shards, Region: region,
		})
		require.NoError(t, err)
		return p
	}
	everywhere := image.Rectangle{}
	run := func(s *wsi.Slide, p *wholeslide.Plan, dir string) (*wholeslide.Result, map[string]string) {
		_, err := p.Run(t.Context(), s, dir, nil)
		require.NoError(t, err)
		res, err := p.Merge(t.Context(), s, dir)
		require.NoError(t, err)
		return res, outputs(t, dir)
	}
	plain, dir := t.TempDir(), t.TempDir()
	was, before := run(pink, plan(pink, false, 0, 1, everywhere), plain)
	raw := saw.at
	is, after := run(pink, plan(pink, true, 0, 1, everywhere), dir)
	normal := saw.at
	require.Equal(t, 400, was.Objects)
	require.Equal(t, 400, is.Objects)
	assert.Empty(t, is.Doubts)
	require.Len(t, is.Notes, 1)
	assert.Contains(t, is.Notes[0], "they were normalised before it was searched")
	assert.Contains(t, after[wholeslide.SummaryFile], is.Notes[0])
	p := image.Pt(207, 207)
	assert.Less(t, normal[p].R, raw[p].R-20, "more red is taken by the training set's haematoxylin")
	assert.Equal(t, stainColumns(t, before), stainColumns(t, after), "of the slide as it is")
	assert.NotEqual(t, before[wholeslide.CSVFile], after[wholeslide.CSVFile])

	_, err := plan(pink, false, 0, 1, everywhere).Run(t.Context(), pink, dir, nil)
	require.ErrorIs(t, err, wholeslide.ErrOtherRun)
	_, resumed := run(pink, plan(pink, true, 0, 1, everywhere), dir)
	assert.Equal(t, after, resumed)
	assert.Empty(t, saw.at, "nothing is left to do")

	parts := t.TempDir()
	for i := range 3 {
		_, err := plan(pink, true, 2-i, 3, everywhere).Run(t.Context(), pink, parts, nil)
		require.NoError(t, err)
	}
	_, err = plan(pink, true, 0, 1, everywhere).Merge(t.Context(), pink, parts)
	require.NoError(t, err)
	assert.Equal(t, after, outputs(t, parts))

	run(pink, plan(pink, true, 0, 1, image.Rect(190, 190, 260, 260)), t.TempDir())
	require.NotEmpty(t, saw.at)
	for p, c := range saw.at {
		assert.Equal(t, normal[p], c, "%v in a region", p)
	}

	// What the model copes with stays.
	usual := twoStains([3]float64{0.65, 0.70, 0.29}, [3]float64{0.32, 0.86, 0.40})
	_, before = run(usual, plan(usual, false, 0, 1, everywhere), t.TempDir())
	res, after := run(usual, plan(usual, true, 0, 1, everywhere), t.TempDir())
	assert.Equal(t, before, after)
	assert.Empty(t, append(res.Notes, res.Doubts...))

	brown := twoStains([3]float64{0.65, 0.70, 0.29}, [3]float64{0.27, 0.57, 0.78})
	run(brown, plan(brown, false, 0, 1, everywhere), t.TempDir())
	raw = saw.at
	res, files := run(brown, plan(brown, true, 0, 1, everywhere), t.TempDir())
	assert.Equal(t, raw, saw.at)
	require.NotEmpty(t, res.Doubts)
	assert.Contains(t, res.Doubts[0], "no haematoxylin and eosin: its stains are")
	assert.Contains(t, files[wholeslide.SummaryFile], "in the colours that it has")
}

// stainColumns are the amounts of stain of all objects.
func stainColumns(t *testing.T, files map[string]string) []float64 {
	rows, err := csv.NewReader(strings.NewReader(files[wholeslide.CSVFile])).ReadAll()
	require.NoError(t, err)
	var out []float64
	for _, r := range rows[1:] {
		for i, name := range rows[0] {
			if strings.HasSuffix(name, "_od") {
				v, err := strconv.ParseFloat(r[i], 64)
				require.NoError(t, err)
				out = append(out, v)
			}
		}
	}
	require.Len(t, out, 2*(len(rows)-1))
	return out
}
