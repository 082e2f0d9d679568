package instance

import (
	"context"
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/resample"
	decoder "github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/weights"
)

// embedding is the name of the input of a network's graph.
const embedding = "embedding"

// Network runs an instance decoder on embeddings. It is safe for any number of
// goroutines, which take turns: its working memory is kept, and large.
type Network struct {
	decoder *decoder.Decoder
	pool    *graph.Pool[decoder.Stats]
}

// NewNetwork reads a decoder for embeddings [grid*grid, channels] from a
// checkpoint, which may be closed afterwards.
func NewNetwork(backend graph.Backend, ck *weights.Checkpoint, grid, channels int) (*Network, error) {
	cfg, err := decoder.ConfigOf(ck, grid)
	if err != nil {
		return nil, err
	}
	if cfg.Embed != channels {
		return nil, fmt.Errorf("decoder for embeddings of %d channels, the model's have %d", cfg.Embed, channels)
	}
	p := decoder.NewParams(cfg)
	if err := weights.Bind(ck, p); err != nil {
		return nil, err
	}
	n := &Network{}
	if n.decoder, err = decoder.New(cfg, p); err != nil {
		return nil, err
	}
	return n.On(backend)
}

// On returns the decoder on another backend, which reads all weights.
func (n *Network) On(backend graph.Backend) (*Network, error) {
	n = &Network{decoder: n.decoder}
	b, out := n.graph(decoder.BatchStats)
	if err := backend.Prepare(b, graph.CompileOptions{}, out); err != nil {
		return nil, fmt.Errorf("instance decoder: %w", err)
	}
	if err := n.decoder.Weights().Detach(); err != nil {
		return nil, err
	}
	n.pool = graph.NewPool(1, 1, func(s decoder.Stats) (graph.Program, error) {
		b, out := n.graph(s)
		return backend.Compile(b, graph.CompileOptions{}, out)
	})
	return n, nil
}

func (n *Network) graph(s decoder.Stats) (*graph.Builder, *gorgonia.Node) {
	b := graph.NewBuilder()
	c := n.decoder.Config()
	return b, n.decoder.Build(b, b.Input(embedding, c.Grid*c.Grid, c.Embed), s)
}

// Decoder is the decoder that the network runs.
func (n *Network) Decoder() *decoder.Decoder { return n.decoder }

// Maps is the number of the decoder's maps.
func (n *Network) Maps() int { return n.decoder.Config().Out }

// Run returns the decoder's maps of an embedding, brought to the size of the
// picture as Segment Anything brings logits: the sigmoid comes first. frame is
// the side of the encoder's input, of which the picture filled input.
func (n *Network) Run(ctx context.Context, z []float32, s decoder.Stats, frame int, input, picture resample.Size) ([][]float32, error) {
	c := n.decoder.Config()
	post, err := resample.NewUpscaler(resample.Size{H: c.Side(), W: c.Side()}, frame, input, picture)
	if err != nil {
		return nil, err
	}
	maps := make([][]float32, c.Out)
	err = n.pool.With(ctx, s, func(p graph.Program) error {
		if err := p.Bind(embedding, z); err != nil {
			return err
		}
		if err := p.Run(ctx); err != nil {
			return err
		}
		out := p.Output(0)
		plane := make([]float32, len(out)/c.Out)
		for i := range maps {
			if err := ctx.Err(); err != nil {
				return err
			}
			for k := range plane {
				plane[k] = out[k*c.Out+i]
			}
			maps[i] = make([]float32, picture.H*picture.W)
			if err := post.Logits(maps[i], plane); err != nil {
				return err
			}
		}
		return nil
	})
	return maps, err
}
