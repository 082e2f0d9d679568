package eval

import (
	"fmt"
	"image"
	"math"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval/internal/edt"
	"github.com/slidesam/sam/eval/internal/region"
	"github.com/slidesam/sam/eval/internal/rng"
)

// Simulated is the prompts that a setting draws for one picture.
type Simulated struct {
	Prompts []sam.Prompt
	// Targets are the numbers of the instances that each prompt points into:
	// what a model that always finds the right instance would return.
	Targets [][]int32
}

// Simulate draws a setting's prompts from the truth. What is drawn depends on
// the seed, the names of the picture and the setting, and the truth, and on
// nothing else. A picture without instances gets no prompts, but for a grid.
// A point lies in the middle of a pixel. PromptClicks gives the first click
// only; NextClick gives the others. Errors are those of Check.
func Simulate(truth Labels, s Setting, seed uint64, picture string) (Simulated, error) {
	if err := truth.Check(); err != nil {
		return Simulated{}, fmt.Errorf("eval: simulate: %w", err)
	}
	if err := s.Check(); err != nil {
		return Simulated{}, err
	}
	if s.Place == "" {
		s.Place = PlaceRandom
	}
	sm := simulator{Setting: s, truth: truth, regions: region.Measure(truth.Pix, truth.H, truth.W)}
	name := []string{"prompts", s.Name, picture}
	switch s.Prompting {
	case PromptPoints:
		sm.perPicture(rng.New(seed, name...), s.Positive, s.Negative, s.Place)
	case PromptClicks:
		if s.Joint {
			sm.perPicture(nil, 1, 0, PlaceCentre)
			break
		}
		for _, r := range sm.regions {
			sm.add(sm.inside(r, 1, PlaceCentre, nil), nil)
		}
	case PromptGrid:
		sm.grid()
	default:
		for _, r := range sm.regions {
			// each instance draws from a stream of its own
			sm.perInstance(r, rng.New(seed, append(name, fmt.Sprint(r.ID))...))
		}
	}
	if s.Joint && (s.Prompting == PromptPoints || s.Prompting == PromptEachPoints) {
		sm.join()
	}
	return sm.out, nil
}

type simulator struct {
	Setting
	truth   Labels
	regions []region.Region
	edt     edt.Transform
	out     Simulated
}

// perPicture draws points from the whole foreground.
func (s *simulator) perPicture(r *rng.Source, positive, negative int, place Placement) {
	if len(s.regions) == 0 {
		return
	}
	box := image.Rect(0, 0, s.truth.W, s.truth.H)
	fg := s.truth.Mask().Pix
	pos := s.choose(fg, box, positive, place, r)
	var neg []int
	if negative > 0 {
		neg = draw(s.outside(fg, box), negative, r)
	}
	s.add(s.points(pos, box, sam.Foreground), s.points(neg, box, sam.Background))
}

func (s *simulator) perInstance(r region.Region, src *rng.Source) {
	if s.Prompting == PromptEachBox {
		b := s.box(r.Box, src)
		s.out.Prompts = append(s.out.Prompts, sam.Prompt{Box: &b})
		s.out.Targets = append(s.out.Targets, []int32{r.ID})
		return
	}
	pos := s.inside(r, s.Positive, s.Place, src)
	var neg []sam.Point
	if s.Negative > 0 {
		box := r.Box.Inset(-max(r.Box.Dx(), r.Box.Dy())) // a neighbourhood of the instance's size
		if s.Near > 0 {
			box = r.Box.Inset(-int(math.Ceil(s.Near)))
		}
		box = box.Intersect(image.Rect(0, 0, s.truth.W, s.truth.H))
		neg = s.points(draw(s.outside(s.cut(r.ID, box), box), s.Negative, src), box, sam.Background)
	}
	s.add(pos, neg)
}

// inside draws points from one instance.
func (s *simulator) inside(r region.Region, n int, place Placement, src *rng.Source) []sam.Point {
	return s.points(s.choose(s.cut(r.ID, r.Box), r.Box, n, place, src), r.Box, sam.Foreground)
}

func (s *simulator) cut(id int32, box image.Rectangle) []bool {
	out := make([]bool, 0, box.Dx()*box.Dy())
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for _, v := range s.truth.Pix[y*s.truth.W+box.Min.X : y*s.truth.W+box.Max.X] {
			out = append(out, v == id)
		}
	}
	return out
}

// choose returns n pixels of a region, indices into the box.
func (s *simulator) choose(set []bool, box image.Rectangle, n int, place Placement, r *rng.Source) []int {
	if place == PlaceCentre {
		c, d := s.deepest(set, box.Dy(), box.Dx())
		if d == 0 {
			return nil
		}
		out := []int{c}
		for len(out) < n { // the next one farthest from the outside and from those before
			set = append([]bool(nil), set...)
			set[out[len(out)-1]] = false
			if c, d = s.deepest(set, box.Dy(), box.Dx()); d == 0 {
				break
			}
			out = append(out, c)
		}
		return out
	}
	return draw(erodeWhilePossible(set, box.Dy(), box.Dx(), s.Erode), n, r)
}

// erodeWhilePossible erodes n times, or as often as something is left.
func erodeWhilePossible(set []bool, h, w, n int) []bool {
	for range n {
		next := region.Erode(set, h, w, 1)
		any := false
		for _, v := range next {
			any = any || v
		}
		if !any {
			break
		}
		set = next
	}
	return set
}

// deepest returns the pixel farthest from the outside, the first in reading
// order on ties, and its squared distance, 0 if there is none. Beyond the box
// is outside.
func (s *simulator) deepest(set []bool, h, w int) (int, float64) {
	out := make([]bool, (h+2)*(w+2)) // the complement, with a frame
	for i := range out {
		out[i] = true
	}
	for y := range h {
		for x := range w {
			out[(y+1)*(w+2)+x+1] = !set[y*w+x]
		}
	}
	d2 := s.edt.Squared(out, h+2, w+2, 1, 1)
	best, at := 0.0, 0
	for y := range h {
		for x := range w {
			if d := d2[(y+1)*(w+2)+x+1]; d > best {
				best, at = d, y*w+x
			}
		}
	}
	return at, best
}

// outside returns the pixels of the box where a negative point may fall.
func (s *simulator) outside(set []bool, box image.Rectangle) []bool {
	out := make([]bool, len(set))
	var d2 []float64
	if s.Near > 0 {
		d2 = s.edt.Squared(set, box.Dy(), box.Dx(), 1, 1)
	}
	for i, v := range set {
		out[i] = !v && (d2 == nil || d2[i] <= s.Near*s.Near)
	}
	return out
}

// draw returns n different set pixels, in random order, all if there are
// fewer.
func draw(set []bool, n int, r *rng.Source) []int {
	var at []int
	for i, v := range set {
		if v {
			at = append(at, i)
		}
	}
	out := r.Sample(len(at), n)
	for i, j := range out {
		out[i] = at[j]
	}
	return out
}

func (s *simulator) points(at []int, box image.Rectangle, l sam.Label) []sam.Point {
	out := make([]sam.Point, len(at))
	for i, p := range at {
		out[i] = sam.Point{X: float64(box.Min.X+p%box.Dx()) + 0.5, Y: float64(box.Min.Y+p/box.Dx()) + 0.5, Label: l}
	}
	return out
}

// add makes each positive point a prompt with all negative points.
func (s *simulator) add(pos, neg []sam.Point) {
	for _, p := range pos {
		pts := append([]sam.Point{p}, neg...)
		s.out.Prompts = append(s.out.Prompts, sam.Prompt{Points: pts})
		s.out.Targets = append(s.out.Targets, []int32{s.at(p)})
	}
}

func (s *simulator) at(p sam.Point) int32 { return s.truth.Pix[int(p.Y)*s.truth.W+int(p.X)] }

// join puts the points of all prompts into one, positive ones first.
func (s *simulator) join() {
	if len(s.out.Prompts) == 0 {
		return
	}
	var pos, neg []sam.Point
	var targets []int32
	seen, hit := map[sam.Point]bool{}, map[int32]bool{}
	for i, p := range s.out.Prompts {
		for _, q := range p.Points {
			switch {
			case seen[q]:
			case q.Label == sam.Foreground:
				pos = append(pos, q)
			case s.at(q) == 0: // a pixel beside one instance may lie in another
				neg = append(neg, q)
			}
			seen[q] = true
		}
		for _, t := range s.out.Targets[i] {
			if !hit[t] {
				targets = append(targets, t)
			}
			hit[t] = true
		}
	}
	s.out = Simulated{Prompts: []sam.Prompt{{Points: append(pos, neg...)}}, Targets: [][]int32{targets}}
}

// box moves the sides of a box.
func (s *simulator) box(b image.Rectangle, r *rng.Source) sam.Box {
	move := func(v, side, lo, hi int) float64 {
		m := (2*r.Float64() - 1) * s.Jitter * float64(side)
		return min(max(float64(v)+m, float64(lo)), float64(hi))
	}
	out := sam.Box{
		X0: move(b.Min.X, b.Dx(), 0, s.truth.W), Y0: move(b.Min.Y, b.Dy(), 0, s.truth.H),
		X1: move(b.Max.X, b.Dx(), 0, s.truth.W), Y1: move(b.Max.Y, b.Dy(), 0, s.truth.H),
	}
	out.X0, out.X1 = atLeastOne(out.X0, out.X1, float64(s.truth.W))
	out.Y0, out.Y1 = atLeastOne(out.Y0, out.Y1, float64(s.truth.H))
	return out
}

func atLeastOne(a, b, limit float64) (float64, float64) {
	if b-a >= 1 {
		return a, b
	}
	mid := min(max((a+b)/2, 0.5), limit-0.5)
	return mid - 0.5, mid + 0.5
}

// grid asks at the middles of Grid x Grid equal rectangles, row by row.
func (s *simulator) grid() {
	for j := range s.Grid {
		for i := range s.Grid {
			p := sam.Point{
				X:     (float64(i) + 0.5) * float64(s.truth.W) / float64(s.Grid),
				Y:     (float64(j) + 0.5) * float64(s.truth.H) / float64(s.Grid),
				Label: sam.Foreground,
			}
			if s.truth.W == 0 || s.truth.H == 0 {
				return
			}
			var target []int32
			if id := s.at(p); id != 0 {
				target = []int32{id}
			}
			s.out.Prompts = append(s.out.Prompts, sam.Prompt{Points: []sam.Point{p}})
			s.out.Targets = append(s.out.Targets, target)
		}
	}
}

// Oracle returns what a perfect model would answer to the prompts: every
// instance that a positive point or a box points at, whole, and nothing else.
// Its score is the ceiling of the setting: with one point per picture it is
// far below 1 where there are many instances.
func (s Simulated) Oracle(truth Labels) Labels {
	keep := map[int32]bool{}
	for _, ts := range s.Targets {
		for _, t := range ts {
			keep[t] = true
		}
	}
	out := NewLabels(sam.Size{H: truth.H, W: truth.W})
	for i, v := range truth.Pix {
		if v != 0 && keep[v] {
			out.Pix[i] = v
		}
	}
	return out
}

// NextClick returns the click that corrects a mask best: the pixel farthest
// from the border of the region of missed or wrongly set pixels, whichever has
// the deeper one; positive in missed pixels, negative in wrongly set ones.
// Missed wins ties, then reading order. Pixels clicked before are left out.
// False if nothing is left to correct. The error wraps ErrSize.
//
// Source: the click simulation of RITM, Sofiiuk et al. 2022.
func NextClick(truth, pred Mask, clicked []sam.Point) (sam.Point, bool, error) {
	if err := checkMasks(truth, pred); err != nil {
		return sam.Point{}, false, fmt.Errorf("eval: next click: %w", err)
	}
	missed, wrong := make([]bool, len(truth.Pix)), make([]bool, len(truth.Pix))
	for i, t := range truth.Pix {
		missed[i], wrong[i] = t && !pred.Pix[i], !t && pred.Pix[i]
	}
	for _, p := range clicked {
		x, y := int(math.Floor(p.X)), int(math.Floor(p.Y))
		if x >= 0 && y >= 0 && x < truth.W && y < truth.H {
			missed[y*truth.W+x], wrong[y*truth.W+x] = false, false
		}
	}
	var s simulator
	at, depth := s.deepest(missed, truth.H, truth.W)
	label := sam.Foreground
	if a, d := s.deepest(wrong, truth.H, truth.W); d > depth {
		at, depth, label = a, d, sam.Background
	}
	if depth == 0 {
		return sam.Point{}, false, nil
	}
	return sam.Point{X: float64(at%truth.W) + 0.5, Y: float64(at/truth.W) + 0.5, Label: label}, true, nil
}
