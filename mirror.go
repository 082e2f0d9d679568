package sam

import (
	"context"
	"crypto/sha256"

	"github.com/slidesam/sam/promptenc"
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
	c.mirrors = []mirror{{}, {x: true}, {y: true}, {x: true, y: true}}
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

// mirror says how the picture is turned over before the encoder sees it: x
// from left to right, y from top to bottom.
type mirror struct{ x, y bool }

// canvas is the part of the input that is turned over: the picture, its sides
// rounded up to whole patches, so that patches lie on patches and cells of
// logits on cells. The picture stays in the upper left corner, where models
// are used to see it.
type canvas struct{ pixels, cells Size }

func (m *Model) canvas(input Size) canvas {
	patch := m.encoder.ImageSize() / m.encoder.Grid()
	h, w := (input.H+patch-1)/patch, (input.W+patch-1)/patch
	cells := m.cfg.Decoder.MaskSize() / m.encoder.Grid()
	return canvas{Size{H: h * patch, W: w * patch}, Size{H: h * cells, W: w * cells}}
}

// prompt returns the prompt that asks of the mirrored picture what p asks of
// the picture. side is that of p's mask.
func (r mirror) prompt(p encoded, c canvas, side int) encoded {
	out := encoded{points: append([]float32(nil), p.points...)}
	for i := 0; i < len(out.points); i += 3 {
		if out.points[i+2] == promptenc.Padding {
			continue
		}
		if r.x {
			out.points[i] = float32(c.pixels.W) - out.points[i]
		}
		if r.y {
			out.points[i+1] = float32(c.pixels.H) - out.points[i+1]
		}
	}
	for i := 0; i+5 < len(out.points); i += 3 {
		if a, b := out.points[i:i+3], out.points[i+3:i+6]; a[2] == promptenc.TopLeft {
			a[0], b[0] = min(a[0], b[0]), max(a[0], b[0])
			a[1], b[1] = min(a[1], b[1]), max(a[1], b[1])
		}
	}
	if p.mask != nil {
		out.mask = make([]float32, len(p.mask))
		r.add(out.mask, p.mask, c, side)
	}
	return out
}

// add adds to dst the planes src [n, side, side], turned over. What lies beyond the
// canvas is padding in every view and stays where it is.
func (r mirror) add(dst, src []float32, c canvas, side int) {
	for row := range len(src) / side {
		y := row % side
		if r.y && y < c.cells.H {
			y = c.cells.H - 1 - y
		}
		from := src[row*side : (row+1)*side]
		to := dst[(row-row%side+y)*side:][:side]
		n := 0
		if r.x {
			n = c.cells.W
			for x, v := range from[:n] {
				to[n-1-x] += v
			}
		}
		for x, v := range from[n:] {
			to[n+x] += v
		}
	}
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
			turned[i] = r.prompt(p, c, side)
		}
		// The mean may exceed a floor that a view does not: no view has one.
		err := m.decodeView(ctx, v, key, turned, 0, func(i int, a answer) error {
			if k == 0 {
				logits[i], iou[i] = make([]float32, len(a.logits)), make([]float32, len(a.iou))
			}
			r.add(logits[i], a.logits, c, side)
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
