package cellpose

import (
	"context"
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/vit"
	model "github.com/slidesam/sam/vit/cellpose"
	"github.com/slidesam/sam/weights"
)

// Network runs the network on pictures of any size. It is safe for any number
// of goroutines, which take turns: one run keeps all cores busy.
type Network struct {
	net  *model.Network
	pool *graph.Pool[struct{}]
}

// NewNetwork reads a network from a checkpoint such as [weights.OpenCellpose]
// returns, which may be closed afterwards.
func NewNetwork(backend graph.Backend, ck *weights.Checkpoint) (*Network, error) {
	cfg, err := model.ConfigOf(ck)
	if err != nil {
		return nil, err
	}
	p := model.NewParams(cfg)
	if err := weights.Bind(ck, p); err != nil {
		return nil, err
	}
	n := &Network{}
	if n.net, err = model.New(cfg, p); err != nil {
		return nil, err
	}
	b, out := n.graph()
	if err := backend.Prepare(b, graph.CompileOptions{}, out); err != nil {
		return nil, fmt.Errorf("cellpose: %w", err)
	}
	for _, s := range n.net.Weights() {
		if err := s.Detach(); err != nil {
			return nil, err
		}
	}
	n.pool = graph.NewPool(1, 1, func(struct{}) (graph.Program, error) {
		b, out := n.graph()
		return backend.Compile(b, graph.CompileOptions{}, out)
	})
	return n, nil
}

func (n *Network) graph() (*graph.Builder, *gorgonia.Node) {
	b := graph.NewBuilder()
	return b, n.net.Build(b)
}

// Config is the network's shape.
func (n *Network) Config() model.Config { return n.net.Config() }

// Predict returns the maps of a picture. Its channels are spread between the
// levels given, or those of the picture if they are nil; it is padded with 0
// and searched in overlapping windows, whose maps are averaged.
//
// Source: core.py, run_net; transforms.py, average_tiles (cellpose 4.2.1.1).
func (n *Network) Predict(ctx context.Context, p resample.RGB, levels *Levels) (Maps, error) {
	if p.Size.H < 1 || p.Size.W < 1 || p.Size.H > maxSide || p.Size.W > maxSide {
		return Maps{}, fmt.Errorf("%w: %d x %d pixels, want sides of 1 to %d", instance.ErrMaps, p.Size.W, p.Size.H, maxSide)
	}
	if levels == nil {
		l := LevelsOf(p)
		levels = &l
	} else if err := levels.check(); err != nil {
		return Maps{}, err
	}
	table := levels.table()
	side := n.Config().Side()
	y, x := newAxis(p.Size.H, side), newAxis(p.Size.W, side)
	b := newBlend(y, x, side, model.Maps)
	for _, y0 := range y.starts {
		for _, x0 := range x.starts {
			err := n.pool.With(ctx, struct{}{}, func(r graph.Program) error {
				cut(r.Input(vit.Picture), p, &table, y0-y.before, x0-x.before, side)
				if err := r.Run(ctx); err != nil {
					return err
				}
				b.add(y0, x0, n.pixels(r.Output(0)))
				return nil
			})
			if err != nil {
				return Maps{}, err
			}
		}
	}
	return Maps{H: p.Size.H, W: p.Size.W, Down: b.picture(0), Right: b.picture(1), Logit: b.picture(2)}, nil
}

// pixels returns the maps that the network read out of a window's patches.
func (n *Network) pixels(read []float32) func(m, y, x int) float32 {
	e := n.Config().Encoder
	grid, patch := e.Grid(), e.Patch
	return func(m, y, x int) float32 {
		token := y/patch*grid + x/patch
		return read[(token*model.Maps+m)*patch*patch+y%patch*patch+x%patch]
	}
}

// cut fills dst [side, side, 3] with the window of p at (x0, y0), and with 0
// beyond the picture.
func cut(dst []float32, p resample.RGB, table *[3][256]float32, y0, x0, side int) {
	clear(dst)
	for y := max(y0, 0); y < min(y0+side, p.Size.H); y++ {
		row := p.Row(y, nil)
		for x := max(x0, 0); x < min(x0+side, p.Size.W); x++ {
			for c := range 3 {
				dst[((y-y0)*side+x-x0)*3+c] = table[c][row[3*x+c]]
			}
		}
	}
}
