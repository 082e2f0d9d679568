package sam

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/maskdec"
)

// Network is one of the graphs that a model runs.
type Network string

// The networks of a model.
const (
	ImageEncoder  Network = "image-encoder"  // from a picture to its embedding
	PromptEncoder Network = "prompt-encoder" // from a point, a box and a mask to tokens and a dense map
	MaskDecoder   Network = "mask-decoder"   // from an embedding and a point to masks
)

// Graph returns the gorgonia graph of a network, the definition of what the
// model computes, layer by layer: the decoder's for one point prompt and
// several masks. Weights and inputs are its leaves, in their checkpoint's
// shapes. The graph and copies of the weights, as many as the checkpoint has,
// are the caller's own. gorgonia's machines can run it once its inputs have
// values; the model itself runs what its backend makes of such graphs.
func (m *Model) Graph(n Network) (*gorgonia.ExprGraph, error) {
	if m.rounded {
		return nil, fmt.Errorf("sam: graph %s: the weights were loaded in %v: load the file anew", n, m.precision)
	}
	b := graph.NewBuilder()
	b.Run(cpu.Run)
	switch n {
	case ImageEncoder:
		m.encoder.Build(b)
	case PromptEncoder:
		m.prompt.Sparse(b, 1, 4) // a point, its padding or a second one, and a box
		m.prompt.Dense(b, 1)
	case MaskDecoder:
		m.buildDecoder(b, decoderKey{prompts: 1, tokens: 2}, m.image(b), false)
	default:
		return nil, fmt.Errorf("sam: graph %q: no such network, want %s, %s or %s", n, ImageEncoder, PromptEncoder, MaskDecoder)
	}
	if err := b.Err(); err != nil {
		return nil, fmt.Errorf("sam: graph %s: %w", n, err)
	}
	if err := b.BindValues(); err != nil {
		return nil, fmt.Errorf("sam: graph %s: %w", n, err)
	}
	return b.Graph(), nil
}

// Names of the decoder's inputs that come from the picture.
const (
	inEmbedding = "embedding"
	inKeys      = "image.keys"
	inK         = "image.k"
	inV         = "image.v"
	inQ         = "image.q"
)

// network is a graph to be compiled.
type network struct {
	name    string
	b       *graph.Builder
	outputs []*gorgonia.Node
	options graph.CompileOptions
}

func (m *Model) compile(n network) (graph.Program, error) {
	p, err := m.backend.Compile(n.b, n.options, n.outputs...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.name, err)
	}
	return p, nil
}

// encoderGraph is the graph from a picture to its embedding.
func (m *Model) encoderGraph() network {
	b := graph.NewBuilder()
	return network{"image encoder", b, []*gorgonia.Node{m.encoder.Build(b)}, graph.CompileOptions{Formats: m.formats()}}
}

// image adds the picture's side of the decoder, from an embedding.
func (m *Model) image(b *graph.Builder) maskdec.Image {
	c := m.cfg.Decoder
	rows := b.Apply(op.Add{}, b.Input(inEmbedding, c.Grid*c.Grid, c.Channels), m.prompt.NoMask(b))
	return m.decoder.Image(b, rows, m.prompt.Positions(b))
}

// imageGraph is the graph of what no prompt changes. Its outputs are the parts
// of an imageSide.
func (m *Model) imageGraph() network {
	b := graph.NewBuilder()
	img := m.image(b)
	outputs := []*gorgonia.Node{b.Stage(inKeys, img.Rows), b.Stage(inK, img.K), b.Stage(inV, img.V), b.Stage(inQ, img.Q)}
	return network{"image side", b, outputs, graph.CompileOptions{Private: []string{inKeys, inK, inQ}, Lasting: []string{inEmbedding}}}
}

// decoderKey is what a decoder's graph depends on.
type decoderKey struct {
	prompts int
	tokens  int  // sparse tokens of each prompt
	masked  bool // each prompt has a mask
	single  bool // the single mask, instead of the others
}

// masks are the mask tokens that the graph decodes.
func (k decoderKey) masks(all int) []int {
	if k.single || all == 1 {
		return []int{0}
	}
	var ms []int
	for i := 1; i < all; i++ {
		ms = append(ms, i)
	}
	return ms
}

// decoderGraph is the graph from prompts to masks, with a floor under their
// quality. What the prompts share of the picture comes from imageGraph.
func (m *Model) decoderGraph(k decoderKey) network {
	b := graph.NewBuilder()
	c := m.cfg.Decoder
	img := maskdec.Image{Positions: m.prompt.Positions(b)}
	if k.masked {
		img.Rows = b.Apply(op.Add{}, m.prompt.Dense(b, k.prompts), b.Input(inEmbedding, c.Grid*c.Grid, c.Channels))
	} else {
		img = m.decoder.ImageInputs(b, img.Positions, inKeys, inK, inV, inQ)
	}
	o := graph.CompileOptions{Private: []string{inKeys, inK, inQ}, Lasting: []string{inEmbedding, inKeys, inK, inV, inQ}}
	return network{"mask decoder", b, m.buildDecoder(b, k, img, true), o}
}

// buildDecoder adds the decoder and returns low-resolution logits
// [prompts*masks, MaskSize*MaskSize] and qualities [prompts, MaskTokens].
func (m *Model) buildDecoder(b *graph.Builder, k decoderKey, img maskdec.Image, floor bool) []*gorgonia.Node {
	var sparse *gorgonia.Node
	if k.tokens > 0 {
		sparse = m.prompt.Sparse(b, k.prompts, k.tokens)
	}
	batch := maskdec.Batch{Prompts: k.prompts, Tokens: k.tokens, Masks: k.masks(m.cfg.Decoder.MaskTokens), Floor: floor}
	logits, iou := m.decoder.Masks(b, batch, img, sparse)
	return []*gorgonia.Node{logits, iou}
}

// weights are those of all networks that the model has.
func (m *Model) weights() []*layer.Set {
	if m.decoder == nil { // an instance model's encoder
		return []*layer.Set{m.encoder.Weights()}
	}
	return []*layer.Set{m.encoder.Weights(), m.prompt.Weights(), m.decoder.Weights()}
}

// prepare lets the backend read all weights, whose file is closed afterwards:
// for prompts of few and of many tokens, with a mask and without, and for each
// of the masks.
func (m *Model) prepare() error {
	networks := []network{m.encoderGraph()}
	if m.decoder != nil {
		networks = append(networks, m.imageGraph(),
			m.decoderGraph(decoderKey{prompts: 1, tokens: 2}),
			m.decoderGraph(decoderKey{prompts: 1, tokens: 2, masked: true, single: true}),
			m.decoderGraph(decoderKey{prompts: 1, tokens: MaxPoints}))
	}
	for _, n := range networks {
		if err := m.backend.Prepare(n.b, n.options, n.outputs...); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
	}
	for _, s := range m.weights() {
		if err := s.Detach(); err != nil {
			return err
		}
	}
	return nil
}
