package train

import (
	"fmt"
	"math"
)

// Check says what is wrong with how a training is to go: its steps, of so many
// objects or pictures each, how often it measures, the ways in which pictures are
// turned, the rank of adapters, the learning rate, and the share held back.
func Check(steps, objects, every, turns, rank int, rate, heldBack float64) error {
	switch {
	case steps == 0 || objects == 0 || every == 0:
		return fmt.Errorf("%d steps of %d objects, measured every %d: want at least one", steps, objects, every)
	case rank < 0:
		return fmt.Errorf("low-rank matrices of rank %d, want 1 or more, or 0 for none", rank)
	case turns < 1 || turns > 8:
		return fmt.Errorf("%d turns, want 1 to 8", turns)
	case !(rate > 0) || math.IsInf(rate, 0):
		return fmt.Errorf("learning rate %g, want more than 0", rate)
	case !(heldBack < 1):
		return fmt.Errorf("%g of the objects held back: none would be left", heldBack)
	}
	return nil
}
