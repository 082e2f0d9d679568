package sam

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
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

// Graph returns the gorgonia graph of a network, to look at: the decoder's
// for one point prompt and several masks. Weights and inputs are its leaves.
// The nodes are the caller's own, the values of the weights are the model's
// and must not be written to; running the graph is possible with gorgonia's
// machines once its inputs have values.
func (m *Model) Graph(n Network) (*gorgonia.ExprGraph, error) {
	b := graph.NewBuilder()
	c := m.cfg.Decoder
	switch n {
	case ImageEncoder:
		m.encoder.Build(b)
	case PromptEncoder:
		m.prompt.Sparse(b, 1, 4) // a point, its padding or a second one, and a box
		m.prompt.Dense(b, 1)
	case MaskDecoder:
		emb := b.Input(inEmbedding, c.Grid*c.Grid, c.Channels)
		noMask := b.Weight("no_mask_embed", m.prompt.NoMask(), 1, c.Channels)
		img := m.decoder.Image(b, b.Apply(op.Add{}, emb, noMask))
		k := decoderKey{prompts: 1, tokens: 2}
		m.decoder.Masks(b, maskdec.Batch{Prompts: 1, Tokens: 2, Masks: k.masks(c.MaskTokens)}, img, m.prompt.Sparse(b, 1, 2))
	default:
		return nil, fmt.Errorf("sam: graph %q: no such network, want %s, %s or %s", n, ImageEncoder, PromptEncoder, MaskDecoder)
	}
	if err := b.Err(); err != nil {
		return nil, fmt.Errorf("sam: graph %s: %w", n, err)
	}
	return b.Graph(), nil
}
