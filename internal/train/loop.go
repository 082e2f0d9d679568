package train

import (
	"context"
	"math"
	"math/rand/v2"
)

// Loop is how often a run is measured, and where it keeps its state.
type Loop struct {
	Every, Steps int
	State, ID    string              // see [Run.Save]; no State: it is not kept
	Measured     func(s Score)       // told before the state is kept
	Stepped      func(n int, s Step) // told after n steps
}

// Train takes steps until there are enough or the scores rise no more. It
// measures before the first step, after the last one and every so many between, and
// keeps its state then. It returns ctx's error soon after ctx is done.
func (r *Run) Train(ctx context.Context, learn, measure []View, l Loop) error {
	stopped := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	for {
		n := r.Steps()
		if (n%l.Every == 0 || n == l.Steps) && r.measured() < n {
			s, err := r.Validate(ctx, measure)
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
		s, err := r.Step(ctx, learn)
		if err != nil {
			return stopped(err)
		}
		l.Stepped(r.Steps(), s)
	}
}

// measured is the step of the last measurement, or -1.
func (r *Run) measured() int {
	if n := len(r.Scores); n > 0 {
		return r.Scores[n-1].Step
	}
	return -1
}

// maxHeldBack is how many objects measure at most: more cost time at every
// measurement.
const maxHeldBack = 48

// HoldBack picks the objects of each field that only measure: the share of all
// that is asked for, but none if that leaves fewer than four to learn from.
// counts are the objects of the fields.
func HoldBack(counts []int, share float64, seed uint64) [][]int {
	type object struct{ field, i int }
	var all []object
	for i, n := range counts {
		for j := range n {
			all = append(all, object{i, j})
		}
	}
	rng := rand.New(rand.NewPCG(seed, 0xba5e))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	n := min(int(math.Round(share*float64(len(all)))), maxHeldBack)
	out := make([][]int, len(counts))
	if len(all)-n < 4 {
		return out
	}
	for _, x := range all[:n] {
		out[x.field] = append(out[x.field], x.i)
	}
	return out
}
