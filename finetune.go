package sam

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slidesam/sam/weights"
)

// FineTuned is what a fine-tuning gave.
type FineTuned struct {
	Steps  []FineTuneStep
	Scores []FineTuneScore // the first is that of the model it began with
	// HeldBack are, for each field, the indices of the objects that nothing was
	// learned from.
	HeldBack [][]int
	// Stopped says that the measurements had no longer become better.
	Stopped bool

	from     *weights.Checkpoint
	tensors  map[string]weights.TensorData
	adapters map[string]weights.TensorData
}

// Checkpoint returns all weights of the best model, to save or to load. It
// aliases the checkpoint that was fine-tuned, which must stay open.
func (f *FineTuned) Checkpoint() (*weights.Checkpoint, error) {
	ck, err := f.from.With(f.tensors)
	if err != nil {
		return nil, fmt.Errorf("sam: fine-tuned checkpoint: %w", err)
	}
	return ck, nil
}

// Adapted returns the best model with its low-rank matrices apart, as
// micro-sam stores them; [Load] merges such a file. Without LoRA it is what
// Checkpoint returns.
func (f *FineTuned) Adapted() (*weights.Checkpoint, error) {
	if len(f.adapters) == 0 {
		return f.Checkpoint()
	}
	all := maps.Clone(f.adapters)
	for _, name := range f.from.Names() {
		t, err := f.from.Tensor(name)
		if err != nil {
			return nil, fmt.Errorf("sam: fine-tuned checkpoint: %w", err)
		}
		d, tuned := f.tensors[name]
		at, qkv, isQKV := strings.Cut(name, ".attn.qkv.")
		_, adapted := f.adapters[at+".attn.qkv.w_a_linear_q.weight"]
		if !tuned || isQKV {
			v, err := t.Float32s()
			if err != nil {
				return nil, fmt.Errorf("sam: fine-tuned checkpoint: %w", err)
			}
			d = weights.TensorData{Shape: t.Shape, Data: slices.Clone(v)}
			t.Release()
		}
		if isQKV && adapted {
			name = at + ".attn.qkv.qkv_proj." + qkv
		}
		all[name] = d
	}
	return weights.FromTensors(all), nil
}

// Model returns the best model.
func (f *FineTuned) Model() (*Model, error) {
	ck, err := f.Checkpoint()
	if err != nil {
		return nil, err
	}
	m, err := fromCheckpoint(ck)
	if err != nil {
		return nil, fmt.Errorf("sam: fine-tuned model: %w", err)
	}
	return m, nil
}

// FineTune teaches the prompt encoder and the mask decoder of a checkpoint the
// objects of a few fields. The image encoder stays as it is unless LoRA says
// otherwise, so that each field is embedded once for each way in which it is
// turned; a step then costs the decoder forward and backward alone. Prompts are drawn as in micro-sam's
// training: a point or the box, then corrections from where the answer is
// wrong.
//
// Of the weights that measured best on the held-back objects it returns the
// ones. With an error it returns what was best until then, or nil if training
// had not begun: ctx's error; one that wraps [ErrAnnotations],
// [ErrTrainingState] or [ErrDiverged].
//
// The same input gives the same weights, bit for bit, on one machine whatever
// the number of goroutines, and also when it was cut off and went on from
// State.
func FineTune(ctx context.Context, from *weights.Checkpoint, fields []TrainingField, o FineTuneOptions) (*FineTuned, error) {
	t, err := newFineTuning(ctx, from, fields, o)
	if err == nil {
		err = t.run(ctx)
	}
	if err != nil {
		err = fmt.Errorf("sam: fine-tune: %w", err)
	}
	if t == nil {
		return nil, err
	}
	out, broken := t.result()
	if broken != nil {
		return nil, errors.Join(err, fmt.Errorf("sam: fine-tune: %w", broken))
	}
	return out, err
}
