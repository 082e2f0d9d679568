package sam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/slidesam/sam/internal/defaults"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/mirror"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/internal/train"
	"github.com/slidesam/sam/internal/train/instances"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/weights"
)

// fineTuning is a fine-tuning on its way.
type fineTuning struct {
	o        FineTuneOptions
	from     *weights.Checkpoint
	metadata map[string]string
	session  *train.Run
	head     graph.Program // the encoder up to the adapters; nil without LoRA
	learn    []train.View
	measure  []train.View
	heldBack [][]int
	id       string
	progress FineTuneProgress
}

func newFineTuning(ctx context.Context, from *weights.Checkpoint, fields []TrainingField, o FineTuneOptions) (*fineTuning, error) {
	o, err := o.full()
	if err != nil {
		return nil, err
	}
	annotated, err := trainingFields(fields)
	if err != nil {
		return nil, err
	}
	m, err := fromCheckpoint(from, FP32)
	if err != nil {
		return nil, err
	}
	on, err := m.On(cmp.Or(o.Device, CPU), FP32)
	if err != nil {
		return nil, err
	}
	t := &fineTuning{o: o, from: from}
	counts := make([]int, len(fields))
	for i, f := range annotated {
		counts[i] = len(f.Objects)
	}
	t.heldBack = train.HoldBack(counts, o.HeldBack, o.Seed)
	if m.defaults != publishedDefaults {
		if t.metadata, err = defaults.Entries(defaults.Values(m.defaults), weights.Specs(newParams(m.cfg))); err != nil {
			return nil, err
		}
	}
	var adapters *train.Adapters
	if o.LoRA > 0 {
		if adapters, t.head, err = train.Adapt(m.encoder, o.LoRABlocks, o.LoRA, o.Seed); err != nil {
			return nil, err
		}
	}
	o.Progress, o.State, o.Device = nil, "", ""
	t.progress = FineTuneProgress{Embeddings: t.o.Turns * len(fields), Steps: o.Steps}
	done := func() {
		t.progress.Embedded++
		t.report()
	}
	for i, f := range annotated {
		embed := func(ctx context.Context, p resample.RGB) ([]float32, mask.Size, error) { return t.features(ctx, on, p) }
		learn, measure, err := f.Views(ctx, embed, t.heldBack[i], t.o.Turns, m.encoder.ImageSize(), m.cfg.Decoder.MaskSize(), done)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		t.learn, t.measure = append(t.learn, learn...), append(t.measure, measure...)
	}
	t.id = train.Identity(m.fingerprint, fmt.Sprintf("%+v", o), t.learn, t.measure)
	e, err := train.NewEngine(train.Networks{Prompt: m.prompt, Decoder: m.decoder}, o.Loss.loss(), adapters)
	if err != nil {
		return nil, err
	}
	r := train.DefaultRecipe()
	r.Corrections = o.Corrections
	t.session = train.NewRun(train.Plan{
		Seed: o.Seed, Objects: o.Objects, Recipe: r, Loss: o.Loss.loss(), AdamW: train.AdamWOptions{Rate: o.Rate},
		Rates: train.Schedule{Warmup: min(10, o.Steps/5), Steps: o.Steps, Floor: 0.05}, Clip: 1,
		Stopper: train.Stopper{Patience: o.Patience},
	}, e)
	if t.o.State != "" {
		err := t.session.Resume(t.o.State, t.id)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return t, nil
}

// trainingFields are the fields as package train knows them.
func trainingFields(fields []TrainingField) ([]train.Field, error) {
	out := make([]train.Field, len(fields))
	for i, f := range fields {
		out[i] = train.Field{Name: cmp.Or(f.Name, fmt.Sprint(i)), Image: f.Image, Known: f.Known.pixels()}
		if f.Image != nil {
			b := f.Image.Bounds()
			out[i].Picture = mask.Size{H: b.Dy(), W: b.Dx()}
		}
		for _, m := range f.Objects {
			out[i].Objects = append(out[i].Objects, m.pixels())
		}
	}
	return out, train.CheckFields(out)
}

// features are a picture's embedding or, with adapters, what they read.
func (t *fineTuning) features(ctx context.Context, m *Model, p resample.RGB) ([]float32, mask.Size, error) {
	if t.head == nil {
		return m.features(ctx, p)
	}
	side := m.encoder.ImageSize()
	input := inputSize(Size(p.Size), side)
	pix, err := resample.Bilinear(nil, p, resample.Size(input))
	if err != nil {
		return nil, mask.Size{}, err
	}
	m.colours.normalise(t.head.Input(vit.Picture), pix, input, side, mirror.View{}, m.canvas(input).Pixels)
	if err := t.head.Run(ctx); err != nil {
		return nil, mask.Size{}, err
	}
	return slices.Clone(t.head.Output(0)), mask.Size(input), nil
}

// features are a picture's embedding, and the part of the frame that it fills.
func (m *Model) features(ctx context.Context, p resample.RGB) ([]float32, mask.Size, error) {
	e, err := m.embed(ctx, p)
	if err != nil {
		return nil, mask.Size{}, err
	}
	return e.views[0].data, mask.Size(e.input), nil
}

func (t *fineTuning) report() {
	if t.o.Progress != nil {
		t.o.Progress(t.progress)
	}
}

func (t *fineTuning) run(ctx context.Context) error {
	return t.session.Train(ctx, t.learn, t.measure, train.Loop[train.Score]{
		Every: t.o.Every, Steps: t.o.Steps, State: t.o.State, ID: t.id,
		Measured: func(s train.Score) { t.progress.Score = FineTuneScore(s) },
		Stepped: func(n int, s train.Step) {
			t.progress.Step, t.progress.Last = n, FineTuneStep(s)
			t.report()
		},
	})
}

func (t *fineTuning) result() (*FineTuned, error) {
	out := &FineTuned{Steps: stepsOf(t.session.Curve), HeldBack: t.heldBack, Stopped: t.session.Stopped(), from: t.from, metadata: t.metadata}
	for _, s := range t.session.Scores {
		out.Scores = append(out.Scores, FineTuneScore(s))
	}
	best := t.session.Best()
	out.adapters = best.Adapters()
	var err error
	out.tensors, err = best.Tensors()
	return out, err
}

func stepsOf(curve []train.Step) (out []FineTuneStep) {
	for _, s := range curve {
		out = append(out, FineTuneStep(s))
	}
	return out
}

func (m *InstanceModel) fineTune(ctx context.Context, fields []TrainingField, o FineTuneOptions) (*InstanceTuned, error) {
	if o.LoRA != 0 || o.Corrections != 0 || o.Loss != 0 {
		return nil, errors.New("LoRA, Corrections and Loss are of prompts: want none")
	}
	o.Objects, o.Crop = cmp.Or(o.Objects, 2), cmp.Or(o.Crop, 512)
	o, err := o.full()
	if err != nil {
		return nil, err
	}
	if m, err = m.On(cmp.Or(o.Device, CPU), FP32); err != nil {
		return nil, err
	}
	annotated, err := trainingFields(fields)
	if err != nil {
		return nil, err
	}
	embed := func(ctx context.Context, p resample.RGB) ([]float32, mask.Size, error) {
		if !m.defaults.AsIs {
			p = picture.Spread(p)
		}
		return m.model.features(ctx, p)
	}
	t, failed := instances.Tune(ctx, instances.Model{
		Decoder: m.decoder.Decoder(), Embed: embed, Frame: m.model.encoder.ImageSize(), Fingerprint: m.Fingerprint(), Settings: m.defaults,
	}, annotated, instances.Options{
		Steps: o.Steps, Views: o.Objects, Every: o.Every, Patience: o.Patience, Turns: o.Turns, Crop: o.Crop, Rate: o.Rate, HeldBack: o.HeldBack, Seed: o.Seed, State: o.State,
	}, func(n, of int, s instances.Score, steps int, last train.Step) {
		if o.Progress != nil {
			o.Progress(FineTuneProgress{Embedded: n, Embeddings: of, Step: steps, Steps: o.Steps, Last: FineTuneStep(last), Instances: InstanceScore(s)})
		}
	})
	if t == nil {
		return nil, failed
	}
	out := &InstanceTuned{Steps: stepsOf(t.Curve), HeldBack: t.HeldBack, Stopped: t.Stopped(), from: m}
	for _, s := range t.Scores {
		out.Scores = append(out.Scores, InstanceScore(s))
	}
	out.decoder, err = t.Decoder()
	return out, errors.Join(failed, err)
}
