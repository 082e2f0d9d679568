package instances

import (
	"context"
	"fmt"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/internal/train"
	decoder "github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/weights"
)

// Plan is how a run goes: of train's, what every run has. All of it decides the
// result.
type Plan struct {
	train.Plan
	Views    int               // of a step, each a batch of its own
	Crop     int               // cells of a side of what a step sees of a view; 0: all
	Frame    int               // pixels of a side of the encoder's input
	Settings instance.Settings // how the decoder is used, and so trained
}

// Score is how well the objects of the fields held back are found after a
// number of steps, all of them together.
type Score struct {
	Step   int
	F1, PQ float64
}

// At implements [train.Scored].
func (s Score) At() int { return s.Step }

// Mean implements [train.Scored].
func (s Score) Mean() float64 { return s.PQ }

// Run is a run of training of an instance decoder. It is for one goroutine.
type Run struct {
	train.Session[Score]
	plan   Plan
	engine *Engine // of crops
	whole  decoder.Config
}

// stats are the statistics that a decoder used with those settings has.
func stats(s instance.Settings) decoder.Stats {
	if s.RunningStats {
		return decoder.RunningStats
	}
	return decoder.BatchStats
}

// NewRun returns a run at its start, from the decoder's weights.
func NewRun(p Plan, d *decoder.Decoder) (*Run, error) {
	whole := d.Config()
	if p.Crop == 0 {
		p.Crop = whole.Grid
	}
	if p.Crop < 1 || p.Crop > whole.Grid {
		return nil, fmt.Errorf("train: crops of %d cells of an embedding of %d", p.Crop, whole.Grid)
	}
	d, err := d.At(p.Crop)
	if err != nil {
		return nil, err
	}
	e, err := NewEngine(d, stats(p.Settings))
	if err != nil {
		return nil, err
	}
	return &Run{Session: train.NewSession[Score](p.Plan, e.Values, e.Grads), plan: p, engine: e, whole: whole}, nil
}

// Step learns from crops of views picked at random. It returns an error that wraps
// [train.ErrDiverged] if a loss or the gradient is not a number; the weights are
// then those before the step.
func (r *Run) Step(ctx context.Context, views []View) (train.Step, error) {
	r.engine.Zero()
	var s train.Step
	share := 1 / float64(r.plan.Views)
	for range r.plan.Views {
		v := &views[r.Rng.IntN(len(views))]
		cell := r.whole.Side() / r.whole.Grid
		scene := v.scene(r.whole.Side(), r.plan.Frame)
		at := scene.draw(r.Rng, r.plan.Crop, cell)
		target, err := scene.target(at, cell)
		if err != nil {
			return s, err
		}
		loss, err := r.engine.Run(ctx, at.of(v.Embedding, r.whole.Grid), target, share)
		if err != nil {
			return s, err
		}
		s.Loss += loss * share
	}
	s, err := r.Apply(s)
	if err == nil {
		r.engine.Gather()
	}
	return s, err
}

// Validate finds the objects of each view, as the decoder will be used, and
// keeps the weights if they find them best so far. Without views nothing is
// measured and the newest weights count as the best.
func (r *Run) Validate(ctx context.Context, views []View) (Score, error) {
	s := Score{Step: r.Steps()}
	if len(views) == 0 {
		r.Keep()
		return s, nil
	}
	net, err := instance.NewNetwork(cpu.Backend{}, weights.FromTensors(r.engine.Tensors(0)), r.whole.Grid, r.whole.Embed)
	if err != nil {
		return s, fmt.Errorf("train: measure: %w", err)
	}
	var all Counts
	for i := range views {
		v := &views[i]
		size := v.Turn.Size(v.Size)
		maps, err := net.Run(ctx, v.Embedding, stats(r.plan.Settings), r.plan.Frame, resample.Size(v.Input), resample.Size(size))
		if err != nil {
			return s, err
		}
		found, err := instance.Segment(ctx, instance.Maps{H: size.H, W: size.W, Foreground: maps[0], Centre: maps[1], Boundary: maps[2]}, r.plan.Settings.Options())
		if err != nil {
			return s, err
		}
		all = all.Add(Count(v.Labels, found, v.Known))
	}
	s.F1, s.PQ = all.F1(), all.PQ()
	r.Score(s)
	return s, nil
}

// Train steps and measures as the loop says.
func (r *Run) Train(ctx context.Context, learn, measure []View, l train.Loop[Score]) error {
	return r.Drive(ctx, l, func(ctx context.Context) (train.Step, error) { return r.Step(ctx, learn) },
		func(ctx context.Context) (Score, error) { return r.Validate(ctx, measure) })
}

// Best returns the best weights by their checkpoint names. The run is over.
func (r *Run) Best() map[string]weights.TensorData {
	r.Restore()
	return r.engine.Tensors(r.Steps())
}
