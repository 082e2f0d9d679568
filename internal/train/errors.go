package train

import "errors"

// ErrDiverged is returned when a loss or a gradient is not a number: the
// learning rate is too high, or the weights were spoiled before.
var ErrDiverged = errors.New("the loss is not a number: lower the learning rate")

// ErrAnnotations is wrapped by errors about objects that nothing can be learned
// from.
var ErrAnnotations = errors.New("bad annotations")
