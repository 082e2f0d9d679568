package sam

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"slices"

	"github.com/slidesam/sam/internal/defaults"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/mirror"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/internal/train"
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
		enc, ok := m.encoder.(*vit.Encoder)
		if !ok {
			return nil, fmt.Errorf("low-rank adapters of an encoder %q: only those of %q have them", m.encoder.Name(), "vit")
		}
		if adapters, err = train.NewAdapters(enc, min(o.LoRABlocks, enc.Config().Depth), o.LoRA, o.Seed); err != nil {
			return nil, err
		}
		if t.head, err = adapters.Head(); err != nil {
			return nil, err
		}
	}
	id := sha256.New()
	id.Write(m.fingerprint[:])
	o.Progress, o.State, o.Device = nil, "", ""
	fmt.Fprintf(id, "%+v", o)
	t.progress = FineTuneProgress{Embeddings: t.o.Turns * len(fields), Steps: o.Steps}
	for i, f := range annotated {
		if err := t.embed(ctx, on, fields[i].Image, f, t.heldBack[i]); err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
	}
	for _, v := range append(t.learn, t.measure...) {
		_ = binary.Write(id, binary.LittleEndian, v.Embedding) // a hash never fails
		for _, x := range v.Targets {
			_ = binary.Write(id, binary.LittleEndian, x.Box[:])
			_ = binary.Write(id, binary.LittleEndian, x.Share)
			_ = binary.Write(id, binary.LittleEndian, x.Window.Share)
		}
	}
	t.id = hex.EncodeToString(id.Sum(nil))
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
		out[i].Name = cmp.Or(f.Name, fmt.Sprint(i))
		if f.Image != nil {
			b := f.Image.Bounds()
			out[i].Picture = mask.Size{H: b.Dy(), W: b.Dx()}
		}
		for _, m := range f.Objects {
			out[i].Objects = append(out[i].Objects, m.pixels())
		}
	}
	if err := train.CheckFields(out); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnnotations, err)
	}
	return out, nil
}

// embed adds the views of a field.
func (t *fineTuning) embed(ctx context.Context, m *Model, img image.Image, f train.Field, held []int) error {
	if len(f.Objects) == 0 {
		t.progress.Embedded += t.o.Turns
		return nil
	}
	src, err := picture.New(img)
	if err != nil {
		return err
	}
	rgb := src.RGB()
	side, cells := m.encoder.ImageSize(), m.cfg.Decoder.MaskSize()
	for k := range t.o.Turns {
		turned := train.Turn(k).Picture(rgb)
		features, err := t.features(ctx, m, turned)
		if err != nil {
			return err
		}
		learn, measure := train.Frame{
			Turn: train.Turn(k), Picture: f.Picture, Input: mask.Size(inputSize(Size(turned.Size), side)),
			Cell: float64(side) / float64(cells), Side: cells,
		}.Targets(f.Objects, held)
		if len(learn) > 0 {
			t.learn = append(t.learn, train.View{Embedding: features, Targets: learn})
		}
		if k == 0 && len(measure) > 0 {
			t.measure = append(t.measure, train.View{Embedding: features, Targets: measure})
		}
		t.progress.Embedded++
		t.report()
	}
	return nil
}

// features are a picture's embedding or, with adapters, what they read.
func (t *fineTuning) features(ctx context.Context, m *Model, p resample.RGB) ([]float32, error) {
	if t.head == nil {
		e, err := m.embed(ctx, p)
		if err != nil {
			return nil, err
		}
		return e.views[0].data, nil
	}
	side := m.encoder.ImageSize()
	input := inputSize(Size(p.Size), side)
	pix, err := resample.Bilinear(nil, p, resample.Size(input))
	if err != nil {
		return nil, err
	}
	m.colours.normalise(t.head.Input(vit.Picture), pix, input, side, mirror.View{}, m.canvas(input).Pixels)
	if err := t.head.Run(ctx); err != nil {
		return nil, err
	}
	return slices.Clone(t.head.Output(0)), nil
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
	out := &FineTuned{HeldBack: t.heldBack, Stopped: t.session.Stopped(), from: t.from, metadata: t.metadata}
	for _, s := range t.session.Curve {
		out.Steps = append(out.Steps, FineTuneStep(s))
	}
	for _, s := range t.session.Scores {
		out.Scores = append(out.Scores, FineTuneScore(s))
	}
	best := t.session.Best()
	out.adapters = best.Adapters()
	var err error
	out.tensors, err = best.Tensors()
	return out, err
}
