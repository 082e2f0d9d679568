package train

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Scored is what a measurement gives: after how many steps, and the number by
// which the best weights are kept and runs are stopped, the higher the better.
type Scored interface {
	At() int
	Mean() float64
}

// Session is what every run of training has, whatever it trains: the
// optimiser, the random numbers, the best weights, and the file from which it
// goes on. It is for one goroutine.
type Session[S Scored] struct {
	// Curve is what each step gave.
	Curve []Step
	// Scores are those of what is held back, by the steps taken before.
	Scores []S
	// Rng draws what a run draws.
	Rng *rand.Rand

	plan   Plan
	values [][]float32 // the trained ones first
	grads  [][]float32 // of the trained ones
	opt    *AdamW
	pcg    *rand.PCG
	best   [][]float32 // values at the best score
	stop   Stopper
}

// NewSession returns a session at its start. Steps change values in place, as
// many as there are gradients; the others, behind them, are only kept.
func NewSession[S Scored](p Plan, values, grads [][]float32) Session[S] {
	pcg := rand.NewPCG(p.Seed, 0x5eed)
	var sizes []int
	for _, g := range grads {
		sizes = append(sizes, len(g))
	}
	return Session[S]{plan: p, values: values, grads: grads, opt: NewAdamW(p.AdamW, sizes), pcg: pcg, Rng: rand.New(pcg), stop: p.Stopper}
}

// Steps is how many steps were taken.
func (r *Session[S]) Steps() int { return len(r.Curve) }

// Apply takes a step by the gradients, completes what is known of it and adds
// it to the curve. It returns an error that wraps [ErrDiverged] if the gradient
// is not a number; the values are then those before the step.
func (r *Session[S]) Apply(s Step) (Step, error) {
	s.Norm = Clip(r.grads, r.plan.Clip)
	if math.IsNaN(s.Norm) || math.IsInf(s.Norm, 0) {
		return s, fmt.Errorf("train: step %d: %w", r.Steps(), ErrDiverged)
	}
	factor := r.plan.Rates.Factor(r.Steps())
	s.Rate = factor * r.opt.o.Rate
	r.opt.Step(r.values[:len(r.grads)], r.grads, factor)
	r.Curve = append(r.Curve, s)
	return s, nil
}

// Score takes a measurement in, and keeps the values if it is the best so far.
func (r *Session[S]) Score(s S) {
	r.Scores = append(r.Scores, s)
	if r.stop.Add(s.Mean()) {
		r.Keep()
	}
}

// Stopped reports whether nothing has become better for the plan's patience.
func (r *Session[S]) Stopped() bool { return r.stop.Done() }

// Keep makes the values in hand the best ones.
func (r *Session[S]) Keep() {
	if r.best == nil {
		for _, v := range r.values {
			r.best = append(r.best, make([]float32, len(v)))
		}
	}
	for i, v := range r.values {
		copy(r.best[i], v)
	}
}

// Restore puts the best values in place. The run is over.
func (r *Session[S]) Restore() {
	for i := range r.best {
		copy(r.values[i], r.best[i])
	}
}

// runState is what a saved run says about itself.
type runState[S Scored] struct {
	ID     string // of what it learns from and how
	Steps  int
	Adam   int
	Random []byte
	Stop   Stopper
	Kept   bool // there are best weights
	Curve  []Step
	Scores []S
}

// Save writes the run to a file, from which Resume goes on. id says what the
// run learns from, and how.
func (r *Session[S]) Save(path, id string) error {
	random, err := r.pcg.MarshalBinary()
	if err != nil {
		return fmt.Errorf("train: save run: %w", err)
	}
	s := runState[S]{id, r.Steps(), r.opt.Steps, random, r.stop, r.best != nil, r.Curve, r.Scores}
	return SaveState(path, s, r.arrays())
}

func (r *Session[S]) arrays() [][]float32 {
	if r.best == nil {
		r.Keep()
	}
	return slices.Concat(r.values, r.opt.M, r.opt.V, r.best)
}

// Resume brings a run at its start to where Save left it, bit for bit. It
// returns an error that wraps [ErrState] if the file is damaged or belongs to
// another run; the run is then as it was.
func (r *Session[S]) Resume(path, id string) error {
	kept := r.best
	live := r.arrays()
	into := make([][]float32, len(live))
	for i := range live {
		into[i] = make([]float32, len(live[i]))
	}
	var s runState[S]
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

// Loop is how often a run is measured, and where it keeps its state.
type Loop[S Scored] struct {
	Every, Steps int
	State, ID    string              // see [Session.Save]; no State: it is not kept
	Measured     func(s S)           // told before the state is kept
	Stepped      func(n int, s Step) // told after n steps
}

// Drive takes steps until there are enough or the scores rise no more. It
// measures before the first step, after the last one and every so many between,
// and keeps its state then. It returns ctx's error soon after ctx is done.
func (r *Session[S]) Drive(ctx context.Context, l Loop[S], step func(context.Context) (Step, error), measure func(context.Context) (S, error)) error {
	stopped := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	for {
		n := r.Steps()
		if (n%l.Every == 0 || n == l.Steps) && r.measured() < n {
			s, err := measure(ctx)
			if err != nil {
				return stopped(err)
			}
			l.Measured(s)
			if l.State != "" {
				if err := r.Save(l.State, l.ID); err != nil {
					return err
				}
			}
		}
		if n >= l.Steps || r.Stopped() {
			return nil
		}
		s, err := step(ctx)
		if err != nil {
			return stopped(err)
		}
		l.Stepped(r.Steps(), s)
	}
}

// measured is the step of the last measurement, or -1.
func (r *Session[S]) measured() int {
	if n := len(r.Scores); n > 0 {
		return r.Scores[n-1].At()
	}
	return -1
}
