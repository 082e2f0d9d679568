package cellpose_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/vit/cellpose"
	"github.com/slidesam/sam/weights"
)

func small() cellpose.Config {
	return cellpose.Config{Encoder: vit.Config{
		ImageSize: 32, Patch: 8, Width: 16, Depth: 2, Heads: 2, HeadDim: 8, MLP: 16, Global: []int{0, 1}, Out: 8,
	}}
}

// TestConfigOf reads the shape back; that the numbers are right, package
// internal/cellpose shows.
func TestConfigOf(t *testing.T) {
	want := small()
	ck := weights.Random(weights.Specs(cellpose.NewParams(want)), 1)
	got, err := cellpose.ConfigOf(ck)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Equal(t, 32, got.Side())
	p := cellpose.NewParams(got)
	require.NoError(t, weights.Bind(ck, p))
	n, err := cellpose.New(got, p)
	require.NoError(t, err)
	assert.Equal(t, want, n.Config())
	assert.Len(t, n.Weights(), 2)

	got.Encoder.Global, got.Encoder.Window = []int{1}, 3
	require.ErrorIs(t, got.Validate(), vit.ErrConfig)
	_, err = cellpose.New(got, p)
	assert.ErrorContains(t, err, "of 2 blocks only [1] attend to the whole picture")
	_, err = cellpose.ConfigOf(weights.FromTensors(nil))
	assert.ErrorContains(t, err, "missing")
}

func Example() {
	c := small()
	p := cellpose.NewParams(c)
	if err := weights.Bind(weights.Random(weights.Specs(p), 1), p); err != nil {
		panic(err)
	}
	n, err := cellpose.New(c, p)
	if err != nil {
		panic(err)
	}
	b := graph.NewBuilder()
	fmt.Println(n.Build(b).Shape()) // 4 x 4 patches, 3 maps of 8 x 8 pixels each
	// Output: (16, 192)
}
