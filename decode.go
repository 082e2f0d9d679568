package sam

import (
	"context"
	"fmt"

	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/maskdec"
	"github.com/slidesam/sam/promptenc"
)

// Names of the decoder's inputs that come from the picture.
const (
	inEmbedding = "embedding"
	inKeys      = "image.keys"
	inK         = "image.k"
	inV         = "image.v"
	inQ         = "image.q"
)

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

// buildImage builds the graph of what no prompt changes. Its outputs are the
// parts of an imageSide.
func (m *Model) buildImage() (*graph.Program, error) {
	b := graph.NewBuilder()
	c := m.cfg.Decoder
	emb := b.Input(inEmbedding, c.Grid*c.Grid, c.Channels)
	noMask := b.Weight("no_mask_embed", m.prompt.NoMask(), 1, c.Channels)
	img := m.decoder.Image(b, b.Apply(op.Add{}, emb, noMask))
	p, err := b.Compile(img.Panels, img.K, img.V, img.Q)
	if err != nil {
		return nil, fmt.Errorf("sam: build image side: %w", err)
	}
	return p, nil
}

// buildDecoder builds the graph from prompts to low-resolution logits
// [prompts*masks, MaskSize*MaskSize] and qualities [prompts, MaskTokens].
func (m *Model) buildDecoder(k decoderKey, o graph.CompileOptions) (*graph.Program, error) {
	b := graph.NewBuilder()
	c := m.cfg.Decoder
	var sparse *G.Node
	if k.tokens > 0 {
		sparse = m.prompt.Sparse(b, k.prompts, k.tokens)
	}
	var img maskdec.Image
	if k.masked {
		emb := b.Input(inEmbedding, c.Grid*c.Grid, c.Channels)
		img.Rows = b.Apply(op.Add{}, m.prompt.Dense(b, k.prompts), emb)
	} else {
		img = m.decoder.ImageInputs(b, inKeys, inK, inV, inQ)
	}
	batch := maskdec.Batch{Prompts: k.prompts, Tokens: k.tokens, Masks: k.masks(c.MaskTokens), Plain: o.KeepStages}
	logits, iou := m.decoder.Masks(b, batch, img, sparse)
	p, err := b.CompileWith(o, logits, iou)
	if err != nil {
		return nil, fmt.Errorf("sam: build decoder: %w", err)
	}
	return p, nil
}

// imageSide is what the decoder computes from an embedding alone.
type imageSide struct{ keys, k, v, q []float32 }

// imageSide returns the view's image side, computed at its first use. If
// another goroutine is at it, imageSide waits for that one, or for ctx.
func (m *Model) imageSide(ctx context.Context, v *view) (*imageSide, error) {
	for {
		v.mu.Lock()
		side, busy := v.side, v.busy
		if side == nil && busy == nil {
			v.busy = make(chan struct{})
			v.mu.Unlock()
			return m.makeImageSide(ctx, v)
		}
		v.mu.Unlock()
		if side != nil {
			return side, nil
		}
		select {
		case <-busy: // done, or given up because its own context ended
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// makeImageSide computes the image side for the goroutine that set v.busy.
func (m *Model) makeImageSide(ctx context.Context, v *view) (side *imageSide, err error) {
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.side = side
		close(v.busy)
		v.busy = nil
	}()
	err = m.images.With(ctx, struct{}{}, func(p *graph.Program) error {
		if err := p.Bind(inEmbedding, v.data); err != nil {
			return err
		}
		if err := p.Run(ctx); err != nil {
			return err
		}
		clone := func(i int) []float32 { return append([]float32(nil), p.Output(i)...) }
		side = &imageSide{clone(0), clone(1), clone(2), clone(3)}
		return nil
	})
	return side, err
}

// decodeView is decode on one view of a picture.
func (m *Model) decodeView(ctx context.Context, v *view, key decoderKey, ps []encoded, floor float32, use func(i int, logits, iou []float32) error) error {
	side, err := m.imageSide(ctx, v)
	if err != nil {
		return err
	}
	return m.decoders.With(ctx, key, func(p *graph.Program) error {
		bind := map[string][]float32{inKeys: side.keys, inK: side.k, inV: side.v, inQ: side.q}
		if key.masked {
			bind = map[string][]float32{inEmbedding: v.data}
		}
		for name, data := range bind {
			if err := p.Bind(name, data); err != nil {
				return err
			}
		}
		p.Input(maskdec.Floor)[0] = floor
		for i := range ps {
			if key.tokens > 0 {
				copy(p.Input(promptenc.Points)[3*key.tokens*i:], ps[i].points)
			}
			if key.masked {
				copy(p.Input(promptenc.Mask)[len(ps[i].mask)*i:], ps[i].mask)
			}
		}
		if err := p.Run(ctx); err != nil {
			return err
		}
		logits, iou := p.Output(0), p.Output(1)
		nl, nq := len(logits)/key.prompts, len(iou)/key.prompts
		for i := range ps {
			if err := use(i, logits[i*nl:(i+1)*nl], iou[i*nq:(i+1)*nq]); err != nil {
				return err
			}
		}
		return nil
	})
}
