package main

import (
	"context"
	"fmt"
	"image"
	"image/color"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/internal/synth"
)

// Seeds of the demonstration's slides, beyond those that the bundled model was
// trained on.
const firstSlide = 910_000_000

var (
	trainSlides = []uint64{firstSlide, firstSlide + 1, firstSlide + 2}
	testSlides  = []uint64{firstSlide + 10, firstSlide + 11}
	oldSlides   = []uint64{firstSlide + 20, firstSlide + 21}
)

// Fields of the demonstration: pixels of a side, and micrometres per pixel.
const (
	demoSide = 256
	demoMPP  = 0.25
)

// synthetic is nuclei on synthetic slides.
type synthetic struct {
	name   string
	slides []uint64
	stain  func(color.RGBA) color.RGBA // nil: H&E
}

// dark are nuclei as a fluorescent stain would show them, bright on black,
// which the bundled model has never seen.
func dark(slides []uint64) eval.Dataset {
	return synthetic{"fluorescence", slides, func(c color.RGBA) color.RGBA {
		v := 255 - c.R
		return color.RGBA{v / 8, v / 3, v, 255}
	}}
}

// old are nuclei of the kind that the bundled model knows: what it must not
// forget.
func old() eval.Dataset { return synthetic{"H&E", oldSlides, nil} }

func (s synthetic) Name() string { return s.name }
func (s synthetic) Len() int     { return len(s.slides) }

func (s synthetic) Item(i int) eval.Item {
	id := fmt.Sprintf("%s, slide %d", s.name, s.slides[i])
	return eval.Item{ID: id, Group: id, Task: s.name}
}

// Load draws the part of a slide with the most nuclei among a few.
func (s synthetic) Load(ctx context.Context, i int) (*eval.Picture, error) {
	slide := synth.New(s.slides[i], synth.Options{Solid: true})
	var img *image.RGBA
	var truth *synth.Truth
	for k := range 6 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		at, t := slide.Region(20000+7000*k, 30000+5000*k, demoSide, demoSide, demoMPP)
		if truth == nil || len(t.List) > len(truth.List) {
			img, truth = at, t
		}
	}
	if s.stain != nil {
		for y := range demoSide {
			for x := range demoSide {
				img.SetRGBA(x, y, s.stain(img.RGBAAt(x, y)))
			}
		}
	}
	l := eval.Labels{H: truth.H, W: truth.W, Pix: truth.Nuclei}
	return &eval.Picture{Item: s.Item(i), Image: img, Truth: whole(l), MPP: demoMPP}, nil
}

// whole leaves out specks, of which the field's edge has cut off the rest.
func whole(l eval.Labels) eval.Labels {
	const least = 40
	area := map[int32]int{}
	for _, id := range l.Pix {
		area[id]++
	}
	out := eval.NewLabels(sam.Size{H: l.H, W: l.W})
	for i, id := range l.Pix {
		if area[id] >= least {
			out.Pix[i] = id
		}
	}
	return out
}
