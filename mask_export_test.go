package sam

// Threshold thresholds low-resolution logits at the picture's size.
var Threshold = threshold
