package sam

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"

	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/resample"
)

// PredictOptions changes what a prediction holds. The zero value is the
// original's default.
type PredictOptions struct {
	// SingleMask asks for the one mask that fits prompts without ambiguity,
	// instead of several that differ in extent.
	SingleMask bool
	// MaskThreshold is the logit above which a pixel belongs to a mask.
	MaskThreshold float32
	// Local keeps of each mask what the prompt is on: first the pixels whose middle
	// lies in its box (X0 <= x+0.5 < X1, and so for y: X1 is an object's far edge,
	// not its last column), then of the 8-connected pieces that are left those
	// with a foreground point, which is on the pixel that it lies in. Background
	// points remove nothing. If no foreground point is on the mask, all that the box
	// left stays; a mask may be empty. Logits and predicted IoU stay those of the
	// whole mask.
	Local bool
	// KeepLogits fills Prediction.Logits.
	KeepLogits bool
}

// Prediction is the decoder's answer to one prompt.
type Prediction struct {
	Masks   []*Mask   // binary, at the picture's size, in the decoder's order
	IoUPred []float32 // the model's guess for each mask; it can exceed 1
	LowRes  []Logits  // low-resolution logits, to feed back as Prompt.Mask
	Logits  []Logits  // at the picture's size, when KeepLogits
}

// Best is the index of the mask that the model thinks best.
func (p *Prediction) Best() int {
	best := 0
	for i, v := range p.IoUPred {
		if v > p.IoUPred[best] {
			best = i
		}
	}
	return best
}

// Predict decodes one prompt on an embedded picture.
//
// It returns an error that wraps [ErrPrompt] if the prompt does not fit the
// picture, one that wraps [ErrOtherModel] if another model made e, and ctx's
// error soon after ctx is done.
func (m *Model) Predict(ctx context.Context, e *Embedding, p Prompt, o PredictOptions) (*Prediction, error) {
	if err := m.fits(e); err != nil {
		return nil, fmt.Errorf("sam: predict: %w", err)
	}
	enc, err := m.encode(e, p)
	if err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	out, err := m.predict(ctx, e, []Prompt{p}, []encoded{enc}, o)
	if err != nil {
		return nil, fmt.Errorf("sam: predict: %w", err)
	}
	return out[0], nil
}

// PredictBatch decodes each prompt by itself, in the order given; the result
// is the same, bit for bit, as that of Predict on each. Errors are those of
// Predict and name the first prompt at fault.
func (m *Model) PredictBatch(ctx context.Context, e *Embedding, ps []Prompt, o PredictOptions) ([]*Prediction, error) {
	if err := m.fits(e); err != nil {
		return nil, fmt.Errorf("sam: predict: %w", err)
	}
	enc, err := m.encodeAll(e, ps)
	if err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	out, err := m.predict(ctx, e, ps, enc, o)
	if err != nil {
		return nil, fmt.Errorf("sam: predict: %w", err)
	}
	return out, nil
}

// predict decodes prompts, which fit the picture.
func (m *Model) predict(ctx context.Context, e *Embedding, ps []Prompt, enc []encoded, o PredictOptions) ([]*Prediction, error) {
	if math.IsNaN(float64(o.MaskThreshold)) || math.IsInf(float64(o.MaskThreshold), 0) {
		return nil, fmt.Errorf("mask threshold %v, want a finite number", o.MaskThreshold)
	}
	post, err := m.upscaler(e)
	if err != nil {
		return nil, err
	}
	out := make([]*Prediction, len(ps))
	all := groups(enc, o.SingleMask, m.batch)
	err = kernel.Lanes(len(all), m.lanes, func(i int) error {
		g := all[i]
		err := m.decode(ctx, e, g.key, g.prompts, 0, func(i int, a answer) error {
			p := m.prediction(g.key, a.logits, a.iou)
			out[g.index[i]] = p
			return p.cut(ctx, a, post, o.MaskThreshold)
		})
		for k := 0; k < len(g.index) && err == nil; k++ {
			if err = ctx.Err(); err == nil {
				err = out[g.index[k]].finish(post, ps[g.index[k]], o)
			}
		}
		return err
	})
	return out, err
}

func (m *Model) upscaler(e *Embedding) (*resample.Upscaler, error) {
	s := m.cfg.Decoder.MaskSize()
	return resample.NewUpscaler(resample.Size{H: s, W: s}, m.encoder.ImageSize(), resample.Size(e.input), resample.Size(e.picture))
}

// group is a set of prompts that one run decodes.
type group struct {
	key     decoderKey
	prompts []encoded
	index   []int // of each in the caller's slice
}

// encodeAll encodes the prompts. Its error names the first at fault.
func (m *Model) encodeAll(e *Embedding, ps []Prompt) ([]encoded, error) {
	out := make([]encoded, len(ps))
	for i, p := range ps {
		var err error
		if out[i], err = m.encode(e, p); err != nil {
			return nil, fmt.Errorf("prompt %d: %w", i, err)
		}
	}
	return out, nil
}

// groups puts prompts of one shape together, full batches first and the rest
// one by one, so that few graphs are built.
func groups(ps []encoded, single bool, batch int) []group {
	var order []decoderKey
	shapes := map[decoderKey]*group{}
	for i, p := range ps {
		k := p.key(single)
		g := shapes[k]
		if g == nil {
			g = &group{key: k}
			shapes[k] = g
			order = append(order, k)
		}
		g.prompts, g.index = append(g.prompts, p), append(g.index, i)
	}
	var out []group
	for _, k := range order {
		all := shapes[k]
		for at := 0; at < len(all.prompts); {
			n := batch
			if len(all.prompts)-at < n {
				n = 1
			}
			k.prompts = n
			out = append(out, group{k, all.prompts[at : at+n], all.index[at : at+n]})
			at += n
		}
	}
	return out
}

// prediction copies one prompt's share of the decoder's outputs.
func (m *Model) prediction(k decoderKey, logits, iou []float32) *Prediction {
	s := m.cfg.Decoder.MaskSize()
	p := &Prediction{}
	for i, t := range k.masks(m.cfg.Decoder.MaskTokens) {
		low := append([]float32(nil), logits[i*s*s:(i+1)*s*s]...)
		p.LowRes = append(p.LowRes, Logits{H: s, W: s, Data: low})
		p.IoUPred = append(p.IoUPred, iou[t])
	}
	return p
}

// cut lets a GPU make the masks of an answer, if one has it.
func (p *Prediction) cut(ctx context.Context, a answer, post *resample.Upscaler, limit float32) error {
	p.Masks = make([]*Mask, len(p.LowRes))
	all := make([]int, len(p.LowRes))
	for k := range all {
		all[k] = k
	}
	cuts, err := a.cut(ctx, all, post, [3]float32{limit, limit, limit})
	if cuts == nil {
		return err
	}
	for k := range p.Masks {
		m, err := cuts.Mask(k, image.Point{}, cuts.Size)
		if err != nil {
			return err
		}
		p.Masks[k] = (*Mask)(m)
	}
	return nil
}

// finish brings the low-resolution logits that q got to the picture's size,
// where there is no mask of them yet.
func (p *Prediction) finish(post *resample.Upscaler, q Prompt, o PredictOptions) error {
	size := post.Picture()
	if o.KeepLogits {
		p.Logits = make([]Logits, len(p.LowRes))
	}
	errs := make([]error, len(p.LowRes))
	kernel.Parallel(len(p.LowRes), func(i int) {
		low := p.LowRes[i].Data
		if o.KeepLogits {
			full := make([]float32, size.H*size.W)
			errs[i] = post.Logits(full, low)
			p.Logits[i] = Logits{H: size.H, W: size.W, Data: full}
		}
		if errs[i] != nil {
			return
		}
		m, err := p.Masks[i].pixels(), error(nil)
		if m == nil {
			m, err = mask.Threshold(post, low, o.MaskThreshold)
		}
		if err == nil && o.Local {
			m, err = on(m, q)
		}
		p.Masks[i], errs[i] = (*Mask)(m), err
	})
	return errors.Join(errs...)
}
