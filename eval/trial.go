package eval

import (
	"context"
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval/internal/region"
)

// batch is how many prompts are put to the model at once: enough to keep it
// busy, few enough that their masks do not fill the memory.
const batch = 32

// trial is one picture at one scale, embedded.
type trial struct {
	m         Model
	p         *Picture
	plan      Plan
	embedding *sam.Embedding
	area      map[int32]int
	boxes     map[int32]image.Rectangle
	ids       []int32
}

func newTrial(ctx context.Context, m Model, p *Picture, plan Plan, embeddings string) (*trial, error) {
	e, err := embed(ctx, m, p.Image, embeddings)
	if err != nil {
		return nil, err
	}
	t := &trial{m: m, p: p, plan: plan, embedding: e, area: map[int32]int{}, boxes: map[int32]image.Rectangle{}}
	for _, r := range region.Measure(p.Truth.Pix, p.Truth.H, p.Truth.W) {
		t.area[r.ID], t.boxes[r.ID] = r.Area, r.Box
		t.ids = append(t.ids, r.ID)
	}
	return t, nil
}

// answer is the mask chosen for one prompt.
type answer struct {
	mask    *sam.Mask
	iouPred float64
	iou     float64 // with the targets; NaN if there are none
	lowRes  sam.Logits
	index   int // of the prompt
}

// Overlay is a prediction beside its truth, for a gallery.
type Overlay struct {
	Record
	Picture *Picture
	Pred    Labels
	Prompts []sam.Prompt
}

// Viewer runs single settings on single pictures again, for galleries. It keeps
// the embeddings of the pictures it was asked for. It is not safe for use by
// several goroutines at once.
type Viewer struct {
	// Embeddings is the folder of Options.Embeddings, "" for none.
	Embeddings string

	m    Model
	d    Dataset
	plan Plan
	kept map[viewKey]*trial
}

type viewKey struct {
	picture int
	mpp     float64
}

// NewViewer returns a viewer of an experiment: the model, the data set and the
// plan must be those of its Run.
func NewViewer(m Model, d Dataset, plan Plan) *Viewer {
	return &Viewer{m: m, d: d, plan: plan, kept: map[viewKey]*trial{}}
}

// Show returns what one setting gives on a picture at a scale, as Run measured
// it; mpp is the record's scale. It returns an error if the data set has no
// such picture.
func (v *Viewer) Show(ctx context.Context, id string, s Setting, mpp float64) (*Overlay, error) {
	i := slices.IndexFunc(v.plan.Items, func(it Item) bool { return it.ID == id })
	if i < 0 || i >= v.d.Len() || v.d.Item(i).ID != id {
		return nil, fmt.Errorf("eval: show %s: picture is not in data set %s", id, v.d.Name())
	}
	if len(v.plan.MPP) == 0 {
		mpp = 0
	}
	key := viewKey{i, mpp}
	t := v.kept[key]
	if t == nil {
		p, err := v.d.Load(ctx, i)
		if err != nil {
			return nil, err
		}
		p.Item = v.plan.Items[i]
		if mpp > 0 {
			if p, err = p.shownAt(mpp); err != nil {
				return nil, err
			}
		}
		if t, err = newTrial(ctx, v.m, p, v.plan, v.Embeddings); err != nil {
			return nil, fmt.Errorf("eval: show %s: %w", id, err)
		}
		v.kept[key] = t
	}
	r, o, err := t.run(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("eval: show %s: %w", id, err)
	}
	o.Record, o.Picture = r, t.p
	return o, nil
}

// run puts one setting's prompts to the model and measures the answers.
func (t *trial) run(ctx context.Context, s Setting) (Record, *Overlay, error) {
	sim, err := Simulate(t.p.Truth, s, t.plan.Seed, t.p.ID)
	if err != nil {
		return Record{}, nil, err
	}
	r := Record{Item: t.p.Item, Setting: s.Name, MPP: Number(t.p.MPP), H: t.p.Truth.H, W: t.p.Truth.W, Instances: len(t.ids)}
	var answers []answer
	if s.Prompting == PromptClicks {
		answers, err = t.clicks(ctx, s, sim, &r)
	} else {
		r.Prompts = len(sim.Prompts)
		for _, p := range sim.Prompts {
			r.Points += len(p.Points)
		}
		answers, err = t.ask(ctx, sim)
	}
	if err != nil {
		return Record{}, nil, err
	}
	for _, a := range answers {
		r.Predicted = append(r.Predicted, Reliability{Number(a.iouPred), Number(a.iou)})
	}
	if s.Prompting == PromptGrid {
		answers = suppress(answers)
	}
	r.Kept = len(answers)
	pred := t.instances(answers, s.Joint)
	if err := r.measure(t.p.Truth, pred, sim.Oracle(t.p.Truth), t.plan.Tolerance); err != nil {
		return Record{}, nil, err
	}
	return r, &Overlay{Pred: pred, Prompts: sim.Prompts}, nil
}

// ask puts prompts to the model in batches, in the order given.
func (t *trial) ask(ctx context.Context, sim Simulated) ([]answer, error) {
	out := make([]answer, len(sim.Prompts))
	for from := 0; from < len(sim.Prompts); from += batch {
		to := min(from+batch, len(sim.Prompts))
		// prompts that want one mask and those that want several go apart
		for _, single := range []bool{false, true} {
			var ps []sam.Prompt
			var index []int
			for i := from; i < to; i++ {
				if t.single(sim.Prompts[i]) == single {
					ps, index = append(ps, sim.Prompts[i]), append(index, i)
				}
			}
			if len(ps) == 0 {
				continue
			}
			got, err := t.m.PredictBatch(ctx, t.embedding, ps, sam.PredictOptions{SingleMask: single, Local: t.plan.Local})
			if err != nil {
				return nil, err
			}
			for k, i := range index {
				if out[i], err = t.choose(got[k], sim.Targets[i]); err != nil {
					return nil, fmt.Errorf("prompt %d: %w", i, err)
				}
				out[i].index = i
				out[i].lowRes = sam.Logits{} // only clicks feed it back
			}
		}
	}
	return out, nil
}

// single says whether one mask is asked for.
func (t *trial) single(p sam.Prompt) bool {
	switch t.plan.Choice {
	case ChooseSingle:
		return true
	case ChooseAuto:
		return p.Box != nil || len(p.Points) > 1 || p.Mask != nil
	}
	return false
}

func (t *trial) choose(p *sam.Prediction, targets []int32) (answer, error) {
	if len(p.Masks) == 0 || len(p.IoUPred) != len(p.Masks) {
		return answer{}, fmt.Errorf("prediction with %d masks and %d predicted IoU", len(p.Masks), len(p.IoUPred))
	}
	var best answer
	for i, m := range p.Masks {
		if m.Size() != (sam.Size{H: t.p.Truth.H, W: t.p.Truth.W}) {
			return answer{}, fmt.Errorf("%w: mask of %s, picture [%d, %d]", ErrSize, m.Size(), t.p.Truth.H, t.p.Truth.W)
		}
		a := answer{mask: m, iouPred: float64(p.IoUPred[i]), iou: math.NaN()}
		if i < len(p.LowRes) {
			a.lowRes = p.LowRes[i]
		}
		oracle := t.plan.Choice == ChooseOracle
		if oracle || i == 0 || a.iouPred > best.iouPred {
			a.iou = t.iou(m, targets)
			if !oracle || i == 0 || a.iou > best.iou {
				best = a
			}
		}
	}
	return best, nil
}

// iou measures a mask against the targets together, NaN if there are none.
func (t *trial) iou(m *sam.Mask, targets []int32) float64 {
	if len(targets) == 0 {
		return math.NaN()
	}
	in := make(map[int32]bool, len(targets))
	area := 0
	for _, id := range targets {
		in[id] = true
		area += t.area[id]
	}
	inter := 0
	for r := range m.Runs() {
		last, hit := int32(0), false
		for _, v := range t.p.Truth.Pix[r.Y*t.p.Truth.W+r.X0 : r.Y*t.p.Truth.W+r.X1] {
			if v != last {
				last, hit = v, in[v]
			}
			if hit && v != 0 {
				inter++
			}
		}
	}
	return EmptyZero.Ratio(float64(inter), float64(m.Area()+area-inter))
}

// clicks corrects every object, or the whole foreground, click by click.
func (t *trial) clicks(ctx context.Context, s Setting, sim Simulated, r *Record) ([]answer, error) {
	var out []answer
	for i, p := range sim.Prompts {
		targets := sim.Targets[i]
		if s.Joint {
			targets = t.ids
		}
		var course Course
		var a answer
		for n := 0; ; n++ {
			got, err := t.m.PredictBatch(ctx, t.embedding, []sam.Prompt{p}, sam.PredictOptions{SingleMask: t.single(p), Local: t.plan.Local})
			if err != nil {
				return nil, err
			}
			if a, err = t.choose(got[0], targets); err != nil {
				return nil, err
			}
			course.IoU = append(course.IoU, Number(a.iou))
			r.Prompts++
			if n+1 == s.Clicks {
				break
			}
			next, more, err := t.nextClick(a.mask, targets, p.Points)
			if err != nil {
				return nil, err
			}
			if !more {
				break
			}
			p = sam.Prompt{Points: append(slices.Clone(p.Points), next)}
			if a.lowRes.Data != nil {
				low := a.lowRes
				p.Mask = &low
			}
		}
		r.Points += len(p.Points)
		r.Clicks = append(r.Clicks, course)
		a.index, a.lowRes = i, sam.Logits{}
		out = append(out, a)
	}
	return out, nil
}

// nextClick looks at the box around mask and target only: nothing is wrong
// outside of it.
func (t *trial) nextClick(m *sam.Mask, targets []int32, clicked []sam.Point) (sam.Point, bool, error) {
	box := m.Bounds()
	in := map[int32]bool{}
	for _, id := range targets {
		box = box.Union(t.boxes[id])
		in[id] = true
	}
	truth, pred := NewMask(sam.Size{H: box.Dy(), W: box.Dx()}), NewMask(sam.Size{H: box.Dy(), W: box.Dx()})
	for y := range truth.H {
		for x := range truth.W {
			v := t.p.Truth.Pix[(y+box.Min.Y)*t.p.Truth.W+x+box.Min.X]
			truth.Pix[y*truth.W+x] = v != 0 && in[v]
		}
	}
	for r := range m.Runs() {
		for x := r.X0; x < r.X1; x++ {
			pred.Pix[(r.Y-box.Min.Y)*truth.W+x-box.Min.X] = true
		}
	}
	moved := make([]sam.Point, len(clicked))
	for i, p := range clicked {
		moved[i] = sam.Point{X: p.X - float64(box.Min.X), Y: p.Y - float64(box.Min.Y), Label: p.Label}
	}
	next, more, err := NextClick(truth, pred, moved)
	next.X += float64(box.Min.X)
	next.Y += float64(box.Min.Y)
	return next, more, err
}

// The automatic grid keeps masks as Segment Anything's generator does by
// default: a predicted IoU of at least 0.88, and none whose box overlaps with
// that of a better one by an IoU above 0.7.
const (
	gridMinIoU = 0.88
	gridMaxBox = 0.7
)

func suppress(answers []answer) []answer {
	order := slices.Clone(answers)
	slices.SortStableFunc(order, func(a, b answer) int {
		switch {
		case a.iouPred > b.iouPred:
			return -1
		case a.iouPred < b.iouPred:
			return 1
		}
		return 0
	})
	var kept []answer
	for _, a := range order {
		if !(a.iouPred >= gridMinIoU) || a.mask.Area() == 0 {
			continue
		}
		if !slices.ContainsFunc(kept, func(k answer) bool { return boxIoU(a.mask.Bounds(), k.mask.Bounds()) > gridMaxBox }) {
			kept = append(kept, a)
		}
	}
	slices.SortFunc(kept, func(a, b answer) int { return a.index - b.index })
	return kept
}

func boxIoU(a, b image.Rectangle) float64 {
	i := a.Intersect(b)
	inter := float64(i.Dx()) * float64(i.Dy())
	return EmptyZero.Ratio(inter, float64(a.Dx())*float64(a.Dy())+float64(b.Dx())*float64(b.Dy())-inter)
}

// instances makes one label picture of all masks: where they overlap, the one
// with the higher predicted IoU is on top. The mask of a joint prompt is cut
// into its connected parts, since it may hold many objects.
func (t *trial) instances(answers []answer, joint bool) Labels {
	order := slices.Clone(answers)
	slices.SortStableFunc(order, func(a, b answer) int {
		switch {
		case a.iouPred < b.iouPred:
			return -1
		case a.iouPred > b.iouPred:
			return 1
		}
		return 0
	})
	l := NewLabels(sam.Size{H: t.p.Truth.H, W: t.p.Truth.W})
	for _, a := range order {
		for r := range a.mask.Runs() {
			row := l.Pix[r.Y*l.W+r.X0 : r.Y*l.W+r.X1]
			for i := range row {
				row[i] = int32(a.index + 1)
			}
		}
	}
	if joint {
		l.Pix, _ = region.Components(l.Mask().Pix, l.H, l.W, true)
	}
	return l
}

// measure fills in the scores.
func (r *Record) measure(truth, pred, oracle Labels, tolerance Number) error {
	o, err := NewOverlap(truth, pred)
	if err != nil {
		return err
	}
	e := EmptyNaN
	r.Pixels, r.Counts, r.Matches = o.Counts(), o.Panoptic(0.5), o.Segmentation()
	r.AJI, r.AJIPlus, r.Dice2, r.Object = o.AJISums(), o.AJIPlusSums(), o.Dice2Sums(), Number(o.ObjectDice(e))
	s, radius, tol := Spacing{}, float64(HoVerNetRadius), float64(tolerance)
	if r.MPP > 0 {
		s, radius = MPP(float64(r.MPP)), HoVerNetRadius*0.25
	}
	if tol == 0 {
		tol = 2 * s.orPixels().X
	}
	if r.Detected, err = CountCentroids(Centroids(truth), Centroids(pred), radius, DetectWithin, s); err != nil {
		return err
	}
	if r.Boundary, err = CountBoundary(truth, pred, tol, s); err != nil {
		return err
	}
	sf, err := NewSurface(truth.Mask(), pred.Mask(), SurfaceMONAI, s)
	if err != nil {
		return err
	}
	r.HD95, r.ASSD, r.NSD = Number(sf.HD95(e)), Number(sf.ASSD(e)), Number(sf.Dice(tol, e))
	if o, err = NewOverlap(truth, oracle); err != nil {
		return err
	}
	r.OraclePixels, r.OracleCounts, r.OracleAJI = o.Counts(), o.Panoptic(0.5), o.AJISums()
	return nil
}
