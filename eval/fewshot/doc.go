// Package fewshot turns annotated pictures into what [sam.FineTune] learns
// from, measures two models on the same pictures and prompts, and writes down
// what the fine-tuning changed.
//
//	set, err := fewshot.Load(ctx, "fields", data)
//	fields, err := set.Fields()
//	tuned, err := sam.FineTune(ctx, checkpoint, fields, sam.FineTuneOptions{})
//	fresh, err := tuned.Model()
//	a, err := fewshot.Measure(ctx, model, test, fewshot.Options{})
//	b, err := fewshot.Measure(ctx, fresh, test, fewshot.Options{})
//	changes, err := fewshot.Compare(a, b, 1)
package fewshot
