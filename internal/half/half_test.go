package half_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/half"
)

// All halves survive, and rounding picks the nearest, the even one on a tie.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		v := half.Value(uint16(h))
		back := half.Bits(v)
		if v != v {
			require.Equal(t, 0x7e00, int(back)&0x7e00)
			continue
		}
		require.Equal(t, h, int(back), "%v", v)
	}
	// Between each two neighbours: below, at and above the middle.
	for h := range 0x7c00 {
		low, high := float64(half.Value(uint16(h))), float64(half.Value(uint16(h+1)))
		if h == 0x7bff {
			high = 65536 // where infinity stands in the order
		}
		middle := float32((low + high) / 2)
		even := h + h&1
		require.Equal(t, even, int(half.Bits(middle)), "%v", middle)
		require.Equal(t, h, int(half.Bits(math.Nextafter32(middle, 0))), "%v", middle)
		require.Equal(t, h+1, int(half.Bits(math.Nextafter32(middle, 1e9))), "%v", middle)
		require.Equal(t, even|0x8000, int(half.Bits(-middle)), "%v", -middle)
	}
	assert.Equal(t, 0x7c00, int(half.Bits(float32(math.Inf(1)))))
	assert.Equal(t, 0, int(half.Bits(1e-45)))
}

func Example() {
	h := half.Bits(0.1)
	fmt.Printf("%#x %g\n", h, half.Value(h))
	// Output: 0x2e66 0.099975586
}
