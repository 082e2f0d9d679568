package instances

// Dice and Target are what the criterion and a step call.
var Dice = dice

// Target is what maps of a view should say.
func Target(v *View, side, frame int) ([]float32, error) { return v.target(side, frame) }
