package instances

import "math/rand/v2"

// Dice and Target are what the criterion and a step call.
var Dice = dice

// Target is what maps of a whole view should say.
func Target(v *View, side, frame int) ([]float32, error) {
	s := v.scene(side, frame)
	return s.target(crop{0, 0, side}, 1)
}

// Draw is what a step sees of a view: a part of the embedding, and its target.
func Draw(v *View, rng *rand.Rand, n, grid, side, frame int) (at [2]int, z, target []float32, err error) {
	s := v.scene(side, frame)
	c := s.draw(rng, n, side/grid)
	target, err = s.target(c, side/grid)
	return [2]int{c.X, c.Y}, c.of(v.Embedding, grid), target, err
}
