package train

import (
	"context"
	"fmt"
	"math"
	"slices"

	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/maskdec"
	"github.com/slidesam/sam/promptenc"
	"github.com/slidesam/sam/weights"
)

// Networks are what is trained: a prompt encoder and a mask decoder.
type Networks struct {
	Prompt  *promptenc.Encoder
	Decoder *maskdec.Decoder
}

// Key is what a graph depends on.
type Key struct {
	Prompts int
	Tokens  int  // sparse tokens of each prompt
	Masked  bool // each prompt has a mask
	Single  bool // the one mask instead of the others
}

// Masks are the mask tokens that the graph decodes.
func (k Key) Masks(all int) []int {
	if k.Single || all == 1 {
		return []int{0}
	}
	var ms []int
	for i := 1; i < all; i++ {
		ms = append(ms, i)
	}
	return ms
}

// InEmbedding is the name of the graph's input of that, [Grid*Grid, Channels].
const InEmbedding = "embedding"

// Outputs are the nodes that Build adds.
type Outputs struct {
	Embedding *G.Node // the input
	Logits    *G.Node // [Prompts*masks, MaskSize*MaskSize]
	IoU       *G.Node // [Prompts, MaskTokens]
}

// Build adds both networks to b: the plain graph that inference has as well,
// down to the embedding.
func (n Networks) Build(b *graph.Builder, k Key) Outputs {
	c := n.Decoder.Config()
	emb := b.Input(InEmbedding, c.Grid*c.Grid, c.Channels)
	img := maskdec.Image{Positions: n.Prompt.Positions(b)}
	if k.Masked {
		img.Rows = b.Apply(op.Add{}, n.Prompt.Dense(b, k.Prompts), emb)
	} else {
		img.Rows = b.Apply(op.Add{}, emb, n.Prompt.NoMask(b))
	}
	var sparse *G.Node
	if k.Tokens > 0 {
		sparse = n.Prompt.Sparse(b, k.Prompts, k.Tokens)
	}
	logits, iou := n.Decoder.Masks(b, maskdec.Batch{Prompts: k.Prompts, Tokens: k.Tokens, Masks: k.Masks(c.MaskTokens)}, img, sparse)
	return Outputs{emb, logits, iou}
}

// Weights are what is trained: all of both networks but the frequencies of
// positions, which are fixed upstream too.
func (n Networks) Weights() []*graph.Weight {
	all := slices.Concat(n.Prompt.Weights().All(), n.Decoder.Weights().All())
	return slices.DeleteFunc(all, func(w *graph.Weight) bool { return w.Name() == frequencies })
}

const frequencies = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"

// Engine computes losses of prompts, and their gradients, with weights of its
// own. It is for one goroutine.
type Engine struct {
	nets     Networks
	loss     Loss
	weights  []*graph.Weight
	trained  map[string]bool
	programs map[programKey]*program
	tail     *tail // nil: embeddings stay as they are

	// Values are the arrays that are trained, in the order of Networks.Weights
	// and then of Adapters.Weights, and Grads the sums of their gradients.
	Values, Grads [][]float32
}

type programKey struct {
	Key
	learn bool
}

type program struct {
	graph.Program
	criterion Criterion
	grads     []int // outputs that are the weights' gradients, and the embedding's; -1 for none
}

// maxPrograms is how many compiled graphs an engine keeps. Their working
// memory is most of what training takes.
const maxPrograms = 6

// NewEngine returns an engine that begins with the networks' weights. With
// adapters it trains them as well; they may be nil.
func NewEngine(n Networks, l Loss, a *Adapters) (*Engine, error) {
	e := &Engine{nets: n, loss: l, weights: n.Weights(), trained: map[string]bool{}, programs: map[programKey]*program{}}
	all := e.weights
	if a != nil {
		all = slices.Concat(all, a.pairs)
	}
	for _, w := range all {
		v, err := w.Values()
		if err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
		e.trained[w.Name()] = true
		e.Values, e.Grads = append(e.Values, v), append(e.Grads, kernel.Alloc(len(v)))
	}
	if a != nil {
		var err error
		if e.tail, err = a.compile(e.Values[len(e.weights):]); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Sizes are the lengths of the arrays.
func (e *Engine) Sizes() (n []int) {
	for _, v := range e.Values {
		n = append(n, len(v))
	}
	return n
}

// Tensors returns copies of the trained tensors by their checkpoint names, and
// the encoder's weights with the adapters merged into them.
func (e *Engine) Tensors() (map[string]weights.TensorData, error) {
	out := map[string]weights.TensorData{}
	if e.tail != nil {
		var err error
		if out, err = e.tail.Merged(e.Values[len(e.weights):]); err != nil {
			return nil, err
		}
	}
	for i, w := range e.weights {
		out[w.Name()] = weights.TensorData{Shape: w.Shape(), Data: slices.Clone(e.Values[i])}
	}
	return out, nil
}

// Adapters returns copies of the adapters' matrices by their names.
func (e *Engine) Adapters() map[string]weights.TensorData {
	out := map[string]weights.TensorData{}
	if e.tail != nil {
		for i, w := range e.tail.pairs {
			out[w.Name()] = weights.TensorData{Shape: w.Shape(), Data: slices.Clone(e.Values[len(e.weights)+i])}
		}
	}
	return out
}

// Begin makes a view's embedding ready and returns it. With adapters the view
// has what [Adapters.Head] gave in its place.
func (e *Engine) Begin(ctx context.Context, v *View) ([]float32, error) {
	if e.tail == nil {
		return v.Embedding, nil
	}
	return e.tail.embed(ctx, v.Embedding)
}

// End adds what the prompts since Begin say about the adapters to Grads.
func (e *Engine) End(ctx context.Context) error {
	if e.tail == nil {
		return nil
	}
	return e.tail.learn(ctx, e.Grads[len(e.weights):])
}

// Zero clears the gradients.
func (e *Engine) Zero() {
	for _, g := range e.Grads {
		clear(g)
	}
}

// Answer is what the model said to one prompt.
type Answer struct {
	Result
	Logits  []float32 // of the mask with the highest predicted quality
	Quality float32   // that prediction
	IoU     float64   // of that mask with the target
}

// Run answers prompts of one kind on one embedding [Grid*Grid, Channels]. With
// learn, the gradient of the sum of their losses, each times weight, is added
// to Grads. It returns an error if a loss is not finite.
func (e *Engine) Run(ctx context.Context, embedding []float32, ps []Prompt, ts []*Target, weight float32, learn bool) ([]Answer, error) {
	k, rows, err := e.key(ps)
	if err != nil {
		return nil, err
	}
	p, err := e.program(programKey{k, learn})
	if err != nil {
		return nil, err
	}
	side := 4 * e.nets.Decoder.Config().Grid
	if err := p.Bind(InEmbedding, embedding); err != nil {
		return nil, err
	}
	copy(p.Input(promptenc.Points), rows)
	size := p.Input(inSize)
	size[0], size[1] = float32(ts[0].H), float32(ts[0].W)
	for i := range ps {
		if k.Masked {
			copy(p.Input(promptenc.Mask)[i*side*side:], ps[i].Mask)
		}
		copy(p.Input(inTarget)[i*side*side:], ts[i].Share)
		p.Input(inWeight)[i] = weight
		w := ts[i].Window
		for j, v := range []int{w.X0, w.Y0, w.X1, w.Y1, w.Factor} {
			p.Input(inWindow)[5*i+j] = float32(v)
		}
		copy(p.Input(inFine)[i*side*side:(i+1)*side*side], w.Share)
	}
	if err := p.Run(ctx); err != nil {
		return nil, err
	}
	answers, err := e.answers(p, k)
	if err != nil {
		return nil, err
	}
	for i, at := range p.grads {
		switch {
		case at < 0:
		case i < len(e.weights):
			kernel.Add(e.Grads[i], e.Grads[i], p.Output(at))
		default: // the embedding
			kernel.Add(e.tail.slope, e.tail.slope, p.Output(at))
		}
	}
	return answers, nil
}

// answers reads a program's outputs.
func (e *Engine) answers(p *program, k Key) ([]Answer, error) {
	d := e.nets.Decoder.Config()
	masks, n := k.Masks(d.MaskTokens), 16*d.Grid*d.Grid
	out := make([]Answer, k.Prompts)
	for i, r := range p.criterion.Results(p.Output(2)) {
		if math.IsNaN(r.Loss) || math.IsInf(r.Loss, 0) {
			return nil, fmt.Errorf("train: %w", ErrDiverged)
		}
		best := 0
		for m, t := range masks {
			if q := p.Output(1)[i*d.MaskTokens+t]; m == 0 || q > out[i].Quality {
				best, out[i].Quality = m, q
			}
		}
		out[i].Result, out[i].IoU = r, r.IoUs[best]
		out[i].Logits = append([]float32(nil), p.Output(0)[(i*len(masks)+best)*n:][:n]...)
	}
	return out, nil
}

// key returns the prompts' kind and the rows of their points.
func (e *Engine) key(ps []Prompt) (k Key, rows []float32, err error) {
	for i, p := range ps {
		before := len(rows)
		for _, pt := range p.Points {
			label := promptenc.Background
			if pt.In {
				label = promptenc.Foreground
			}
			rows = append(rows, pt.X, pt.Y, label)
		}
		if b := p.Box; b != nil {
			rows = append(rows, float32(b[0]), float32(b[1]), promptenc.TopLeft, float32(b[2]), float32(b[3]), promptenc.BottomRight)
		} else if len(p.Points) > 0 {
			rows = append(rows, 0, 0, promptenc.Padding)
		}
		own := Key{Prompts: len(ps), Tokens: (len(rows) - before) / 3, Masked: p.Mask != nil, Single: p.Single}
		if i > 0 && own != k {
			return k, nil, fmt.Errorf("train: prompts of kinds %+v and %+v in one batch", k, own)
		}
		k = own
	}
	return k, rows, nil
}

// Names of the criterion's inputs.
const (
	inTarget = "target"
	inWeight = "weight"
	inSize   = "size"
	inWindow = "window"
	inFine   = "fine"
)

func (e *Engine) program(k programKey) (*program, error) {
	if p := e.programs[k]; p != nil {
		return p, nil
	}
	if len(e.programs) >= maxPrograms {
		clear(e.programs)
	}
	d := e.nets.Decoder.Config()
	side := 4 * d.Grid
	b := graph.NewBuilder()
	b.Variables(func(name string) bool { return e.trained[name] })
	n := e.nets.Build(b, k.Key)
	c := Criterion{Loss: e.loss, Prompts: k.Prompts, Side: side, Qualities: d.MaskTokens, Masks: k.Masks(d.MaskTokens), Slopes: k.learn}
	seeds, losses := c.apply(b, n.Logits, n.IoU)
	outs := []*G.Node{n.Logits, n.IoU, losses}
	p := &program{criterion: c}
	if k.learn {
		var wrt []*G.Node
		for _, w := range e.weights {
			wrt = append(wrt, b.Weight(w))
		}
		if e.tail != nil {
			wrt = append(wrt, n.Embedding)
		}
		for _, g := range b.Backward(op.Sum{}, []*G.Node{n.Logits, n.IoU}, seeds, wrt) {
			if g == nil {
				p.grads = append(p.grads, -1)
				continue
			}
			p.grads = append(p.grads, len(outs))
			outs = append(outs, g)
		}
	}
	var err error
	if p.Program, err = cpu.Compile(b, graph.CompileOptions{}, outs...); err != nil {
		return nil, fmt.Errorf("train: build: %w", err)
	}
	for i, w := range e.weights {
		if p.Input(w.Name()) == nil {
			continue
		}
		if err := p.Bind(w.Name(), e.Values[i]); err != nil {
			return nil, fmt.Errorf("train: build: %w", err)
		}
	}
	e.programs[k] = p
	return p, nil
}

// Bytes is the working memory of the compiled graphs.
func (e *Engine) Bytes() (n int) {
	for _, p := range e.programs {
		a, _ := p.Program.Bytes()
		n += a
	}
	return n
}
