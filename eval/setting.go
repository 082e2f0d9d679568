package eval

import (
	"fmt"
	"math"
)

// Prompting is a way of drawing prompts from the truth.
type Prompting string

const (
	// PromptPoints draws Positive points inside and Negative points outside of
	// the foreground, counted per picture, as the paper does.
	PromptPoints Prompting = "points"
	// PromptEachPoints draws Positive points inside and Negative points
	// outside of every instance.
	PromptEachPoints Prompting = "each points"
	// PromptEachBox takes the box around every instance, its sides moved by
	// Jitter.
	PromptEachBox Prompting = "each box"
	// PromptClicks corrects: a point in the middle, then Clicks-1 more where
	// the mask is most wrong, with the mask fed back; for every instance, or
	// with Joint for the whole foreground at once.
	PromptClicks Prompting = "clicks"
	// PromptGrid asks at Grid x Grid points spread over the picture, without
	// looking at the truth.
	PromptGrid Prompting = "grid"
)

// Placement says where inside an instance a positive point falls.
type Placement string

const (
	// PlaceRandom draws among all pixels, those left after Erode.
	PlaceRandom Placement = "random"
	// PlaceCentre takes the pixel farthest from the outside.
	PlaceCentre Placement = "centre"
)

// Setting is one column of the experiment: how prompts are drawn from the
// truth, and how they are put to the model.
type Setting struct {
	Name               string
	Prompting          Prompting
	Positive, Negative int       // points per picture or per instance
	Place              Placement // "" is PlaceRandom
	// Erode is by how many pixels the region is eroded before a point is drawn
	// from it; one that would vanish is eroded as far as it lasts.
	Erode int
	// Near, if above 0, draws negative points within this many pixels of the
	// border, otherwise anywhere outside.
	Near float64
	// Jitter moves each side of a box by up to this part of the box's width or
	// height, uniformly. The box keeps at least one pixel, inside the picture.
	Jitter float64
	Clicks int // of PromptClicks, in all
	Grid   int // of PromptGrid, per side
	// Joint puts all points of a picture to the model as one prompt and takes
	// its mask. Otherwise each positive point is a prompt of its own, together
	// with all negative points drawn with it, and the answer is the union of
	// the masks. Boxes are always prompts of their own.
	Joint bool
}

// PaperSettings returns the four settings of the paper's table, the points
// jointly (as section 1.3 of the project's notes finds likely) or one by one.
// Points are drawn at random inside, after an erosion by erode pixels: what
// the authors did is not published.
func PaperSettings(joint bool, erode int) []Setting {
	return []Setting{
		{Name: "1 point", Prompting: PromptPoints, Positive: 1, Erode: erode, Joint: joint},
		{Name: "20 points", Prompting: PromptPoints, Positive: 10, Negative: 10, Erode: erode, Joint: joint},
		{Name: "total points", Prompting: PromptEachPoints, Positive: 1, Erode: erode, Joint: joint},
		{Name: "total boxes", Prompting: PromptEachBox},
	}
}

// Check returns an error that says what is wrong with the setting.
func (s Setting) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("eval: check setting %q: "+format, append([]any{s.Name}, args...)...)
	}
	if s.Name == "" {
		return bad("no name")
	}
	if s.Place != "" && s.Place != PlaceRandom && s.Place != PlaceCentre {
		return bad("placement %q, want %q or %q", s.Place, PlaceRandom, PlaceCentre)
	}
	if s.Positive < 0 || s.Negative < 0 || s.Erode < 0 || s.Clicks < 0 || s.Grid < 0 ||
		!(s.Near >= 0) || !(s.Jitter >= 0) || math.IsInf(s.Near, 0) || s.Jitter > 1 {
		return bad("a negative or too large number")
	}
	switch s.Prompting {
	case PromptPoints, PromptEachPoints:
		if s.Positive == 0 {
			return bad("no positive points")
		}
	case PromptEachBox:
	case PromptClicks:
		if s.Clicks == 0 {
			return bad("no clicks")
		}
	case PromptGrid:
		if s.Grid == 0 || s.Grid > 1024 {
			return bad("grid of %d points a side, want 1 to 1024", s.Grid)
		}
		if s.Joint {
			return bad("grid points are prompts of their own, not joint")
		}
	default:
		return bad("prompting %q is not known", s.Prompting)
	}
	return nil
}
