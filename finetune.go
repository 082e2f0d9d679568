package sam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"

	"github.com/slidesam/sam/internal/train"
	"github.com/slidesam/sam/weights"
)

var (
	// ErrAnnotations is wrapped by errors about objects that nothing can be
	// learned from.
	ErrAnnotations = train.ErrAnnotations
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
	Known   *Mask   // for instance decoders: where every object is annotated; nil: everywhere
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
	Crop        int          // pixels of the encoder's input that an instance decoder sees of each along a side; 0: 512
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
	Instances            InstanceScore // the newest of an instance decoder
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
	for v, d := range map[*int]int{&o.Steps: 100, &o.Objects: 8, &o.Corrections: 2, &o.Every: 10, &o.Patience: 5, &o.Turns: 8, &o.LoRABlocks: 3} {
		*v = max(cmp.Or(*v, d), 0)
	}
	o.Rate, o.HeldBack = cmp.Or(o.Rate, 1e-4), max(cmp.Or(o.HeldBack, 0.2), 0)
	if o.Loss > LossBCE {
		return o, fmt.Errorf("unknown loss %d", o.Loss)
	}
	return o, train.Check(o.Steps, o.Objects, o.Every, o.Turns, o.LoRA, o.Rate, o.HeldBack)
}

func (l FineTuneLoss) loss() train.Loss {
	return []train.Loss{LossSAM: train.SAMLoss(), LossMicroSAM: train.MicroSAMLoss(), LossBCE: {BCE: 1, IoU: 1}}[l]
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
	ck, err := train.Apart(f.from, f.tensors, f.adapters)
	if err == nil {
		ck, err = ck.WithMetadata(f.metadata)
	}
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

// InstanceScore is how well an instance decoder finds the objects of the fields
// held back, all together: F1 at an IoU of 0.5, and panoptic quality.
type InstanceScore struct {
	Step   int
	F1, PQ float64
}

// InstanceTuned is what the fine-tuning of an instance decoder gave.
type InstanceTuned struct {
	Steps    []FineTuneStep  // without IoU
	Scores   []InstanceScore // the first is that of the decoder it began with
	HeldBack []int           // the fields that nothing was learned from
	Stopped  bool            // the measurements had no longer become better
	from     *InstanceModel
	decoder  *weights.Checkpoint
}

// Checkpoint returns the best decoder, in micro-sam's names and with what
// [LoadInstances] must know of how to use it, a file beside its model's.
func (f *InstanceTuned) Checkpoint() *weights.Checkpoint { return f.decoder }

// Model returns the model with the best decoder.
func (f *InstanceTuned) Model() (*InstanceModel, error) {
	return newInstanceModel(f.from.model, f.decoder)
}

// FineTune teaches the model's instance decoder the objects of a few fields, on
// which, unlike for [FineTune], all must be annotated: see Known. Parts of fewer
// than 25 pixels count as background. Whole fields are held back, the best PQ
// counts, and LoRA, Corrections and Loss, which are of prompts, must be 0: targets and
// loss are those of micro-sam's train_instance_segmentation. The encoder is frozen,
// so that its joint training is this and [FineTune] one after the other: neither's
// loss has a gradient in the other's weights. The decoder learns as it is used:
// with its running statistics, or with each picture's, which the running ones follow.
func (m *InstanceModel) FineTune(ctx context.Context, fields []TrainingField, o FineTuneOptions) (*InstanceTuned, error) {
	out, err := m.fineTune(ctx, fields, o)
	if err != nil {
		err = fmt.Errorf("sam: fine-tune instances: %w", err)
	}
	return out, err
}
