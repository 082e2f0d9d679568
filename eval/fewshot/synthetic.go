package fewshot

import (
	"context"
	"fmt"
	"image"
	"image/color"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/internal/synth"
)

// FirstSlide is a seed of synthetic slides from which on none was used to train
// the bundled model.
const FirstSlide = 910_000_000

// Fields of synthetic slides: pixels of a side that Synthetic has, and
// micrometres per pixel.
const (
	syntheticSide = 256
	syntheticMPP  = 0.25
)

// Stain is how synthetic nuclei look.
type Stain string

// The stains.
const (
	HE           Stain = "H&E"          // the bundled model knows it: what it must not forget
	Fluorescence Stain = "fluorescence" // bright on black, which it has never seen
)

// synthetic is nuclei on synthetic slides, a field of each.
type synthetic struct {
	stain  Stain
	slides []uint64
	side   int // pixels
}

// Synthetic returns a field of nuclei, 256 pixels wide, from each of n slides
// from a seed on.
func Synthetic(stain Stain, first uint64, n int) eval.Dataset {
	return SyntheticFields(stain, first, n, syntheticSide)
}

// SyntheticFields is Synthetic with fields of another width.
func SyntheticFields(stain Stain, first uint64, n, side int) eval.Dataset {
	s := synthetic{stain: stain, side: side}
	for i := range n {
		s.slides = append(s.slides, first+uint64(i))
	}
	return s
}

func (s synthetic) Name() string { return string(s.stain) }
func (s synthetic) Len() int     { return len(s.slides) }

func (s synthetic) Item(i int) eval.Item {
	id := fmt.Sprintf("%s, slide %d", s.stain, s.slides[i])
	return eval.Item{ID: id, Group: id, Task: s.Name()}
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
		at, t := slide.Region(20000+7000*k, 30000+5000*k, s.side, s.side, syntheticMPP)
		if truth == nil || len(t.List) > len(truth.List) {
			img, truth = at, t
		}
	}
	if s.stain == Fluorescence {
		for y := range s.side {
			for x := range s.side {
				v := 255 - img.RGBAAt(x, y).R
				img.SetRGBA(x, y, color.RGBA{v / 8, v / 3, v, 255})
			}
		}
	}
	l := eval.Labels{H: truth.H, W: truth.W, Pix: truth.Nuclei}
	return &eval.Picture{Item: s.Item(i), Image: img, Truth: atLeast(l, leastWhole), MPP: syntheticMPP}, nil
}

// leastWhole is the number of pixels below which a nucleus is a speck, of which
// the field's edge has cut off the rest.
const leastWhole = 40

// atLeast leaves out objects of fewer pixels.
func atLeast(l eval.Labels, least int) eval.Labels {
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
