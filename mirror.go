package sam

import (
	"context"
	"crypto/sha256"

	"github.com/slidesam/sam/internal/mirror"
	"github.com/slidesam/sam/internal/resample"
)

// Mirrored returns a model that looks at each picture four times: as it is,
// mirrored from left to right, from top to bottom, and both. Logits and
// predicted IoU are the means of the four answers. Tissue has no up or down, so
// that a mirrored picture is as good a picture; what the answers do not share
// are errors. Embedding takes four times the time and memory, decoding four
// times the time. Everything takes more than that: without mirrors it need not
// compute the logits of prompts whose predicted IoU is below its threshold.
//
// The weights are m's own, shared. The fingerprint is another one, so that no
// embedding and no unfinished slide of one is taken for the other's.
//
// The technique is known as test-time augmentation.
func (m *Model) Mirrored() *Model {
	if len(m.mirrors) > 1 {
		return m
	}
	c := *m
	c.mirrors = []mirror.View{{}, {X: true}, {Y: true}, {X: true, Y: true}}
	c.fingerprint = c.derivedFingerprint()
	return &c
}

// derivedFingerprint is the fingerprint of the weights, the precision and the
// mirroring.
func (m *Model) derivedFingerprint() [16]byte {
	f := m.origin
	mix := func(what string) {
		sum := sha256.Sum256(append([]byte(what+" "), f[:]...))
		copy(f[:], sum[:])
	}
	if m.precision != FP32 {
		mix(m.precision.String())
	}
	if len(m.mirrors) > 1 {
		mix("mirrored")
	}
	return f
}

func (m *Model) canvas(input Size) mirror.Canvas {
	patch := m.encoder.ImageSize() / m.encoder.Grid()
	h, w := (input.H+patch-1)/patch, (input.W+patch-1)/patch
	cells := m.cfg.Decoder.MaskSize() / m.encoder.Grid()
	return mirror.Canvas{Pixels: resample.Size{H: h * patch, W: w * patch}, Cells: resample.Size{H: h * cells, W: w * cells}}
}

// turned returns the prompt that asks of the mirrored picture what p asks of
// the picture. side is that of p's mask.
func (p encoded) turned(v mirror.View, c mirror.Canvas, side int) encoded {
	out := encoded{points: v.Points(p.points, c)}
	if p.mask != nil {
		out.mask = make([]float32, len(p.mask))
		v.Add(out.mask, p.mask, c, side)
	}
	return out
}

// decodeMirrored decodes the prompts on each view of a picture and passes the
// means of logits and qualities to use, turned back.
func (m *Model) decodeMirrored(ctx context.Context, e *Embedding, key decoderKey, ps []encoded, use func(i int, a answer) error) error {
	c, side := m.canvas(e.input), m.cfg.Decoder.MaskSize()
	logits, iou := make([][]float32, len(ps)), make([][]float32, len(ps))
	turned := make([]encoded, len(ps))
	for k, v := range e.views {
		r := m.mirrors[k]
		for i, p := range ps {
			turned[i] = p.turned(r, c, side)
		}
		// The mean may exceed a floor that a view does not: no view has one.
		err := m.decodeView(ctx, v, key, turned, 0, func(i int, a answer) error {
			if k == 0 {
				logits[i], iou[i] = make([]float32, len(a.logits)), make([]float32, len(a.iou))
			}
			r.Add(logits[i], a.logits, c, side)
			for j, v := range a.iou {
				iou[i][j] += v
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i := range ps {
		for _, s := range [][]float32{logits[i], iou[i]} {
			for j := range s {
				s[j] /= float32(len(e.views))
			}
		}
		if err := use(i, answer{logits: logits[i], iou: iou[i]}); err != nil {
			return err
		}
	}
	return nil
}
