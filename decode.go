package sam

import (
	"context"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/maskdec"
	"github.com/slidesam/sam/promptenc"
)

// imageSide is what the decoder computes from an embedding alone, in the
// layout of a backend.
type imageSide struct {
	backend       graph.Backend
	keys, k, v, q []float32
}

// imageSide returns the view's image side, computed at its first use, and
// again if it was another device's. If another goroutine is at it, imageSide
// waits for that one, or for ctx.
func (m *Model) imageSide(ctx context.Context, v *view) (*imageSide, error) {
	for {
		v.mu.Lock()
		side, busy := v.side, v.busy
		if side != nil && side.backend != m.backend {
			side = nil
		}
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
	err = m.images.With(ctx, struct{}{}, func(p graph.Program) error {
		if err := p.Bind(inEmbedding, v.data); err != nil {
			return err
		}
		if err := p.Run(ctx); err != nil {
			return err
		}
		clone := func(i int) []float32 { return append([]float32(nil), p.Output(i)...) }
		side = &imageSide{m.backend, clone(0), clone(1), clone(2), clone(3)}
		return nil
	})
	return side, err
}

// answer is what the decoder says to a prompt.
type answer struct {
	logits []float32 // [masks, MaskSize*MaskSize]
	iou    []float32 // qualities [MaskTokens]
	// gpu cuts masks of the logits, whose planes are those from first on
	// there; nil: the CPU does.
	gpu   mask.Cutter
	first int
}

// cut cuts the masks which of the answer at limits on a GPU. It returns nil if
// the CPU is to do it.
func (a answer) cut(ctx context.Context, which []int, up *resample.Upscaler, limits [3]float32) (*mask.Cuts, error) {
	if a.gpu == nil || len(which) == 0 {
		return nil, nil
	}
	planes := make([]int, len(which))
	for i, k := range which {
		planes[i] = a.first + k
	}
	return a.gpu.Cut(ctx, planes, up, limits)
}

// decode runs the decoder on prompts of one shape. It passes each prompt's
// answer to use, which must not keep it. If floor is positive, the logits of a
// prompt of which no mask has a quality above it mean nothing.
func (m *Model) decode(ctx context.Context, e *Embedding, key decoderKey, ps []encoded, floor float32, use func(i int, a answer) error) error {
	if len(e.views) > 1 {
		return m.decodeMirrored(ctx, e, key, ps, use)
	}
	return m.decodeView(ctx, e.views[0], key, ps, floor, use)
}

// decodeView is decode on one view of a picture.
func (m *Model) decodeView(ctx context.Context, v *view, key decoderKey, ps []encoded, floor float32, use func(i int, a answer) error) error {
	side, err := m.imageSide(ctx, v)
	if err != nil {
		return err
	}
	return m.decoders.With(ctx, key, func(p graph.Program) error {
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
		gpu, _ := p.(mask.Cutter)
		masks := len(key.masks(m.cfg.Decoder.MaskTokens))
		for i := range ps {
			if err := use(i, answer{logits[i*nl : (i+1)*nl], iou[i*nq : (i+1)*nq], gpu, i * masks}); err != nil {
				return err
			}
		}
		return nil
	})
}
