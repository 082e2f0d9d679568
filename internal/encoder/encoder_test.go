package encoder_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/encoder"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/vit/tinyvit"
	"github.com/slidesam/sam/weights"
)

type bound struct {
	Encoder any `weight:"image_encoder"`
}

// TestKinds makes an encoder of each kind of the names and shapes of its
// weights alone.
func TestKinds(t *testing.T) {
	tiny := tinyvit.MobileSAM()
	tiny.Classes = 0
	for name, want := range map[string]encoder.Shape{
		"vit":     {ViT: vit.Config{ImageSize: 64, Patch: 16, Width: 24, Depth: 2, Heads: 3, HeadDim: 8, MLP: 40, Window: 3, Global: []int{1}, Out: 16}},
		"tinyvit": {ViT: encoder.Outline(tiny), Tiny: &tiny},
	} {
		ck := weights.Random(weights.Specs(&bound{encoder.NewParams(want)}), 1)
		got, err := encoder.ShapeOf(ck)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.NoError(t, got.Validate())
		p := &bound{encoder.NewParams(got)}
		require.NoError(t, weights.Bind(ck, p))
		e, err := encoder.New(got, p.Encoder)
		require.NoError(t, err)
		assert.Equal(t, name, e.Name())
		assert.Equal(t, []int{want.ViT.ImageSize, want.ViT.Grid(), want.ViT.Out}, []int{e.ImageSize(), e.Grid(), e.Channels()})
		got.ViT.Out = 0
		assert.Error(t, got.Validate())
	}
	_, err := encoder.ShapeOf(weights.FromTensors(nil))
	assert.ErrorContains(t, err, "vit: read configuration")
}

func ExampleOutline() {
	c := encoder.Outline(tinyvit.MobileSAM())
	fmt.Println(c.ImageSize, c.Patch, c.Grid(), c.Out)
	// Output: 1024 16 64 256
}
