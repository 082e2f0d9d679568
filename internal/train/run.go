package train

import (
	"context"
	"math/rand/v2"
)

// View is one way in which a picture is turned: its embedding [Grid*Grid,
// Channels], or with adapters what they read, [Grid*Grid, Width], and the
// objects to learn from.
type View struct {
	Embedding []float32
	Targets   []*Target
}

// Plan is how a run goes. All of it decides the result.
type Plan struct {
	Seed    uint64
	Objects int // of a step, all on one view
	Recipe  Recipe
	Loss    Loss
	AdamW   AdamWOptions
	Rates   Schedule
	Clip    float64 // longest gradient; 0: any
	Stopper Stopper
}

// Run is a run of training of prompts and masks: an engine and its session.
type Run struct {
	Session[Score]
	plan   Plan
	engine *Engine
}

// Step is what a step gave, as means over its prompts.
type Step struct {
	Loss float64
	IoU  float64 // of the mask that the model thinks best, with the object
	Norm float64 // length of the gradient before it was clipped
	Rate float64 // learning rate
}

// Score is how well the held-back objects are found after a number of steps.
type Score struct {
	Step       int
	Point, Box float64 // mean IoU for one prompt
}

// At implements [Scored].
func (s Score) At() int { return s.Step }

// Mean implements [Scored].
func (s Score) Mean() float64 { return (s.Point + s.Box) / 2 }

// NewRun returns a run at its start. The engine is the run's from then on.
func NewRun(p Plan, e *Engine) *Run {
	return &Run{Session: NewSession[Score](p, e.Values, e.Grads), plan: p, engine: e}
}

// Step learns from objects of one view, picked at random: a first prompt, then
// corrections. Even steps begin with points, odd ones with boxes.
//
// It returns an error that wraps [ErrDiverged] if a loss or the gradient is
// not a number; the weights are then those before the step.
func (r *Run) Step(ctx context.Context, views []View) (Step, error) {
	v := &views[r.Rng.IntN(len(views))]
	n := len(v.Targets)
	pick := r.Rng.Perm(n)[:min(n, r.plan.Objects)]
	r.engine.Zero()
	rounds := 1 + r.plan.Recipe.Corrections
	share := float32(1 / float64(len(pick)*rounds))
	var s Step
	feed := make([]bool, rounds)
	for i := range feed {
		feed[i] = r.Rng.Float64() < r.plan.Recipe.FeedBack
	}
	embedding, err := r.engine.Begin(ctx, v)
	if err != nil {
		return s, err
	}
	for _, i := range pick {
		t := v.Targets[i]
		p, err := r.plan.Recipe.First(r.Rng, t, r.Steps()%2 == 1)
		if err != nil {
			return s, err
		}
		for k := range rounds {
			a, err := r.engine.Run(ctx, embedding, []Prompt{p}, []*Target{t}, share, true)
			if err != nil {
				return s, err
			}
			s.Loss += a[0].Loss * float64(share)
			s.IoU += a[0].IoU * float64(share)
			if k+1 < rounds {
				r.plan.Recipe.Correct(r.Rng, t, a[0].Logits, &p, feed[k])
			}
		}
	}
	if err := r.engine.End(ctx); err != nil {
		return s, err
	}
	return r.Apply(s)
}

// Validate asks for each object with a point and with a box, the same ones at
// every call, and keeps the weights if they are the best so far. Without
// objects nothing is measured and the newest weights count as the best.
func (r *Run) Validate(ctx context.Context, views []View) (s Score, err error) {
	s = Score{Step: r.Steps()}
	var n float64
	for i := range views {
		v := &views[i]
		embedding, err := r.engine.Begin(ctx, v)
		if err != nil {
			return s, err
		}
		for _, t := range v.Targets {
			rng := rand.New(rand.NewPCG(r.plan.Seed, uint64(n)))
			for _, box := range []bool{false, true} {
				p, err := Recipe{}.First(rng, t, box)
				if err != nil {
					return s, err
				}
				a, err := r.engine.Run(ctx, embedding, []Prompt{p}, []*Target{t}, 0, false)
				if err != nil {
					return s, err
				}
				if box {
					s.Box += a[0].IoU
				} else {
					s.Point += a[0].IoU
				}
			}
			n++
		}
	}
	if n == 0 {
		r.Keep()
		return s, nil
	}
	s.Point, s.Box = s.Point/n, s.Box/n
	r.Score(s)
	return s, nil
}

// Best puts the best weights into the engine and returns it. The run is over.
func (r *Run) Best() *Engine {
	r.Restore()
	return r.engine
}

// Train steps and measures as the loop says.
func (r *Run) Train(ctx context.Context, learn, measure []View, l Loop[Score]) error {
	return r.Drive(ctx, l, func(ctx context.Context) (Step, error) { return r.Step(ctx, learn) },
		func(ctx context.Context) (Score, error) { return r.Validate(ctx, measure) })
}
