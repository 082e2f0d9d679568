package promptenc_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/promptenc"
	"github.com/slidesam/sam/weights"
)

type bound struct {
	P *promptenc.Params `weight:"prompt_encoder"`
}

var small = promptenc.Config{ImageSize: 64, Grid: 4, Channels: 16, MaskChannels: 8}

func encoder() (*promptenc.Encoder, error) {
	b := bound{promptenc.NewParams(small)}
	if err := weights.Bind(weights.Random(weights.Specs(&b), 1), &b); err != nil {
		return nil, err
	}
	return promptenc.New(small, b.P)
}

func TestConfigOf(t *testing.T) {
	ck := weights.Random(weights.Specs(&bound{promptenc.NewParams(small)}), 1)
	got, err := promptenc.ConfigOf(ck, 64, 4)
	require.NoError(t, err)
	assert.Equal(t, small, got)
	_, err = promptenc.ConfigOf(weights.FromTensors(nil), 64, 4)
	assert.ErrorContains(t, err, "promptenc: read configuration: prompt_encoder.mask_downscaling.6.weight")
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]promptenc.Config{
		"Grid":         {ImageSize: 64, Grid: 0, Channels: 16, MaskChannels: 8},
		"Channels":     {ImageSize: 64, Grid: 4, Channels: 15, MaskChannels: 8},
		"MaskChannels": {ImageSize: 64, Grid: 4, Channels: 16, MaskChannels: 6},
	} {
		err := c.Validate()
		assert.ErrorIs(t, err, promptenc.ErrConfig)
		assert.ErrorContains(t, err, name)
	}
}

// run encodes points and returns their tokens.
func run(t *testing.T, points ...float32) []float32 {
	t.Helper()
	e, err := encoder()
	require.NoError(t, err)
	b := graph.NewBuilder()
	p, err := cpu.Compile(b, graph.CompileOptions{}, e.Sparse(b, 1, len(points)/3))
	require.NoError(t, err)
	copy(p.Input(promptenc.Points), points)
	require.NoError(t, p.Run(context.Background()))
	return p.Output(0)
}

func TestSparse(t *testing.T) {
	c := small.Channels
	x := run(t, 10, 20, promptenc.Foreground, 10, 20, promptenc.Background, 3, 4, promptenc.Padding, 50, 60, promptenc.Padding)
	assert.NotEqual(t, x[:c], x[c:2*c], "the label counts")
	assert.Equal(t, x[2*c:3*c], x[3*c:], "a padding point's position does not")
	y := run(t, 10, 20, promptenc.Foreground)
	assert.Equal(t, x[:c], y, "a point's token is its own affair")
}

func TestUnknownKind(t *testing.T) {
	e, err := encoder()
	require.NoError(t, err)
	b := graph.NewBuilder()
	p, err := cpu.Compile(b, graph.CompileOptions{}, e.Sparse(b, 1, 1))
	require.NoError(t, err)
	p.Input(promptenc.Points)[2] = 4
	assert.ErrorContains(t, p.Run(context.Background()), "label 4 of point 0")
}

func ExampleEncoder_Dense() {
	e, err := encoder()
	if err != nil {
		panic(err)
	}
	b := graph.NewBuilder()
	p, err := cpu.Compile(b, graph.CompileOptions{}, e.Dense(b, 2))
	if err != nil {
		panic(err)
	}
	fmt.Println(len(p.Input(promptenc.Mask)), p.OutputShape(0))
	// Output: 512 [32 16]
}

func ExampleEncoder_Sparse() {
	e, err := encoder()
	if err != nil {
		panic(err)
	}
	b := graph.NewBuilder()
	p, err := cpu.Compile(b, graph.CompileOptions{}, e.Sparse(b, 1, 2))
	if err != nil {
		panic(err)
	}
	copy(p.Input(promptenc.Points), []float32{10, 20, promptenc.Foreground, 0, 0, promptenc.Padding})
	if err := p.Run(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println(p.OutputShape(0))
	// Output: [2 16]
}
