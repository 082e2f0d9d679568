package instances

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/internal/train"
	decoder "github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/weights"
)

// Names of the graph's inputs.
const (
	inEmbedding = "embedding"
	inTarget    = "target"
	inWeight    = "weight"
)

// momentum is how far running statistics go to those of a step's picture:
// torch's default.
const momentum = 0.1

// Engine computes losses of pictures, and their gradients, with weights of its
// own. It is for one goroutine.
type Engine struct {
	cfg      decoder.Config
	stats    decoder.Stats
	weights  []*graph.Weight // trained, then gathered
	trained  int
	program  graph.Program
	grads    []int     // outputs of the program that are gradients, by weight
	moments  []moments // outputs that are moments, in batch mode
	gathered [][]float32

	// Values are the trained arrays and then the running statistics, Grads the
	// sums of the gradients of the first.
	Values, Grads [][]float32
}

// moments is a batch norm whose statistics are gathered: where its running mean
// and variance lie among the values, the output with its picture's, and of how
// many pixels those are.
type moments struct{ mean, variance, output, pixels int }

// NewEngine returns an engine that begins with the decoder's weights. Batch
// norms work with such statistics.
func NewEngine(d *decoder.Decoder, s decoder.Stats) (*Engine, error) {
	e := &Engine{cfg: d.Config(), stats: s}
	if e.cfg.Out != channels {
		return nil, fmt.Errorf("train: a decoder of %d classes, not of instances", e.cfg.Out)
	}
	gathered := d.Statistics()
	for _, w := range d.Weights().All() {
		if !slices.Contains(gathered, w) {
			e.weights = append(e.weights, w)
		}
	}
	e.trained = len(e.weights)
	e.weights = append(e.weights, gathered...)
	for i, w := range e.weights {
		v, err := w.Values()
		if err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
		e.Values = append(e.Values, v)
		if i < e.trained {
			e.Grads = append(e.Grads, kernel.Alloc(len(v)))
		}
	}
	if err := e.compile(d); err != nil {
		return nil, fmt.Errorf("train: build: %w", err)
	}
	return e, nil
}

func (e *Engine) compile(d *decoder.Decoder) error {
	b := graph.NewBuilder()
	b.Variables(func(string) bool { return true })
	maps, norms := d.BuildNorms(b, b.Input(inEmbedding, e.cfg.Grid*e.cfg.Grid, e.cfg.Embed), e.stats)
	if b.Err() != nil {
		return b.Err()
	}
	loss := b.Apply(criterion{}, maps, b.Input(inTarget, maps.Shape()...), b.Input(inWeight, 1))
	outs := []*G.Node{loss}
	if e.stats == decoder.BatchStats {
		for _, n := range norms {
			at := func(w *graph.Weight) int { return slices.Index(e.weights, w) }
			e.moments = append(e.moments, moments{at(n.Mean), at(n.Variance), len(outs), n.In.Shape()[0]})
			outs = append(outs, b.Apply(op.ChannelMoments{}, n.In))
		}
	}
	var wrt []*G.Node
	for _, w := range e.weights[:e.trained] {
		wrt = append(wrt, b.Weight(w))
	}
	seed := b.Apply(op.Part{At: 1, Dims: maps.Shape().Clone()}, loss)
	grads := b.Backward(op.Sum{}, []*G.Node{maps}, []*G.Node{seed}, wrt)
	if b.Err() != nil {
		return b.Err()
	}
	// As they come up on the way back, so that no layer's gradient waits for those
	// of the layers before it.
	order := slices.Clone(grads)
	slices.SortFunc(order, func(x, y *G.Node) int { return int(x.ID() - y.ID()) })
	for _, g := range grads {
		e.grads = append(e.grads, len(outs)+slices.Index(order, g))
	}
	var err error
	if e.program, err = cpu.Compile(b, graph.CompileOptions{}, append(outs, order...)...); err != nil {
		return err
	}
	for i, w := range e.weights {
		if e.program.Input(w.Name()) == nil { // statistics that nothing reads
			continue
		}
		if err := e.program.Bind(w.Name(), e.Values[i]); err != nil {
			return err
		}
	}
	return nil
}

// Zero clears the gradients, and forgets the statistics since Gather.
func (e *Engine) Zero() {
	for _, g := range e.Grads {
		clear(g)
	}
	e.gathered = e.gathered[:0]
}

// Run adds the gradient of a picture's loss, times weight, to Grads and returns
// the loss: of an embedding [Grid*Grid, Embed] and a target [Side*Side, 3]. It
// returns an error that wraps [train.ErrDiverged] if the loss is not finite.
func (e *Engine) Run(ctx context.Context, embedding, target []float32, weight float64) (float64, error) {
	for name, v := range map[string][]float32{inEmbedding: embedding, inTarget: target, inWeight: {float32(weight)}} {
		if err := e.program.Bind(name, v); err != nil {
			return 0, err
		}
	}
	if err := e.program.Run(ctx); err != nil {
		return 0, err
	}
	loss := float64(e.program.Output(0)[0])
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, fmt.Errorf("train: %w", train.ErrDiverged)
	}
	for i, at := range e.grads {
		kernel.Add(e.Grads[i], e.Grads[i], e.program.Output(at))
	}
	for _, m := range e.moments {
		e.gathered = append(e.gathered, slices.Clone(e.program.Output(m.output)))
	}
	return loss, nil
}

// Gather lets the running statistics follow those of the pictures since Zero,
// one after the other.
func (e *Engine) Gather() {
	for k, both := range e.gathered {
		m := e.moments[k%len(e.moments)]
		mean, variance := e.Values[m.mean], e.Values[m.variance]
		unbiased := float32(float64(m.pixels) / float64(max(1, m.pixels-1)))
		for i := range mean {
			mean[i] = float32((1-momentum)*mean[i]) + float32(momentum*both[i])
			variance[i] = float32((1-momentum)*variance[i]) + float32(momentum*float32(both[len(mean)+i]*unbiased))
		}
	}
	e.gathered = e.gathered[:0]
}

// Tensors returns copies of the decoder's tensors by their checkpoint names,
// and for each batch norm the number of batches that torch wants beside them.
func (e *Engine) Tensors(batches int) map[string]weights.TensorData {
	out := map[string]weights.TensorData{}
	for i, w := range e.weights {
		out[w.Name()] = weights.TensorData{Shape: w.Shape(), Data: slices.Clone(e.Values[i])}
		if norm, ok := strings.CutSuffix(w.Name(), ".running_mean"); ok {
			out[norm+".num_batches_tracked"] = weights.TensorData{Shape: []int{}, Data: []float32{float32(batches)}}
		}
	}
	return out
}

// Bytes is the working memory of the compiled graph.
func (e *Engine) Bytes() int {
	n, _ := e.program.Bytes()
	return n
}
