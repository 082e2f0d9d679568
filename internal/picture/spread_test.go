package picture_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
)

// TestSpread: float32, and rounded down, as numpy's astype does.
func TestSpread(t *testing.T) {
	p := resample.RGB{Size: resample.Size{H: 1, W: 3}, Pix: []byte{10, 0, 7, 100, 128, 7, 210, 255, 7}}
	assert.Equal(t, []byte{0, 0, 0, 114, 128, 0, 255, 255, 0}, picture.Spread(p).Pix)
}
