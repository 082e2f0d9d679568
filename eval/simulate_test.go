package eval_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

func drawSetting(t *rapid.T) eval.Setting {
	s := eval.Setting{
		Name:      rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"),
		Prompting: rapid.SampledFrom([]eval.Prompting{eval.PromptPoints, eval.PromptEachPoints, eval.PromptEachBox, eval.PromptClicks, eval.PromptGrid}).Draw(t, "prompting"),
		Positive:  rapid.IntRange(1, 5).Draw(t, "positive"),
		Negative:  rapid.IntRange(0, 5).Draw(t, "negative"),
		Place:     rapid.SampledFrom([]eval.Placement{"", eval.PlaceRandom, eval.PlaceCentre}).Draw(t, "place"),
		Erode:     rapid.IntRange(0, 3).Draw(t, "erode"),
		Near:      float64(rapid.IntRange(0, 3).Draw(t, "near")),
		Jitter:    rapid.Float64Range(0, 1).Draw(t, "jitter"),
		Clicks:    rapid.IntRange(1, 3).Draw(t, "clicks"),
		Grid:      rapid.IntRange(1, 5).Draw(t, "grid"),
		Joint:     rapid.Bool().Draw(t, "joint"),
	}
	s.Joint = s.Joint && s.Prompting != eval.PromptGrid
	return s
}

// Whatever the setting and the truth: the same again, positive points inside
// their target, negative ones outside of it and near when asked, boxes with an
// area inside the picture and a target, and the ceiling made of targets only.
func TestSimulateProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, w := rapid.IntRange(1, 16).Draw(t, "h"), rapid.IntRange(1, 16).Draw(t, "w")
		truth, s := drawLabels(t, h, w, "truth"), drawSetting(t)
		seed := rapid.Uint64().Draw(t, "seed")
		got, err := eval.Simulate(truth, s, seed, "picture")
		require.NoError(t, err)
		again, err := eval.Simulate(truth, s, seed, "picture")
		require.NoError(t, err)
		require.Equal(t, got, again)
		require.Len(t, got.Targets, len(got.Prompts))
		if s.Joint && s.Prompting != eval.PromptEachBox && s.Prompting != eval.PromptClicks {
			require.LessOrEqual(t, len(got.Prompts), 1)
		}
		at := func(p sam.Point) int32 {
			x, y := int(math.Floor(p.X)), int(math.Floor(p.Y))
			require.True(t, x >= 0 && y >= 0 && x < w && y < h, "%+v", p)
			return truth.Pix[y*w+x]
		}
		for i, p := range got.Prompts {
			if p.Box != nil {
				b := *p.Box
				require.True(t, b.X0 >= 0 && b.Y0 >= 0 && b.X1 <= float64(w) && b.Y1 <= float64(h), "%+v", b)
				require.True(t, b.X1-b.X0 >= 1-1e-9 && b.Y1-b.Y0 >= 1-1e-9, "%+v", b)
				require.Len(t, got.Targets[i], 1)
			}
			for _, q := range p.Points {
				v := at(q)
				switch {
				case q.Label == sam.Foreground && s.Prompting == eval.PromptGrid:
				case q.Label == sam.Foreground:
					require.NotZero(t, v)
					require.Contains(t, got.Targets[i], v)
				default:
					require.NotContains(t, got.Targets[i], v)
					if s.Near > 0 {
						best := math.Inf(1)
						for j, u := range truth.Pix {
							if u != 0 {
								best = min(best, math.Hypot(q.X-0.5-float64(j%w), q.Y-0.5-float64(j/w)))
							}
						}
						require.LessOrEqual(t, best, s.Near)
					}
				}
			}
		}
		oracle := got.Oracle(truth)
		for i, v := range oracle.Pix {
			require.True(t, v == 0 || v == truth.Pix[i])
		}
		if s.Prompting == eval.PromptEachBox || s.Prompting == eval.PromptEachPoints {
			require.Equal(t, truth, oracle)
		}
	})
}

func TestSimulateCounts(t *testing.T) {
	truth := eval.NewLabels(sam.Size{H: 40, W: 40})
	for y := range 10 {
		for x := range 10 {
			truth.Pix[(y+5)*40+x+5] = 3
			truth.Pix[(y+25)*40+x+22] = 8
		}
	}
	get := func(s eval.Setting) eval.Simulated {
		got, err := eval.Simulate(truth, s, 1, "p")
		require.NoError(t, err)
		return got
	}
	split := func(p sam.Prompt) (pos, neg int) {
		for _, q := range p.Points {
			if q.Label == sam.Foreground {
				pos++
			} else {
				neg++
			}
		}
		return pos, neg
	}
	joint, apart := eval.PaperSettings(true, 1), eval.PaperSettings(false, 1)
	one := get(joint[0])
	require.Len(t, one.Prompts, 1)
	assert.Len(t, one.Prompts[0].Points, 1)
	twenty := get(joint[1])
	require.Len(t, twenty.Prompts, 1)
	pos, neg := split(twenty.Prompts[0])
	assert.Equal(t, []int{10, 10}, []int{pos, neg})
	each := get(apart[1])
	require.Len(t, each.Prompts, 10)
	pos, neg = split(each.Prompts[4])
	assert.Equal(t, []int{1, 10}, []int{pos, neg})
	assert.Len(t, get(joint[2]).Prompts, 1)
	assert.Len(t, get(apart[2]).Prompts, 2)
	boxes := get(joint[3])
	require.Len(t, boxes.Prompts, 2)
	assert.Equal(t, sam.Box{X0: 5, Y0: 5, X1: 15, Y1: 15}, *boxes.Prompts[0].Box)
	// the middle of 10 x 10 pixels is any of four: the first in reading order
	centre := get(eval.Setting{Name: "c", Prompting: eval.PromptEachPoints, Positive: 1, Place: eval.PlaceCentre})
	assert.Equal(t, sam.Point{X: 9.5, Y: 9.5, Label: sam.Foreground}, centre.Prompts[0].Points[0])
	// eroded by 4 pixels, four pixels remain; by 100, still some
	for range 2 {
		for _, erode := range []int{4, 100} {
			e := get(eval.Setting{Name: fmt.Sprint(erode), Prompting: eval.PromptEachPoints, Positive: 9, Erode: erode})
			assert.Len(t, e.Prompts, 8)
			for _, p := range e.Prompts[:4] {
				assert.InDelta(t, 10, p.Points[0].X, 0.5)
				assert.InDelta(t, 10, p.Points[0].Y, 0.5)
			}
		}
	}
	other, err := eval.Simulate(truth, joint[1], 2, "p")
	require.NoError(t, err)
	assert.NotEqual(t, twenty, other)
	other, err = eval.Simulate(truth, joint[1], 1, "q")
	require.NoError(t, err)
	assert.NotEqual(t, twenty, other)
	grid := get(eval.Setting{Name: "g", Prompting: eval.PromptGrid, Grid: 4})
	assert.Len(t, grid.Prompts, 16)
	assert.Equal(t, sam.Point{X: 5, Y: 5, Label: sam.Foreground}, grid.Prompts[0].Points[0])
}

func TestSettingCheck(t *testing.T) {
	ok := eval.Setting{Name: "x", Prompting: eval.PromptPoints, Positive: 1}
	require.NoError(t, ok.Check())
	for name, f := range map[string]func(*eval.Setting){
		"no name":    func(s *eval.Setting) { s.Name = "" },
		"prompting":  func(s *eval.Setting) { s.Prompting = "magic" },
		"no points":  func(s *eval.Setting) { s.Positive = 0 },
		"placement":  func(s *eval.Setting) { s.Place = "left" },
		"jitter":     func(s *eval.Setting) { s.Jitter = math.NaN() },
		"clicks":     func(s *eval.Setting) { s.Prompting = eval.PromptClicks },
		"grid":       func(s *eval.Setting) { s.Prompting = eval.PromptGrid },
		"joint grid": func(s *eval.Setting) { s.Prompting, s.Grid, s.Joint = eval.PromptGrid, 2, true },
	} {
		t.Run(name, func(t *testing.T) {
			s := ok
			f(&s)
			require.Error(t, s.Check())
			_, err := eval.Simulate(eval.NewLabels(sam.Size{H: 2, W: 2}), s, 0, "")
			require.Error(t, err)
		})
	}
}

// A perfect corrector that fills or clears a neighbourhood of each click ends
// with the truth.
func TestNextClickConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		truth := drawLabels(t, 12, 12, "truth").Mask()
		pred := drawLabels(t, 12, 12, "prediction").Mask()
		for n := 0; ; n++ {
			require.LessOrEqual(t, n, 144)
			p, more, err := eval.NextClick(truth, pred, nil)
			require.NoError(t, err)
			if !more {
				break
			}
			x, y := int(p.X), int(p.Y)
			require.Equal(t, truth.At(x, y), p.Label == sam.Foreground)
			require.NotEqual(t, truth.At(x, y), pred.At(x, y))
			pred.Pix[y*12+x] = truth.At(x, y)
		}
		require.Equal(t, truth, pred)
	})
	_, _, err := eval.NextClick(eval.NewMask(sam.Size{H: 1, W: 2}), eval.NewMask(sam.Size{H: 2, W: 1}), nil)
	require.ErrorIs(t, err, eval.ErrSize)
	// a pixel clicked before is not clicked again
	truth := eval.Mask{H: 1, W: 3, Pix: []bool{true, false, false}}
	_, more, err := eval.NextClick(truth, eval.NewMask(sam.Size{H: 1, W: 3}), []sam.Point{{X: 0.5, Y: 0.5}})
	require.NoError(t, err)
	assert.False(t, more)
}

func ExampleSimulate() {
	truth := labels([]int32{1, 1, 0, 0, 2, 2}, []int32{1, 1, 0, 0, 2, 2})
	s, err := eval.Simulate(truth, eval.Setting{Name: "boxes", Prompting: eval.PromptEachBox}, 1, "example")
	if err != nil {
		panic(err)
	}
	for i, p := range s.Prompts {
		fmt.Println(s.Targets[i], *p.Box)
	}
	// Output:
	// [1] {0 0 2 2}
	// [2] {4 0 6 2}
}
