package maskdec

import (
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
)

// Epsilons of the decoder's norms: torch's default in the transformer,
// LayerNorm2d's in the upscaling path.
const (
	eps   = 1e-5
	epsUp = 1e-6
)

// Decoder is the mask decoder: its shape and its weights. It is immutable
// and safe for any number of goroutines.
type Decoder struct {
	cfg        Config
	weights    layer.Set
	iouToken   *graph.Weight
	maskTokens *graph.Weight
	layers     []twoWay
	final      attention
	finalNorm  layer.Norm
	up1, up2   layer.Linear
	upNorm     layer.Norm
	hyper      [][]layer.Linear
	iou        []layer.Linear
}

type twoWay struct {
	self, tokenToImage, imageToToken attention
	norm1, norm2, norm3, norm4       layer.Norm
	lin1, lin2                       layer.Linear
}

type attention struct{ q, k, v, out layer.Linear }

// New returns a decoder of the bound weights, which are read when a backend
// prepares its graphs.
func New(c Config, p *Params) (*Decoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	d := &Decoder{cfg: c}
	s := &d.weights
	d.iouToken, d.maskTokens = s.Weight(&p.IoUToken), s.Weight(&p.MaskTokens)
	for i := range p.Layers {
		l := &p.Layers[i]
		d.layers = append(d.layers, twoWay{
			self:         readAttention(s, &l.Self),
			norm1:        readNorm(s, &l.Norm1, eps),
			tokenToImage: readAttention(s, &l.TokenToImage),
			norm2:        readNorm(s, &l.Norm2, eps),
			lin1:         s.Linear(&l.Lin1.W, &l.Lin1.B),
			lin2:         s.Linear(&l.Lin2.W, &l.Lin2.B),
			norm3:        readNorm(s, &l.Norm3, eps),
			imageToToken: readAttention(s, &l.ImageToToken),
			norm4:        readNorm(s, &l.Norm4, eps),
		})
	}
	d.final, d.finalNorm = readAttention(s, &p.Final), readNorm(s, &p.FinalNorm, eps)
	d.up1, d.up2 = s.Linear(&p.Up1.W, &p.Up1.B), s.Linear(&p.Up2.W, &p.Up2.B)
	d.upNorm = readNorm(s, &p.UpNorm, epsUp)
	d.iou = readMLP(s, &p.IoU)
	for i := range p.Hyper {
		d.hyper = append(d.hyper, readMLP(s, &p.Hyper[i]))
	}
	return d, nil
}

func readAttention(s *layer.Set, p *AttentionParams) attention {
	return attention{
		q: s.Linear(&p.Q.W, &p.Q.B), k: s.Linear(&p.K.W, &p.K.B),
		v: s.Linear(&p.V.W, &p.V.B), out: s.Linear(&p.Out.W, &p.Out.B),
	}
}

func readNorm(s *layer.Set, p *NormParams, eps float32) layer.Norm { return s.Norm(&p.W, &p.B, eps) }

func readMLP(s *layer.Set, p *MLPParams) (ls []layer.Linear) {
	for i := range p.Layers {
		ls = append(ls, s.Linear(&p.Layers[i].W, &p.Layers[i].B))
	}
	return ls
}

// Config is the decoder's shape.
func (d *Decoder) Config() Config { return d.cfg }

// Weights are the decoder's weights.
func (d *Decoder) Weights() *layer.Set { return &d.weights }
