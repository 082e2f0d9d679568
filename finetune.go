package sam

import (
	"context"
	"errors"
	"fmt"
	"image"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/slidesam/sam/internal/train"
	"github.com/slidesam/sam/weights"
)

var (
	// ErrAnnotations is wrapped by errors about objects that nothing can be
	// learned from.
	ErrAnnotations = errors.New("bad annotations")
	// ErrDiverged is wrapped by the error of a fine-tuning whose loss became
	// something that is not a number.
	ErrDiverged = train.ErrDiverged
	// ErrTrainingState is wrapped by errors about a file of FineTuneOptions.State
	// that is damaged or belongs to another fine-tuning.
	ErrTrainingState = train.ErrState
)

// TrainingField is a picture and the objects that are annotated on it. Not all
// objects need be annotated: what is not is not taken for background.
type TrainingField struct {
	Name    string // for errors
	Image   image.Image
	Objects []*Mask // at the picture's size
}

// FineTuneLoss is what the decoder is taught by.
type FineTuneLoss uint8

// The losses.
const (
	LossSAM      FineTuneLoss = iota // focal 20 : dice 1 : predicted IoU 1, SAM's own
	LossMicroSAM                     // squared dice and predicted IoU, micro-sam's
	LossBCE                          // cross entropy and predicted IoU
)

// FineTuneOptions say how a model is fine-tuned. The zero value is meant for a
// few annotated fields and some minutes.
type FineTuneOptions struct {
	Steps       int          // 0: 100
	Objects     int          // objects of a step; 0: 8
	Corrections int          // rounds of correction after the first prompt; 0: 2, negative: none
	Rate        float64      // learning rate at its height; 0: 1e-4
	Loss        FineTuneLoss // zero: SAM's
	HeldBack    float64      // share of the objects that only measure; 0: 0.2, negative: none
	Every       int          // steps between measurements; 0: 10
	Patience    int          // measurements without a gain after which to stop; 0: 5, negative: never
	Turns       int          // ways in which each picture is turned and mirrored, up to 8; 0: 8
	// LoRA is the rank of low-rank matrices on the queries and values of the image
	// encoder's last LoRABlocks blocks, which then learn as well; 0: the encoder
	// stays as it is. A step costs those blocks forward and backward more.
	LoRA       int
	LoRABlocks int // 0: 3, or all if there are fewer
	Seed       uint64
	// Device embeds the fields: a name of [Model.On]; empty: the CPU. Steps run on
	// the CPU, and with LoRA so do the encoder's blocks.
	Device string
	// State, if set, is a file in which the state is kept at every measurement. If
	// it is there at the start, the fine-tuning goes on from it.
	State    string
	Progress func(FineTuneProgress)
}

// FineTuneProgress is how far a fine-tuning is.
type FineTuneProgress struct {
	Embedded, Embeddings int // pictures, each way they are turned
	Step, Steps          int
	Last                 FineTuneStep  // the newest step
	Score                FineTuneScore // the newest measurement
}

// FineTuneStep is what one step gave, as means over its prompts.
type FineTuneStep struct {
	Loss float64
	IoU  float64 // of the mask that the model thinks best
	Norm float64 // length of the gradient
	Rate float64 // learning rate
}

// FineTuneScore is how well the held-back objects are found after a number of
// steps: the mean IoU for one point and for the box.
type FineTuneScore struct {
	Step       int
	Point, Box float64
}

func (o FineTuneOptions) full() (FineTuneOptions, error) {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
		*v = max(*v, 0)
	}
	set(&o.Steps, 100)
	set(&o.Objects, 8)
	set(&o.Corrections, 2)
	set(&o.Every, 10)
	set(&o.Patience, 5)
	set(&o.Turns, 8)
	set(&o.LoRABlocks, 3)
	if o.Rate == 0 {
		o.Rate = 1e-4
	}
	if o.HeldBack == 0 {
		o.HeldBack = 0.2
	}
	o.HeldBack = max(o.HeldBack, 0)
	switch {
	case o.Steps == 0 || o.Objects == 0 || o.Every == 0:
		return o, fmt.Errorf("%d steps of %d objects, measured every %d: want at least one", o.Steps, o.Objects, o.Every)
	case o.LoRA < 0:
		return o, fmt.Errorf("low-rank matrices of rank %d, want 1 or more, or 0 for none", o.LoRA)
	case o.Turns < 1 || o.Turns > 8:
		return o, fmt.Errorf("%d turns, want 1 to 8", o.Turns)
	case !(o.Rate > 0) || math.IsInf(o.Rate, 0):
		return o, fmt.Errorf("learning rate %g, want more than 0", o.Rate)
	case !(o.HeldBack < 1):
		return o, fmt.Errorf("%g of the objects held back: none would be left", o.HeldBack)
	case o.Loss > LossBCE:
		return o, fmt.Errorf("unknown loss %d", o.Loss)
	}
	return o, nil
}

func (l FineTuneLoss) loss() train.Loss {
	switch l {
	case LossMicroSAM:
		return train.MicroSAMLoss()
	case LossBCE:
		return train.Loss{BCE: 1, IoU: 1}
	default:
		return train.SAMLoss()
	}
}

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
	metadata map[string]string
	tensors  map[string]weights.TensorData
	adapters map[string]weights.TensorData
}

// Checkpoint returns all weights of the best model, to save or to load, and
// the [Defaults] of the model that was fine-tuned. It aliases the checkpoint
// that was fine-tuned, which must stay open.
func (f *FineTuned) Checkpoint() (*weights.Checkpoint, error) {
	ck, err := f.from.With(f.tensors)
	if err == nil {
		ck, err = ck.WithMetadata(f.metadata)
	}
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
	ck, err := weights.FromTensors(all).WithMetadata(f.metadata)
	if err != nil {
		return nil, fmt.Errorf("sam: fine-tuned checkpoint: %w", err)
	}
	return ck, nil
}

// Model returns the best model.
func (f *FineTuned) Model() (*Model, error) {
	ck, err := f.Checkpoint()
	if err != nil {
		return nil, err
	}
	m, err := fromCheckpoint(ck, FP32)
	if err != nil {
		return nil, fmt.Errorf("sam: fine-tuned model: %w", err)
	}
	return m, nil
}

// FineTune teaches the prompt encoder and the mask decoder of a checkpoint the
// objects of a few fields. The image encoder stays as it is unless LoRA says
// otherwise, so that each field is embedded once for each way in which it is
// turned; a step then costs the decoder forward and backward alone. Prompts
// are drawn as in micro-sam's training: a point or the box, then corrections
// from where the answer is wrong.
//
// It returns the weights that measured best on the held-back objects. With an
// error it returns what was best until then, or nil if training
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
