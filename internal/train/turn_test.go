package train_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/internal/train"
)

// TestTurns: a mask turned is the mask of the picture turned.
func TestTurns(t *testing.T) {
	size := mask.Size{H: 64, W: 96}
	in := func(x, y int) bool { return math.Hypot(float64(x)-20, float64(y)-30) < 13 }
	m, err := mask.New(size, in)
	require.NoError(t, err)
	picture := resample.RGB{Size: resample.Size(size), Pix: make([]byte, 3*size.H*size.W)}
	for y := range size.H {
		for x := range size.W {
			if in(x, y) {
				picture.Pix[3*(y*size.W+x)] = 255
			}
		}
	}
	seen := map[string]bool{}
	for k := range 8 {
		p := train.Turn(k).Picture(picture)
		seen[string(p.Pix)] = true
		s := train.Turn(k).Size(size)
		require.Equal(t, resample.Size(s), p.Size)
		turned, err := mask.New(s, func(x, y int) bool { return p.Pix[3*(y*s.W+x)] > 0 })
		require.NoError(t, err)
		// Half as large as the picture: the cell of a map of 16 is 3 pixels of 48.
		f := train.Frame{Picture: s, Input: mask.Size{H: s.H / 2, W: s.W / 2}, Cell: 3, Side: 16}
		want := f.Target(turned)
		f.Turn, f.Picture = train.Turn(k), size
		got := f.Target(m)
		assert.InDeltaSlice(t, want.Share, got.Share, 1e-5, "turn %d", k)
		assert.InDeltaSlice(t, want.Window.Share, got.Window.Share, 1e-5, "turn %d", k)
		assert.InDeltaSlice(t, want.Box[:], got.Box[:], 1e-9)
		var sum float64
		for _, v := range got.Share {
			sum += float64(v)
		}
		assert.InDelta(t, m.Area(), sum*36, 1e-2)
	}
	assert.Len(t, seen, 8)
}
