package train

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
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

// Run is a run of training: an engine, the optimiser and the state of the
// prompts. It is for one goroutine.
type Run struct {
	plan   Plan
	engine *Engine
	opt    *AdamW
	pcg    *rand.PCG
	rng    *rand.Rand
	best   [][]float32 // weights at the best score
	stop   Stopper

	// Curve is what each step gave.
	Curve []Step
	// Scores are those of the held-back objects, by the steps taken before.
	Scores []Score
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

// Mean is the number by which runs are stopped.
func (s Score) Mean() float64 { return (s.Point + s.Box) / 2 }

// NewRun returns a run at its start. The engine is the run's from then on.
func NewRun(p Plan, e *Engine) *Run {
	pcg := rand.NewPCG(p.Seed, 0x5eed)
	return &Run{plan: p, engine: e, opt: NewAdamW(p.AdamW, e.Sizes()), pcg: pcg, rng: rand.New(pcg), stop: p.Stopper}
}

// Steps is how many steps were taken.
func (r *Run) Steps() int { return len(r.Curve) }

// Step learns from objects of one view, picked at random: a first prompt, then
// corrections. Even steps begin with points, odd ones with boxes.
//
// It returns an error that wraps [ErrDiverged] if a loss or the gradient is
// not a number; the weights are then those before the step.
func (r *Run) Step(ctx context.Context, views []View) (Step, error) {
	v := &views[r.rng.IntN(len(views))]
	n := len(v.Targets)
	pick := r.rng.Perm(n)[:min(n, r.plan.Objects)]
	r.engine.Zero()
	rounds := 1 + r.plan.Recipe.Corrections
	share := float32(1 / float64(len(pick)*rounds))
	var s Step
	feed := make([]bool, rounds)
	for i := range feed {
		feed[i] = r.rng.Float64() < r.plan.Recipe.FeedBack
	}
	embedding, err := r.engine.Begin(ctx, v)
	if err != nil {
		return s, err
	}
	for _, i := range pick {
		t := v.Targets[i]
		p, err := r.plan.Recipe.First(r.rng, t, r.Steps()%2 == 1)
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
				r.plan.Recipe.Correct(r.rng, t, a[0].Logits, &p, feed[k])
			}
		}
	}
	if err := r.engine.End(ctx); err != nil {
		return s, err
	}
	s.Norm = Clip(r.engine.Grads, r.plan.Clip)
	if math.IsNaN(s.Norm) || math.IsInf(s.Norm, 0) {
		return s, fmt.Errorf("train: step %d: %w", r.Steps(), ErrDiverged)
	}
	factor := r.plan.Rates.Factor(r.Steps())
	s.Rate = factor * r.opt.o.Rate
	r.opt.Step(r.engine.Values, r.engine.Grads, factor)
	r.Curve = append(r.Curve, s)
	return s, nil
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
		r.keep()
		return s, nil
	}
	s.Point, s.Box = s.Point/n, s.Box/n
	r.Scores = append(r.Scores, s)
	if r.stop.Add(s.Mean()) {
		r.keep()
	}
	return s, nil
}

// Stopped reports whether nothing has become better for the plan's patience.
func (r *Run) Stopped() bool { return r.stop.Done() }

func (r *Run) keep() {
	if r.best == nil {
		for _, v := range r.engine.Values {
			r.best = append(r.best, make([]float32, len(v)))
		}
	}
	for i, v := range r.engine.Values {
		copy(r.best[i], v)
	}
}

// Best puts the best weights into the engine and returns it. The run is over.
func (r *Run) Best() *Engine {
	for i := range r.best {
		copy(r.engine.Values[i], r.best[i])
	}
	return r.engine
}

// runState is what a saved run says about itself.
type runState struct {
	ID     string // of what it learns from and how
	Steps  int
	Adam   int
	Random []byte
	Stop   Stopper
	Kept   bool // there are best weights
	Curve  []Step
	Scores []Score
}

// Save writes the run to a file, from which [Run.Resume] goes on. id says what
// the run learns from, and how.
func (r *Run) Save(path, id string) error {
	random, err := r.pcg.MarshalBinary()
	if err != nil {
		return fmt.Errorf("train: save run: %w", err)
	}
	s := runState{id, r.Steps(), r.opt.Steps, random, r.stop, r.best != nil, r.Curve, r.Scores}
	return SaveState(path, s, r.arrays())
}

func (r *Run) arrays() [][]float32 {
	if r.best == nil {
		r.keep()
	}
	return slices.Concat(r.engine.Values, r.opt.M, r.opt.V, r.best)
}

// Resume brings a run at its start to where [Run.Save] left it, bit for bit.
// It returns an error that wraps [ErrState] if the file is damaged or belongs
// to another run; the run is then as it was.
func (r *Run) Resume(path, id string) error {
	kept := r.best
	live := r.arrays()
	into := make([][]float32, len(live))
	for i := range live {
		into[i] = make([]float32, len(live[i]))
	}
	var s runState
	err := LoadState(path, &s, into)
	switch {
	case err != nil:
	case s.ID != id:
		err = fmt.Errorf("train: resume %s: %w: it belongs to a run with other pictures, weights or options", path, ErrState)
	case s.Steps != len(s.Curve) || s.Steps < 0:
		err = fmt.Errorf("train: resume %s: %w: %d steps with a curve of %d", path, ErrState, s.Steps, len(s.Curve))
	default:
		err = r.pcg.UnmarshalBinary(s.Random)
		if err != nil {
			err = fmt.Errorf("train: resume %s: %w: %w", path, ErrState, err)
		}
	}
	if err != nil {
		r.best = kept
		return err
	}
	for i := range live {
		copy(live[i], into[i])
	}
	if !s.Kept {
		r.best = nil
	}
	r.opt.Steps, r.stop, r.Curve, r.Scores = s.Adam, s.Stop, s.Curve, s.Scores
	return nil
}
