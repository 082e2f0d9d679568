package instance

// Smooth is the filter, for the comparison with its reference.
var Smooth = smooth

// SquaredDistances is the distance transform.
var SquaredDistances = squaredDistances
