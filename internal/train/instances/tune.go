package instances

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/train"
	decoder "github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/weights"
)

// Options say how a decoder is tuned. All but State decide the result.
type Options struct {
	Steps, Views, Every, Patience, Turns int
	Crop                                 int // pixels of the encoder's input that a step sees along a side; 0: all
	Rate, HeldBack                       float64
	Seed                                 uint64
	State                                string // file; "": none
}

// Model is what is tuned, and how pictures are embedded for it.
type Model struct {
	Decoder     *decoder.Decoder
	Embed       train.Embed
	Frame       int      // pixels of a side of the encoder's input
	Fingerprint [16]byte // of all weights
	Settings    instance.Settings
}

// Tuning is a tuning on its way.
type Tuning struct {
	*Run
	HeldBack       []int // fields that nothing is learned from
	o              Options
	id             string
	learn, measure []View
}

// Tune trains the decoder on pictures, or goes on where State says that it was.
// tell hears how many of how many pictures are embedded, the newest score, how
// many steps were taken, and the last one. With an error it returns what was best
// until then, or nil if training had not begun.
func Tune(ctx context.Context, m Model, pictures []train.Field, o Options, tell func(n, of int, s Score, steps int, last train.Step)) (*Tuning, error) {
	if cell := m.Frame / m.Decoder.Config().Grid; o.Crop < 0 || o.Crop > 0 && o.Crop < cell {
		return nil, fmt.Errorf("crops of %d pixels: want at least the %d of a cell of the embedding", o.Crop, cell)
	}
	fields, err := NewFields(pictures)
	if err != nil {
		return nil, err
	}
	t := &Tuning{o: o, HeldBack: HoldBack(fields, o.HeldBack, o.Seed)}
	embeddings := 0
	embedded := func(n, of int) {
		embeddings = of
		tell(n, of, Score{}, 0, train.Step{})
	}
	if err := t.embed(ctx, m.Embed, pictures, fields, embedded); err != nil {
		return nil, err
	}
	t.id = t.identity(m)
	t.Run, err = NewRun(Plan{
		Plan: train.Plan{
			Seed: o.Seed, AdamW: train.AdamWOptions{Rate: o.Rate}, Clip: 1, Stopper: train.Stopper{Patience: o.Patience},
			Rates: train.Schedule{Warmup: min(10, o.Steps/5), Steps: o.Steps, Floor: 0.05},
		},
		Views: o.Views, Crop: min(o.Crop*m.Decoder.Config().Grid/m.Frame, m.Decoder.Config().Grid), Frame: m.Frame, Settings: m.Settings,
	}, m.Decoder)
	if err != nil {
		return nil, err
	}
	if o.State != "" {
		if err := t.Resume(o.State, t.id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	var newest Score
	return t, t.Train(ctx, t.learn, t.measure, train.Loop[Score]{
		Every: o.Every, Steps: o.Steps, State: o.State, ID: t.id, Measured: func(s Score) { newest = s },
		Stepped: func(n int, s train.Step) { tell(embeddings, embeddings, newest, n, s) },
	})
}

// embed makes the views: those to learn from turned, the others as they are.
func (t *Tuning) embed(ctx context.Context, e train.Embed, pictures []train.Field, fields []*Field, embedded func(n, of int)) error {
	turns := func(i int) int {
		switch {
		case fields[i].Objects == 0: // Dice has no gradient without an object
			return 0
		case slices.Contains(t.HeldBack, i):
			return 1
		}
		return t.o.Turns
	}
	n, of := 0, 0
	for i := range fields {
		of += turns(i)
	}
	for i, f := range fields {
		for k := range turns(i) {
			v := View{Field: f, Turn: train.Turn(k)}
			var err error
			if v.Embedding, v.Input, err = e.Turned(ctx, &pictures[i], v.Turn); err != nil {
				return fmt.Errorf("field %s: %w", f.Name, err)
			}
			if slices.Contains(t.HeldBack, i) {
				t.measure = append(t.measure, v)
			} else {
				t.learn = append(t.learn, v)
			}
			n++
			embedded(n, of)
		}
	}
	return nil
}

// identity tells what the tuning learns from, and how.
func (t *Tuning) identity(m Model) string {
	o := t.o
	o.State = ""
	h := sha256.New()
	h.Write(m.Fingerprint[:])
	fmt.Fprintf(h, "instances %+v %d %+v %v", o, m.Frame, m.Settings, t.HeldBack)
	for _, v := range append(slices.Clone(t.learn), t.measure...) { // a hash never fails
		fmt.Fprintf(h, "%d %v %v", v.Turn, v.Size, v.Input)
		_ = binary.Write(h, binary.LittleEndian, v.Embedding)
		_ = binary.Write(h, binary.LittleEndian, v.Labels)
		_ = binary.Write(h, binary.LittleEndian, v.Known)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Decoder returns the best decoder, with the settings that it was trained for.
func (t *Tuning) Decoder() (*weights.Checkpoint, error) {
	notes, err := t.plan.Settings.Entries()
	if err != nil {
		return nil, err
	}
	return weights.FromTensors(t.Best()).WithMetadata(notes)
}
