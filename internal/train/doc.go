// Package train is what fine-tuning needs beside the networks: losses,
// the optimiser and its schedule, the prompts of the iterative recipe, and the
// state from which a run goes on after it was stopped.
//
// Everything is a function of its inputs and a seed: the number of goroutines
// changes no bit.
//
//	opt := train.NewAdamW(train.AdamWOptions{Rate: 1e-5}, sizes)
//	norm := train.Clip(grads, 1)
//	opt.Step(weights, grads, train.Schedule{Warmup: 10}.Factor(step))
package train
