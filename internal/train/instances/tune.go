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
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/train"
	decoder "github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/weights"
)

// Options say how a decoder is tuned. All but State decide the result.
type Options struct {
	Steps, Views, Every, Patience, Turns int
	Rate, HeldBack                       float64
	Seed                                 uint64
	State                                string // file; "": none
}

// Source is a field with its picture. Embed returns the embedding of the
// turned picture as the model makes it, and the part of the frame it fills.
type Source struct {
	*Field
	Embed func(ctx context.Context, t train.Turn) (embedding []float32, input mask.Size, err error)
}

// Tuning is a tuning on its way.
type Tuning struct {
	*Run
	HeldBack       []int // fields that nothing is learned from
	o              Options
	id             string
	learn, measure []View
}

// Start embeds the fields and returns a tuning at its start, or where State
// says that it was. from is the fingerprint of the model, frame the side of its
// encoder's input. embedded is told how many of how many pictures are embedded.
func Start(ctx context.Context, d *decoder.Decoder, from [16]byte, frame int, s instance.Settings, fields []Source, o Options, embedded func(n, of int)) (*Tuning, error) {
	var plain []*Field
	for _, f := range fields {
		plain = append(plain, f.Field)
	}
	if err := CheckFields(plain); err != nil {
		return nil, err
	}
	t := &Tuning{o: o, HeldBack: HoldBack(plain, o.HeldBack, o.Seed)}
	if err := t.embed(ctx, fields, embedded); err != nil {
		return nil, err
	}
	t.id = t.identity(from, frame, s)
	var err error
	t.Run, err = NewRun(Plan{
		Plan: train.Plan{
			Seed: o.Seed, AdamW: train.AdamWOptions{Rate: o.Rate}, Clip: 1, Stopper: train.Stopper{Patience: o.Patience},
			Rates: train.Schedule{Warmup: min(10, o.Steps/5), Steps: o.Steps, Floor: 0.05},
		},
		Views: o.Views, Frame: frame, Settings: s,
	}, d)
	if err != nil {
		return nil, err
	}
	if o.State != "" {
		if err := t.Resume(o.State, t.id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return t, nil
}

// embed makes the views: those to learn from turned, the others as they are.
func (t *Tuning) embed(ctx context.Context, fields []Source, embedded func(n, of int)) error {
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
			v := View{Field: f.Field, Turn: train.Turn(k)}
			var err error
			if v.Embedding, v.Input, err = f.Embed(ctx, v.Turn); err != nil {
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
func (t *Tuning) identity(from [16]byte, frame int, s instance.Settings) string {
	o := t.o
	o.State = ""
	h := sha256.New()
	h.Write(from[:])
	fmt.Fprintf(h, "instances %+v %d %+v %v", o, frame, s, t.HeldBack)
	for _, v := range append(slices.Clone(t.learn), t.measure...) { // a hash never fails
		fmt.Fprintf(h, "%d %v %v", v.Turn, v.Size, v.Input)
		_ = binary.Write(h, binary.LittleEndian, v.Embedding)
		_ = binary.Write(h, binary.LittleEndian, v.Labels)
		_ = binary.Write(h, binary.LittleEndian, v.Known)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Go trains to the end.
func (t *Tuning) Go(ctx context.Context, measured func(Score), stepped func(n int, s train.Step)) error {
	return t.Train(ctx, t.learn, t.measure, train.Loop[Score]{
		Every: t.o.Every, Steps: t.o.Steps, State: t.o.State, ID: t.id, Measured: measured, Stepped: stepped,
	})
}

// Decoder returns the best decoder, with the settings that it was trained for.
func (t *Tuning) Decoder() (*weights.Checkpoint, error) {
	notes, err := t.plan.Settings.Entries()
	if err != nil {
		return nil, err
	}
	return weights.FromTensors(t.Best()).WithMetadata(notes)
}
