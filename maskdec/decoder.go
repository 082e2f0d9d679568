package maskdec

import (
	"fmt"

	"github.com/slidesam/sam/internal/kernel"
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
	cfg       Config
	tokens    []float32 // [1+MaskTokens, Channels]: the IoU token, then the masks'
	layers    []twoWay
	final     crossAttention
	finalNorm layer.Norm
	up1, up2  upscale
	upNorm    layer.Norm
	hyper     [][]layer.Linear
	iou       []layer.Linear
	bytes     int64
}

type twoWay struct {
	self                       attention
	tokenToImage, imageToToken crossAttention
	norm1, norm2, norm3, norm4 layer.Norm
	lin1, lin2                 layer.Linear
}

type attention struct{ q, k, v, out layer.Linear }

// crossAttention is an attention between tokens and the picture. positions
// [Grid*Grid, CrossDim] is the projection, without bias, of the encoding of
// the picture's cells by the side that reads keys plus positions: W(x+p) =
// Wx + Wp, so that the sum x+p need not be made.
type crossAttention struct {
	attention
	positions []float32
	absorbed  absorbed
}

// upscale is a transposed convolution: the packed weights of the upper and
// of the lower row of its 2 x 2 outputs, and its bias four times over; and
// the same as tiles and with the bias in each lane.
type upscale struct {
	in, out int
	w, b    []float32
	tiles   []float32
	lanes   []float32
}

// New reads the bound weights into a decoder. positions [Grid*Grid,
// Channels] is the encoding of the embedding's cells. New returns an error
// that names the tensor if a value is not finite.
func New(c Config, p *Params, positions []float32) (*Decoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if want := c.Grid * c.Grid * c.Channels; len(positions) != want {
		return nil, fmt.Errorf("%w: %d values of positions, want %d", ErrConfig, len(positions), want)
	}
	var r layer.Reader
	d := &Decoder{
		cfg:       c,
		tokens:    append(r.Array(&p.IoUToken), r.Array(&p.MaskTokens)...),
		final:     readCross(&r, &p.Final, c.Heads, false),
		finalNorm: readNorm(&r, &p.FinalNorm, eps),
		up1:       readUpscale(&r, &p.Up1),
		up2:       readUpscale(&r, &p.Up2),
		upNorm:    readNorm(&r, &p.UpNorm, epsUp),
		iou:       readMLP(&r, &p.IoU),
	}
	for i := range p.Hyper {
		d.hyper = append(d.hyper, readMLP(&r, &p.Hyper[i]))
	}
	for i := range p.Layers {
		l := &p.Layers[i]
		d.layers = append(d.layers, twoWay{
			self:         readAttention(&r, &l.Self),
			norm1:        readNorm(&r, &l.Norm1, eps),
			tokenToImage: readCross(&r, &l.TokenToImage, c.Heads, false),
			norm2:        readNorm(&r, &l.Norm2, eps),
			lin1:         r.Linear(&l.Lin1.W, &l.Lin1.B),
			lin2:         r.Linear(&l.Lin2.W, &l.Lin2.B),
			norm3:        readNorm(&r, &l.Norm3, eps),
			imageToToken: readCross(&r, &l.ImageToToken, c.Heads, true),
			norm4:        readNorm(&r, &l.Norm4, eps),
		})
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("maskdec: load: %w", err)
	}
	for i := range d.layers {
		l := &d.layers[i]
		l.tokenToImage.locate(l.tokenToImage.k, positions)
		l.imageToToken.locate(l.imageToToken.q, positions)
	}
	d.final.locate(d.final.k, positions)
	d.bytes = r.Bytes + int64(2*4*len(positions)/c.Channels*c.CrossDim*(2*c.Depth+1))
	return d, nil
}

func project(l layer.Linear, x []float32) []float32 {
	m := len(x) / l.K
	w := kernel.PackedOf(l.W, l.N, l.K)
	y := make([]float32, m*l.N)
	kernel.Gemm(y, l.N, x, l.K, m, &w, kernel.Epilogue{})
	return y
}

func readAttention(r *layer.Reader, p *AttentionParams) attention {
	return attention{
		q: r.Linear(&p.Q.W, &p.Q.B), k: r.Linear(&p.K.W, &p.K.B),
		v: r.Linear(&p.V.W, &p.V.B), out: r.Linear(&p.Out.W, &p.Out.B),
	}
}

// locate fills what depends on the encoding of the picture's cells; l is the
// projection of the picture.
func (a *crossAttention) locate(l layer.Linear, positions []float32) {
	a.positions = project(l, positions)
	a.absorbed.locate(l, a.positions)
}

func readNorm(r *layer.Reader, p *NormParams, eps float32) layer.Norm { return r.Norm(&p.W, &p.B, eps) }

func readMLP(r *layer.Reader, p *MLPParams) (ls []layer.Linear) {
	for i := range p.Layers {
		ls = append(ls, r.Linear(&p.Layers[i].W, &p.Layers[i].B))
	}
	return ls
}

func readUpscale(r *layer.Reader, p *LinearParams) upscale {
	u := upscale{in: p.W.Shape[0], out: p.W.Shape[1]}
	r.Use(&p.W, func(w []float32) {
		all := make([]float32, 4*u.out*u.in) // outputs in the order (y, x, channel)
		for i := 0; i < u.in; i++ {
			for o := 0; o < u.out; o++ {
				for q := 0; q < 4; q++ {
					all[(q*u.out+o)*u.in+i] = w[(i*u.out+o)*4+q]
				}
			}
		}
		half := len(all) / 2
		u.w = append(r.Pack(all[:half], 2*u.out, u.in), r.Pack(all[half:], 2*u.out, u.in)...)
		u.tiles = kernel.PackTiles(all, 4*u.out, u.in)
	})
	b := r.Array(&p.B)
	for i := 0; i < 4; i++ {
		u.b = append(u.b, b...)
	}
	for _, v := range u.b {
		for range kernel.PanelLanes() {
			u.lanes = append(u.lanes, v)
		}
	}
	r.Bytes += int64(4 * (len(u.tiles) + len(u.lanes)))
	return u
}

// Config is the decoder's shape.
func (d *Decoder) Config() Config { return d.cfg }

// Bytes is the memory that the weights take.
func (d *Decoder) Bytes() int64 { return d.bytes }
