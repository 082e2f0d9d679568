// Package op holds the layers of Segment Anything's networks as ops of a
// graph: names, parameters and shape rules. A backend says how they run, and
// computes several of them in one go where it can: an op has no activation, no
// residual and no layout of its own.
//
// Pictures and feature maps are kept channels-last, [H*W, C]; a batch of
// prompts stacks its rows, [P*H*W, C]. Weights have their checkpoint's shapes.
//
//	b := graph.NewBuilder()
//	x := b.Input("x", 16, 64)
//	y := b.Apply(op.LayerNorm{Eps: 1e-6}, x, gamma, beta)
package op
