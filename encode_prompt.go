package sam

import (
	"errors"
	"fmt"
	"math"

	"github.com/slidesam/sam/promptenc"
)

// ErrPrompt is returned for a prompt that does not fit its picture.
var ErrPrompt = errors.New("bad prompt")

// MaxPoints is how many points one prompt may have.
const MaxPoints = 4096

// encoded is a prompt as the graph reads it.
type encoded struct {
	points []float32 // rows (x, y, kind) in the input picture's frame
	mask   []float32
}

func (p encoded) key(single bool) decoderKey {
	return decoderKey{tokens: len(p.points) / 3, masked: p.mask != nil, single: single}
}

// encode checks a prompt against its picture and brings it into the frame of
// the network's input.
//
// Source: transforms.py, apply_coords and apply_boxes; prompt_encoder.py,
// forward: a padding point follows the points unless there is a box.
func (m *Model) encode(e *Embedding, p Prompt) (encoded, error) {
	var out encoded
	if err := p.check(e.picture, m.cfg.Prompt.MaskSize()); err != nil {
		return out, err
	}
	sx := float64(e.input.W) / float64(e.picture.W)
	sy := float64(e.input.H) / float64(e.picture.H)
	add := func(x, y float64, kind float32) {
		out.points = append(out.points, float32(x*sx), float32(y*sy), kind)
	}
	for _, pt := range p.Points {
		add(pt.X, pt.Y, float32(pt.Label))
	}
	if b := p.Box; b != nil {
		add(b.X0, b.Y0, promptenc.TopLeft)
		add(b.X1, b.Y1, promptenc.BottomRight)
	} else if len(p.Points) > 0 {
		out.points = append(out.points, 0, 0, promptenc.Padding)
	}
	if p.Mask != nil {
		out.mask = p.Mask.Data
	}
	return out, nil
}

// check returns an error that wraps ErrPrompt and says what is wrong with
// the prompt.
func (p Prompt) check(s Size, maskSize int) error {
	if len(p.Points) > MaxPoints {
		return fmt.Errorf("%w: %d points, at most %d are possible", ErrPrompt, len(p.Points), MaxPoints)
	}
	for i, pt := range p.Points {
		if !s.holds(pt.X, pt.Y) {
			return fmt.Errorf("%w: point %d at (%g, %g) is outside the picture of %d x %d pixels", ErrPrompt, i, pt.X, pt.Y, s.W, s.H)
		}
		if pt.Label != Background && pt.Label != Foreground {
			return fmt.Errorf("%w: point %d has label %d, want %d (background) or %d (foreground)", ErrPrompt, i, pt.Label, Background, Foreground)
		}
	}
	if b := p.Box; b != nil {
		switch {
		case !s.holds(b.X0, b.Y0) || !s.holds(b.X1, b.Y1):
			return fmt.Errorf("%w: box (%g, %g, %g, %g) is outside the picture of %d x %d pixels: clip it first", ErrPrompt, b.X0, b.Y0, b.X1, b.Y1, s.W, s.H)
		case b.X0 > b.X1 || b.Y0 > b.Y1:
			return fmt.Errorf("%w: box (%g, %g, %g, %g): want the upper left corner, then the lower right one", ErrPrompt, b.X0, b.Y0, b.X1, b.Y1)
		}
	}
	if l := p.Mask; l != nil {
		if l.H != maskSize || l.W != maskSize || len(l.Data) != maskSize*maskSize {
			return fmt.Errorf("%w: mask of %d x %d with %d values, want the %d x %d logits of Prediction.LowRes", ErrPrompt, l.W, l.H, len(l.Data), maskSize, maskSize)
		}
		for i, v := range l.Data {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("%w: mask value %d is %g", ErrPrompt, i, v)
			}
		}
	}
	return nil
}

// holds reports whether (x, y) lies in a picture of this size, its border
// included. NaN does not.
func (s Size) holds(x, y float64) bool {
	return x >= 0 && y >= 0 && x <= float64(s.W) && y <= float64(s.H)
}
