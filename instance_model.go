package sam

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/slidesam/sam/internal/encoder"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

// InstanceModel finds all objects of a picture without a prompt: Segment
// Anything's image encoder with the instance decoder of micro-sam and
// patho-sam behind it, or with patho-sam's semantic decoder, which tells the
// class of each pixel. It is immutable and safe for any number of goroutines.
//
// The decoder needs some 0.8 GB of working memory at the published shape,
// which is kept for the next picture; goroutines take turns.
type InstanceModel struct {
	model    *Model   // its decoder is nil if the file has an encoder alone
	origin   [16]byte // hash of the decoder's weights
	decoder  *instance.Network
	defaults instance.Settings
}

// BundledInstances returns the bundled model with its instance decoder, for
// nuclei of H&E at 0.25 micrometres per pixel ([Defaults] of [Bundled]);
// weights/bundled/README.md says how well it finds them.
func BundledInstances() (*InstanceModel, error) {
	m, err := Bundled()
	if err != nil {
		return nil, err
	}
	ck, err := bundled.Decoder()
	if err != nil {
		return nil, fmt.Errorf("sam: bundled instances: %w", err)
	}
	defer ck.Close()
	return newInstanceModel(m, ck)
}

// LoadInstances reads an instance model: from one file that holds a model and
// its instance decoder, as micro-sam writes them, or the encoder and the
// decoder of a training; or from two, one of those or a model's ("": [Bundled]),
// and a decoder's.
//
//	m, err := sam.LoadInstances("vit_b_histopathology.pt", "vit_b_histopathology_decoder.pt")
//
// Errors are those of [Load].
func LoadInstances(paths ...string) (*InstanceModel, error) {
	if len(paths) != 1 && len(paths) != 2 {
		return nil, fmt.Errorf("sam: load instances: %d files, want one or two", len(paths))
	}
	m, err := loadInstances(paths)
	if err != nil {
		return nil, fmt.Errorf("sam: load instances %s: %w", strings.Join(paths, ", "), err)
	}
	return m, nil
}

func loadInstances(paths []string) (*InstanceModel, error) {
	dec, err := weights.OpenDecoder(paths[len(paths)-1])
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	isEncoder := func(name string) bool { return strings.HasPrefix(name, "image_encoder.") }
	var model *Model
	training, err := weights.OpenDecoder(paths[0])
	if err == nil {
		defer training.Close()
	}
	if err == nil && len(training.Only(isEncoder).Names()) > 0 {
		model, err = newEncoder(training.Only(isEncoder))
	} else if paths[0] == "" {
		model, err = Bundled()
	} else {
		model, err = load(paths[0], FP32)
	}
	if err != nil {
		return nil, err
	}
	return newInstanceModel(model, dec.Only(func(name string) bool { return !isEncoder(name) }))
}

// newEncoder returns a model that can embed pictures and no more.
func newEncoder(ck *weights.Checkpoint) (*Model, error) {
	shape, err := encoder.ShapeOf(ck)
	if err != nil {
		return nil, err
	}
	p := &struct {
		Encoder any `weight:"image_encoder"`
	}{encoder.NewParams(shape)}
	if err := weights.Bind(ck, p); err != nil {
		return nil, err
	}
	m := &Model{cfg: Config{Encoder: shape.ViT, TinyViT: shape.Tiny}}
	if m.origin, err = ck.Fingerprint(); err != nil {
		return nil, err
	}
	if m.encoder, err = encoder.New(shape, p.Encoder); err != nil {
		return nil, err
	}
	m.startEncoder()
	if err := m.prepare(); err != nil {
		return nil, err
	}
	m.makePools()
	return m, nil
}

func newInstanceModel(model *Model, ck *weights.Checkpoint) (*InstanceModel, error) {
	c := model.cfg.Encoder
	m := &InstanceModel{model: model}
	var err error
	if m.origin, err = ck.Fingerprint(); err != nil {
		return nil, err
	}
	if m.defaults, err = instance.SettingsFrom(ck.Metadata(), m.origin); err != nil {
		return nil, err
	}
	m.decoder, err = instance.NewNetwork(model.backend, ck, c.Grid(), c.Out)
	return m, err
}

// ErrNoPrompts is returned for what needs a prompt encoder and a mask decoder,
// by an instance model that was loaded from a training of the encoder alone.
var ErrNoPrompts = errors.New("no prompt encoder and no mask decoder in the file")

// Model returns the model whose encoder m uses, for prompts on the same
// pictures. It returns [ErrNoPrompts] if the file that m came from has none.
func (m *InstanceModel) Model() (*Model, error) {
	if m.model.decoder == nil {
		return nil, fmt.Errorf("sam: model of instances: %w", ErrNoPrompts)
	}
	return m.model, nil
}

// Maps is the number of the decoder's maps: 3 for instances, or the number of
// classes.
func (m *InstanceModel) Maps() int { return m.decoder.Maps() }

// Device is what the model computes on: the CPU, unless [InstanceModel.On] has
// chosen another one.
func (m *InstanceModel) Device() Device { return m.model.device }

// On returns the model on another device, as [Model.On] does, encoder and
// decoder both.
func (m *InstanceModel) On(device string, p Precision) (*InstanceModel, error) {
	c := *m
	var err error
	if c.model, err = m.model.On(device, p); err != nil {
		return nil, err
	}
	c.decoder, err = m.decoder.On(c.model.backend)
	switch {
	case err == nil:
		return &c, nil
	case device != Auto || p != FP32:
		return nil, fmt.Errorf("sam: on %s in %v: %w", device, p, err)
	}
	c.model = m.model.onCPU(err)
	c.decoder, err = m.decoder.On(c.model.backend)
	return &c, err
}

// Fingerprint tells instance models apart: it is a hash of all weights.
func (m *InstanceModel) Fingerprint() [16]byte {
	sum := sha256.Sum256(append(m.origin[:len(m.origin):len(m.origin)], m.model.fingerprint[:]...))
	return [16]byte(sum[:])
}
