package train

import "math"

// Schedule is how the learning rate changes: it grows from nothing over Warmup
// steps, then falls along half a cosine to Floor times its height at the end,
// step Steps, and stays there. The zero value leaves it as it is.
type Schedule struct {
	Warmup int
	Steps  int     // 0: it does not fall
	Floor  float64 // share of the rate that is left at the end
}

// Factor is the learning rate of a step, from 0, as a share of its height.
func (s Schedule) Factor(step int) float64 {
	if step < s.Warmup {
		return float64(step+1) / float64(s.Warmup+1)
	}
	if s.Steps <= s.Warmup {
		return 1
	}
	t := min(1, float64(step-s.Warmup)/float64(s.Steps-s.Warmup))
	return s.Floor + (1-s.Floor)*(1+math.Cos(math.Pi*t))/2
}

// Stopper ends a run whose score on the held-back part no longer grows.
type Stopper struct {
	Patience int // scores without a better one that end the run; 0: never

	Best  float64 // best score
	Since int     // scores since the best one
	Seen  int     // scores
}

// Add takes a score, the higher the better, and says whether it is the best so
// far. NaN never is.
func (s *Stopper) Add(score float64) (best bool) {
	s.Seen++
	if best = score > s.Best || s.Seen == 1 && !math.IsNaN(score); best {
		s.Best, s.Since = score, 0
	} else {
		s.Since++
	}
	return best
}

// Done reports whether to stop.
func (s *Stopper) Done() bool { return s.Patience > 0 && s.Since >= s.Patience }
