package zeroshot

import (
	"context"
	"fmt"

	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/internal/synth"
)

// synthetic is a data set of pictures that never existed, drawn when asked.
type synthetic struct {
	name  string
	tasks []synthTask
	per   int // pictures per task
}

// synthTask is one column of the table.
type synthTask struct {
	name string
	mpp  float64
	side int // pixels
	of   func(t *synth.Truth) eval.Labels
	near func(t *synth.Truth, i int) bool // whether a coarse pixel has some of it
}

// firstSlide is a seed beyond those that the bundled model was trained on.
const firstSlide = 900_000_000

// syntheticSets returns the three tasks of the paper: tumour on whole regions
// at 0.5x, tissue (glands) at 5x, 10x and 40x, nuclei at 40x.
func syntheticSets(per int) []*synthetic {
	regions := func(m []bool, h, w int) eval.Labels { return eval.Parts(eval.Mask{H: h, W: w, Pix: m}) }
	tumour := func(t *synth.Truth) eval.Labels { return regions(t.Tumour, t.H, t.W) }
	glands := func(t *synth.Truth) eval.Labels { return eval.Labels{H: t.H, W: t.W, Pix: t.Glands} }
	nuclei := func(t *synth.Truth) eval.Labels { return eval.Labels{H: t.H, W: t.W, Pix: t.Nuclei} }
	inTumour := func(t *synth.Truth, i int) bool { return t.Tumour[i] }
	inGland := func(t *synth.Truth, i int) bool { return t.Glands[i] != 0 }
	return []*synthetic{
		{name: "tumour", per: per, tasks: []synthTask{{"tumour", 20, 512, tumour, inTumour}}},
		{name: "tissue", per: per, tasks: []synthTask{{"glands", 2, 512, glands, inGland}, {"glands", 1, 512, glands, inGland}, {"glands", 0.25, 512, glands, inGland}}},
		{name: "nuclei", per: per, tasks: []synthTask{{"nuclei", 0.25, 256, nuclei, inTumour}}},
	}
}

func (s *synthetic) Name() string { return "synthetic " + s.name }
func (s *synthetic) Len() int     { return s.per * len(s.tasks) }

func (s *synthetic) Item(i int) eval.Item {
	t, k := s.tasks[i/s.per], i%s.per
	slide := fmt.Sprintf("slide %d", firstSlide+k)
	return eval.Item{ID: fmt.Sprintf("%s, %s at %.3gx", slide, t.name, eval.MagnificationMPP(t.mpp)), Group: slide, Task: t.name}
}

// Load draws one region of a slide: of places in a fixed order, the first where
// a coarse view of the slide shows enough of what is asked for, or else the
// place with the most.
func (s *synthetic) Load(ctx context.Context, i int) (*eval.Picture, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, k := s.tasks[i/s.per], i%s.per
	slide := synth.New(firstSlide+uint64(k), synth.Options{})
	full := int(slideSide / t.mpp)
	room := max(0, full-t.side)
	side := min(t.side, full)
	_, map0 := slide.Region(0, 0, slideSide/coarse, slideSide/coarse, coarse)
	view := coarseMask{map0.H, map0.W, func(i int) bool { return t.near(map0, i) }}
	bestX, bestY, best := 0, 0, -1.0
	for try := range 400 {
		x := int(float64(room) * frac(0.5+float64(try)*0.7548776662)) // evenly over the slide
		y := int(float64(room) * frac(0.5+float64(try)*0.5698402910))
		share := view.share(float64(x)*t.mpp, float64(y)*t.mpp, float64(side)*t.mpp)
		if share > 0.6 { // next to nothing outside
			share = 0.6 - share
		}
		if share > best {
			bestX, bestY, best = x, y, share
		}
		if share >= 0.25 {
			break
		}
	}
	img, truth := slide.Region(bestX, bestY, side, side, t.mpp)
	return &eval.Picture{Item: s.Item(i), Image: img, Truth: t.of(truth), MPP: t.mpp}, nil
}

const (
	slideSide = 25000 // micrometres: 100,000 pixels of 0.25
	coarse    = 50    // micrometres a pixel of the coarse view
)

// coarseMask is where the coarse view has something.
type coarseMask struct {
	h, w int
	in   func(i int) bool
}

// share returns the part of a square that has something; lengths are
// micrometres.
func (c coarseMask) share(x, y, side float64) float64 {
	x0, y0 := int(x/coarse), int(y/coarse)
	n := max(1, int(side/coarse))
	hit, all := 0, 0
	for yy := y0; yy < min(y0+n, c.h); yy++ {
		for xx := x0; xx < min(x0+n, c.w); xx++ {
			all++
			if c.in(yy*c.w + xx) {
				hit++
			}
		}
	}
	return float64(hit) / float64(max(all, 1))
}

func frac(v float64) float64 { return v - float64(int(v)) }
