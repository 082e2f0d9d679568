package sam

import (
	"context"
	"image"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/promptenc"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/weights"
)

// EncodeStages runs the encoder on img and returns the program with the
// value of each stage.
func (m *Model) EncodeStages(ctx context.Context, img image.Image) (*graph.Program, error) {
	src, err := picture.New(img)
	if err != nil {
		return nil, err
	}
	in := resample.LongestSide(src.Bounds(), m.cfg.Encoder.ImageSize)
	pix, err := resample.Bilinear(nil, src, in)
	if err != nil {
		return nil, err
	}
	p, err := m.encoder.Program(graph.CompileOptions{KeepStages: true})
	if err != nil {
		return nil, err
	}
	normalise(p.Input(vit.Picture), pix, Size(in), m.cfg.Encoder.ImageSize, mirror{}, Size{})
	return p, p.Run(ctx)
}

// DecodeStages decodes one prompt layer by layer and returns the program with
// the value of each stage.
func (m *Model) DecodeStages(ctx context.Context, e *Embedding, p Prompt, single bool) (*graph.Program, error) {
	return m.decodeProgram(ctx, e, p, single, graph.CompileOptions{KeepStages: true})
}

// DecodeProgram decodes one prompt as Predict does and returns the program.
func (m *Model) DecodeProgram(ctx context.Context, e *Embedding, p Prompt, single bool) (*graph.Program, error) {
	return m.decodeProgram(ctx, e, p, single, graph.CompileOptions{})
}

func (m *Model) decodeProgram(ctx context.Context, e *Embedding, p Prompt, single bool, o graph.CompileOptions) (*graph.Program, error) {
	enc, err := m.encode(e, p)
	if err != nil {
		return nil, err
	}
	key := enc.key(single)
	key.prompts = 1
	prog, err := m.buildDecoder(key, o)
	if err != nil {
		return nil, err
	}
	side, err := m.imageSide(ctx, e.views[0])
	if err != nil {
		return nil, err
	}
	if key.tokens > 0 {
		copy(prog.Input(promptenc.Points), enc.points)
	}
	if key.masked {
		copy(prog.Input(promptenc.Mask), enc.mask)
		copy(prog.Input(inEmbedding), e.views[0].data)
	} else {
		copy(prog.Input(inKeys), side.keys)
		copy(prog.Input(inK), side.k)
		copy(prog.Input(inV), side.v)
		copy(prog.Input(inQ), side.q)
	}
	return prog, prog.Run(ctx)
}

// HoldImageSide makes predictions on e wait, as for a goroutine that computes
// its image side, until release is called.
func (e *Embedding) HoldImageSide() (release func()) {
	v := e.views[0]
	v.mu.Lock()
	defer v.mu.Unlock()
	v.busy = make(chan struct{})
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		close(v.busy)
		v.busy = nil
	}
}

// Specs are the tensors of a model of this shape.
func Specs(c Config) []weights.Spec { return weights.Specs(newParams(c)) }

// On is what PredictOptions.Local keeps of a mask.
func (m *Mask) On(p Prompt) (*Mask, error) { return faceMask("on")(on(m.pixels(), p)) }

// Turned returns the encoder's input [side, side, 3] for a resized picture pix
// [H, W, 3], turned over.
func (m *Model) Turned(pix []byte, s Size, x, y bool) []float32 {
	side := m.cfg.Encoder.ImageSize
	dst := make([]float32, 3*side*side)
	for i := range dst {
		dst[i] = 1e6 // of an earlier picture
	}
	normalise(dst, pix, s, side, mirror{x, y}, m.canvas(s).pixels)
	return dst
}
