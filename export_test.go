package sam

import (
	"context"
	"image"

	"gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/mirror"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/promptenc"
	"github.com/slidesam/sam/weights"
)

// EncodeStages runs the encoder on img and returns the program with the
// value of each stage.
func (m *Model) EncodeStages(ctx context.Context, img image.Image) (graph.Program, error) {
	n := m.encoderGraph()
	n.options.KeepStages = true
	return m.encodeProgram(ctx, img, n)
}

func (m *Model) encodeProgram(ctx context.Context, img image.Image, n network) (graph.Program, error) {
	src, err := picture.New(img)
	if err != nil {
		return nil, err
	}
	in := resample.LongestSide(src.Bounds(), m.encoder.ImageSize())
	pix, err := resample.Bilinear(nil, src, in)
	if err != nil {
		return nil, err
	}
	p, err := m.compile(n)
	if err != nil {
		return nil, err
	}
	m.colours.normalise(p.Input(m.encoder.Input()), pix, Size(in), m.encoder.ImageSize(), mirror.View{}, resample.Size{})
	return p, p.Run(ctx)
}

// DecodeStages decodes one prompt layer by layer and returns the program with
// the value of each stage.
func (m *Model) DecodeStages(ctx context.Context, e *Embedding, p Prompt, single bool) (graph.Program, error) {
	enc, key, err := m.decodeKey(e, p, single)
	if err != nil {
		return nil, err
	}
	n := m.decoderGraph(key)
	n.options.KeepStages = true
	return m.decodeProgram(ctx, e, enc, key, n)
}

// decodeKey is the shape of one prompt.
func (m *Model) decodeKey(e *Embedding, p Prompt, single bool) (encoded, decoderKey, error) {
	enc, err := m.encode(e, p)
	key := enc.key(single)
	key.prompts = 1
	return enc, key, err
}

func (m *Model) decodeProgram(ctx context.Context, e *Embedding, enc encoded, key decoderKey, n network) (graph.Program, error) {
	prog, err := m.compile(n)
	if err != nil {
		return nil, err
	}
	side, err := m.imageSide(ctx, e.views[0])
	if err != nil {
		return nil, err
	}
	if key.tokens > 0 {
		copy(prog.Input(promptenc.Points), enc.points)
	}
	if key.masked {
		copy(prog.Input(promptenc.Mask), enc.mask)
		copy(prog.Input(inEmbedding), e.views[0].data)
	} else {
		copy(prog.Input(inKeys), side.keys)
		copy(prog.Input(inK), side.k)
		copy(prog.Input(inV), side.v)
		copy(prog.Input(inQ), side.q)
	}
	return prog, prog.Run(ctx)
}

// WithEncoder returns m with another encoder of m's grid and channels.
func (m *Model) WithEncoder(e Encoder) (*Model, error) {
	c := &Model{cfg: m.cfg, origin: m.origin, encoder: e, prompt: m.prompt, decoder: m.decoder}
	return c, c.start()
}

// Values are the values of the model's weights by their names, as the graphs'
// leaves have them.
func (m *Model) Values() (map[string][]float32, error) {
	all := map[string][]float32{}
	for _, s := range m.weights() {
		for _, w := range s.All() {
			v, err := w.Values()
			if err != nil {
				return nil, err
			}
			all[w.Name()] = v
		}
	}
	return all, nil
}

// Answers are what the ways to run one graph return.
type Answers struct{ Lowered, Plain, TapeMachine [][]float32 }

// EncodeEachWay runs the encoder's graph in each way.
func (m *Model) EncodeEachWay(ctx context.Context, img image.Image) (Answers, error) {
	return m.eachWay(m.encoderGraph(), func(n network) (graph.Program, error) { return m.encodeProgram(ctx, img, n) })
}

// DecodeEachWay runs the decoder's graph, from an embedding to masks, in each
// way.
func (m *Model) DecodeEachWay(ctx context.Context, e *Embedding, p Prompt) (Answers, error) {
	enc, key, err := m.decodeKey(e, p, false)
	if err != nil {
		return Answers{}, err
	}
	n := m.decoderGraph(key)
	if !key.masked {
		b := graph.NewBuilder()
		n = network{"whole decoder", b, m.buildDecoder(b, key, m.image(b), false), graph.CompileOptions{}}
	}
	return m.eachWay(n, func(n network) (graph.Program, error) {
		prog, err := m.compile(n)
		if err != nil {
			return nil, err
		}
		copy(prog.Input(promptenc.Points), enc.points)
		copy(prog.Input(promptenc.Mask), enc.mask)
		copy(prog.Input(inEmbedding), e.views[0].data)
		return prog, prog.Run(ctx)
	})
}

func (m *Model) eachWay(n network, run func(network) (graph.Program, error)) (a Answers, err error) {
	results := func(p graph.Program) (out [][]float32) {
		for i := range n.outputs {
			out = append(out, append([]float32(nil), p.Output(i)...))
		}
		return out
	}
	p, err := run(n)
	if err != nil {
		return a, err
	}
	a.Lowered = results(p)
	n.options.Plain = true
	if p, err = run(n); err != nil {
		return a, err
	}
	a.Plain = results(p)
	n.b.Run(cpu.Run)
	if err := n.b.BindValues(); err != nil {
		return a, err
	}
	for name, node := range n.b.Inputs() {
		if err := graph.Let(node, p.Input(name)); err != nil {
			return a, err
		}
	}
	vm := gorgonia.NewTapeMachine(n.b.Graph())
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		return a, err
	}
	for _, o := range n.outputs {
		a.TapeMachine = append(a.TapeMachine, o.Value().Data().([]float32))
	}
	return a, nil
}

// HoldImageSide makes predictions on e wait, as for a goroutine that computes
// its image side, until release is called.
func (e *Embedding) HoldImageSide() (release func()) {
	v := e.views[0]
	v.mu.Lock()
	defer v.mu.Unlock()
	v.busy = make(chan struct{})
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		close(v.busy)
		v.busy = nil
	}
}

// Specs are the tensors of a model of this shape.
func Specs(c Config) []weights.Spec { return weights.Specs(newParams(c)) }

// On is what PredictOptions.Local keeps of a mask.
func (m *Mask) On(p Prompt) (*Mask, error) { return faceMask("on")(on(m.pixels(), p)) }

// Turned returns the encoder's input [side, side, 3] for a resized picture pix
// [H, W, 3], turned over.
func (m *Model) Turned(pix []byte, s Size, x, y bool) []float32 {
	side := m.encoder.ImageSize()
	dst := make([]float32, 3*side*side)
	for i := range dst {
		dst[i] = 1e6 // of an earlier picture
	}
	m.colours.normalise(dst, pix, s, side, mirror.View{X: x, Y: y}, m.canvas(s).Pixels)
	return dst
}
