// Package weights reads, names, binds and converts Segment Anything
// checkpoints.
package weights
