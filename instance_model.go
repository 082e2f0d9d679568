package sam

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"

	"gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/weights"
)

// InstanceModel finds all objects of a picture without a prompt: Segment
// Anything's image encoder with the instance decoder of micro-sam and
// patho-sam behind it, or with patho-sam's semantic decoder, which tells the
// class of each pixel. It is immutable and safe for any number of goroutines.
//
// The decoder needs some 1.1 GB of working memory at the published shape,
// which is kept for the next picture; goroutines take turns.
type InstanceModel struct {
	model       *Model // its decoder is nil if the file has an encoder alone
	fingerprint [16]byte
	decoder     *instance.Decoder
	decoders    *graph.Pool[instance.Stats]
}

// LoadInstances reads an instance model: from one file that holds a model and
// its instance decoder, as micro-sam writes them, or the encoder and the
// decoder of a training; or from two, a model's file and its decoder's.
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
	if encoder := dec.Only(isEncoder); len(paths) == 1 && len(encoder.Names()) > 0 {
		model, err = newEncoder(encoder)
	} else {
		model, err = loadModel(paths[0])
	}
	if err != nil {
		return nil, err
	}
	return newInstanceModel(model, dec.Only(func(name string) bool { return !isEncoder(name) }))
}

func loadModel(path string) (*Model, error) {
	ck, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	return fromCheckpoint(ck)
}

// newEncoder returns a model that can embed pictures and no more.
func newEncoder(ck *weights.Checkpoint) (*Model, error) {
	cfg, err := encoderConfigOf(ck)
	if err != nil {
		return nil, err
	}
	p := newEncoderParams(cfg)
	if err := p.bindEncoder(ck); err != nil {
		return nil, err
	}
	m := &Model{cfg: cfg, backend: cpu.Backend{}, pixels: new(sync.Pool), mirrors: make([]mirror, 1)}
	if m.fingerprint, err = ck.Fingerprint(); err != nil {
		return nil, err
	}
	if m.encoder, err = p.build(cfg); err != nil {
		return nil, err
	}
	n := m.encoderGraph()
	if err := m.backend.Prepare(n.b, n.options, n.outputs...); err != nil {
		return nil, fmt.Errorf("%s: %w", n.name, err)
	}
	if err := m.encoder.Weights().Detach(); err != nil {
		return nil, err
	}
	m.poolEncoders()
	return m, nil
}

func newInstanceModel(model *Model, ck *weights.Checkpoint) (*InstanceModel, error) {
	c := model.cfg.Encoder
	cfg, err := instance.ConfigOf(ck, c.Grid())
	if err != nil {
		return nil, err
	}
	if cfg.Embed != c.Out {
		return nil, fmt.Errorf("decoder for embeddings of %d channels, the model's have %d", cfg.Embed, c.Out)
	}
	p := instance.NewParams(cfg)
	if err := weights.Bind(ck, p); err != nil {
		return nil, err
	}
	m := &InstanceModel{model: model}
	print, err := ck.Fingerprint()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append(print[:], model.fingerprint[:]...))
	m.fingerprint = [16]byte(sum[:])
	if m.decoder, err = instance.New(cfg, p); err != nil {
		return nil, err
	}
	n := m.graph(instance.BatchStats)
	if err := model.backend.Prepare(n.b, n.options, n.outputs...); err != nil {
		return nil, fmt.Errorf("%s: %w", n.name, err)
	}
	if err := m.decoder.Weights().Detach(); err != nil {
		return nil, err
	}
	m.decoders = graph.NewPool(1, 1, func(s instance.Stats) (graph.Program, error) { return model.compile(m.graph(s)) })
	return m, nil
}

// graph is the graph from an embedding to the decoder's maps.
func (m *InstanceModel) graph(s instance.Stats) network {
	b := graph.NewBuilder()
	c := m.decoder.Config()
	out := m.decoder.Build(b, b.Input(inEmbedding, c.Grid*c.Grid, c.Embed), s)
	return network{"instance decoder", b, []*gorgonia.Node{out}, graph.CompileOptions{}}
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
func (m *InstanceModel) Maps() int { return m.decoder.Config().Out }

// Fingerprint tells instance models apart: it is a hash of all weights.
func (m *InstanceModel) Fingerprint() [16]byte { return m.fingerprint }

// decode runs the decoder and brings each of its maps to the picture's size,
// which must not be kept.
func (m *InstanceModel) decode(ctx context.Context, e *Embedding, s instance.Stats, use func(maps [][]float32) error) error {
	c := m.decoder.Config()
	post, err := m.upscaler(e)
	if err != nil {
		return err
	}
	return m.decoders.With(ctx, s, func(p graph.Program) error {
		if err := p.Bind(inEmbedding, e.views[0].data); err != nil {
			return err
		}
		if err := p.Run(ctx); err != nil {
			return err
		}
		out := p.Output(0)
		plane := make([]float32, len(out)/c.Out)
		maps := make([][]float32, c.Out)
		for i := range maps {
			if err := ctx.Err(); err != nil {
				return err
			}
			for k := range plane {
				plane[k] = out[k*c.Out+i]
			}
			maps[i] = make([]float32, e.picture.H*e.picture.W)
			if err := post.Logits(maps[i], plane); err != nil {
				return err
			}
		}
		return use(maps)
	})
}
