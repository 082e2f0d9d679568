package golden_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/weights"
)

// The weights package and the Python script make the same counter-based
// weights, bit for bit: one weight for each rule, two seeds.
func TestCounterBasedWeights(t *testing.T) {
	f, err := golden.Load("counter")
	require.NoError(t, err)
	var meta counterFile
	require.NoError(t, f.Meta(&meta))
	require.NotEmpty(t, meta.Weights)
	for _, w := range meta.Weights {
		t.Run(fmt.Sprintf("%s/%d", w.Name, w.Seed), func(t *testing.T) {
			c := weights.Random([]weights.Spec{{Name: w.Name, Shape: w.Shape}}, w.Seed)
			tensor, err := c.Tensor(w.Name)
			require.NoError(t, err)
			x, err := tensor.Float32s()
			require.NoError(t, err)
			assert.Equal(t, w.CRC, crcFloats(x))
		})
	}
}
