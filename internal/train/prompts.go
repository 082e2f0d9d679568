package train

import (
	"fmt"
	"math/rand/v2"
)

// Target is an object that prompts are drawn for: its share of each cell of
// the low-resolution masks, [Side*Side], from 0 to 1. The picture fills the
// first H rows and W columns of cells.
type Target struct {
	Side, H, W int
	Cell       float64 // pixels of the network's input that a cell is wide
	Share      []float32
	Box        [4]float64 // left, top, right and bottom edge in pixels of the input
	Window     Window     // where the loss looks more closely
}

// cells returns the cells at least half of which belongs to the object. Of one
// that fills half of no cell, they are those that hold most of it.
func (t *Target) cells() (in []int) {
	var top float32
	for y := range t.H {
		for _, v := range t.Share[y*t.Side:][:t.W] {
			top = max(top, v)
		}
	}
	if top <= 0 {
		return nil
	}
	limit := min(top, 0.5)
	for y := range t.H {
		for x, v := range t.Share[y*t.Side:][:t.W] {
			if v >= limit {
				in = append(in, y*t.Side+x)
			}
		}
	}
	return in
}

// Point is a point of a prompt in pixels of the network's input.
type Point struct {
	X, Y float32
	In   bool // on the object
}

// Prompt is what the model is asked with.
type Prompt struct {
	Points []Point
	Box    *[4]float64
	Mask   []float32 // logits that are fed back, [Side*Side], or nil
	Single bool      // the one mask for prompts without ambiguity
}

// Recipe is how prompts for training are drawn: one point or a box at first,
// then corrections from where the answer is wrong.
//
// Source: micro_sam/training/sam_trainer.py and prompt_generators.py, with
// points drawn from cells of the low-resolution masks.
type Recipe struct {
	Corrections int     // rounds after the first prompt
	FeedBack    float64 // chance that a round's logits are fed back
	Grow        float64 // a box's side grows by up to this share of the length at either end
}

// DefaultRecipe is micro-sam's: eight rounds in all.
func DefaultRecipe() Recipe { return Recipe{Corrections: 7, FeedBack: 0.5, Grow: 0.025} }

// First returns a round's first prompt: a box, for which one mask is asked, or
// a point anywhere on the object. It returns an error if the object has no
// cell.
func (r Recipe) First(rng *rand.Rand, t *Target, box bool) (Prompt, error) {
	if !box {
		in := t.cells()
		if len(in) == 0 {
			return Prompt{}, fmt.Errorf("train: prompt: the object is empty")
		}
		return Prompt{Points: []Point{t.point(rng, in, true)}}, nil
	}
	b := t.Box
	if !(b[0] < b[2] && b[1] < b[3]) {
		return Prompt{}, fmt.Errorf("train: prompt: the object's box %v is empty", b)
	}
	w, h := b[2]-b[0], b[3]-b[1]
	b[0] = max(0, b[0]-rng.Float64()*r.Grow*w)
	b[1] = max(0, b[1]-rng.Float64()*r.Grow*h)
	b[2] = min(float64(t.W)*t.Cell, b[2]+rng.Float64()*r.Grow*w)
	b[3] = min(float64(t.H)*t.Cell, b[3]+rng.Float64()*r.Grow*h)
	return Prompt{Box: &b, Single: true}, nil
}

// Correct adds a point on the object and one beside it to p, where the answer
// logits [Side*Side] is wrong: on what it missed, else on what it found; and
// on what it found wrongly, else just outside the object's box, else anywhere
// outside. With feed the logits become p's mask, otherwise p loses its own.
// From here on p asks for one mask.
func (r Recipe) Correct(rng *rand.Rand, t *Target, logits []float32, p *Prompt, feed bool) {
	object := map[int]bool{}
	in := t.cells()
	for _, i := range in {
		object[i] = true
	}
	var missed, wrong, near, outside []int
	c := t.Cell
	x0, y0 := int(t.Box[0]/c)-1, int(t.Box[1]/c)-1
	x1, y1 := int(t.Box[2]/c)+1, int(t.Box[3]/c)+1
	for y := range t.H {
		for x := range t.W {
			i := y*t.Side + x
			found := logits[i] > 0
			switch {
			case object[i] && !found:
				missed = append(missed, i)
			case object[i]:
			case found:
				wrong = append(wrong, i)
			case x >= x0 && x <= x1 && y >= y0 && y <= y1:
				near = append(near, i)
			default:
				outside = append(outside, i)
			}
		}
	}
	if len(missed) == 0 {
		missed = in
	}
	if len(missed) > 0 {
		p.Points = append(p.Points, t.point(rng, missed, true))
	}
	for _, from := range [][]int{wrong, near, outside} {
		if len(from) > 0 {
			p.Points = append(p.Points, t.point(rng, from, false))
			break
		}
	}
	p.Single, p.Mask = true, nil
	if feed {
		p.Mask = append([]float32(nil), logits...)
	}
}

// point returns a point anywhere in one of the cells.
func (t *Target) point(rng *rand.Rand, cells []int, in bool) Point {
	i := cells[rng.IntN(len(cells))]
	x, y := float64(i%t.Side)+rng.Float64(), float64(i/t.Side)+rng.Float64()
	return Point{float32(x * t.Cell), float32(y * t.Cell), in}
}
