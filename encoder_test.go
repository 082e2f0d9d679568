package sam_test

import (
	"context"
	"fmt"
	"image"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/weights"
)

// patchEncoder is an image encoder of one convolution.
type patchEncoder struct {
	side, grid, channels int
	weights              layer.Set
	conv                 layer.Linear
}

func newPatchEncoder(t *testing.T, side, grid, channels int) *patchEncoder {
	t.Helper()
	patch := side / grid
	var p struct {
		W weights.Param `weight:"conv.weight"`
		B weights.Param `weight:"conv.bias"`
	}
	p.W.Shape, p.B.Shape = []int{channels, 3, patch, patch}, []int{channels}
	require.NoError(t, weights.Bind(weights.Random(weights.Specs(&p), 1), &p))
	e := &patchEncoder{side: side, grid: grid, channels: channels}
	e.conv = e.weights.Linear(&p.W, &p.B)
	return e
}

func (e *patchEncoder) Name() string        { return "patches" }
func (e *patchEncoder) ImageSize() int      { return e.side }
func (e *patchEncoder) Grid() int           { return e.grid }
func (e *patchEncoder) Channels() int       { return e.channels }
func (e *patchEncoder) Input() string       { return "pixels" }
func (e *patchEncoder) Weights() *layer.Set { return &e.weights }
func (e *patchEncoder) Colours() (mean, std [3]float32) {
	return [3]float32{}, [3]float32{255, 255, 255}
}

func (e *patchEncoder) Build(b *graph.Builder) *G.Node {
	x := b.Input("pixels", e.side*e.side, 3)
	return e.conv.Conv(b, op.Conv{Batch: 1, H: e.side, W: e.side, Stride: e.side / e.grid}, x)
}

// TestOtherEncoder puts an encoder of another kind, with another input, into a
// model.
func TestOtherEncoder(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 1)
	vit := m.Encoder()
	assert.Equal(t, "vit", vit.Name())
	own := newPatchEncoder(t, 2*vit.ImageSize(), vit.Grid(), vit.Channels())
	other, err := m.WithEncoder(own)
	require.NoError(t, err)
	img := image.NewRGBA(image.Rect(0, 0, own.side, own.side))
	e, err := other.Embed(ctx, img)
	require.NoError(t, err)
	data, shape := e.Tensor()
	assert.Equal(t, [3]int{own.channels, own.grid, own.grid}, shape)
	bias, err := own.conv.B.Values()
	require.NoError(t, err)
	for i, v := range data {
		require.Equal(t, bias[i/own.grid/own.grid], v, "black is 0 for this encoder")
	}
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	e, err = other.Mirrored().Embed(ctx, img)
	require.NoError(t, err)
	p, err := other.Mirrored().Predict(ctx, e, sam.Prompt{Points: []sam.Point{{X: 200, Y: 100, Label: sam.Foreground}}}, sam.PredictOptions{})
	require.NoError(t, err)
	assert.Len(t, p.Masks, 3)
}

// TestValuesComeBack: a model holds its weights as its kernels read them, and
// gives back what the checkpoint had.
func TestValuesComeBack(t *testing.T) {
	cfg := tiny()
	m, err := sam.NewRandom(cfg, 3)
	require.NoError(t, err)
	got, err := m.Values()
	require.NoError(t, err)
	specs := sam.Specs(cfg)
	assert.Len(t, got, len(specs))
	ck := weights.Random(specs, 3)
	n := 0
	for _, s := range specs {
		w, err := ck.Tensor(s.Name)
		require.NoError(t, err)
		want, err := w.Float32s()
		require.NoError(t, err)
		require.Equal(t, want, got[s.Name], s.Name)
		n += 4 * len(want)
	}
	// Panels have padding, and the decoder's projections of the picture exist in
	// two forms.
	assert.Less(t, m.Bytes(), int64(4*n))
}

func ExampleModel_Encoder() {
	e := exampleModel().Encoder()
	fmt.Println(e.Name(), e.ImageSize(), e.Grid(), e.Channels())
	// Output: vit 128 16 32
}
