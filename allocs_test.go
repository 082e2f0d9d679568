//go:build !race

package sam_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
)

// allocated returns what one call of f allocates in the steady state, as the
// number of objects and of bytes: the least of a few rounds, since now and
// then more goroutines than before meet in a kernel and need a buffer more.
func allocated(t *testing.T, f func() error) (objects, bytes int) {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // pools are not emptied
	objects, bytes = math.MaxInt, math.MaxInt
	const rounds, runs = 6, 4
	for range rounds {
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		for range runs {
			require.NoError(t, f())
		}
		runtime.ReadMemStats(&b)
		objects = min(objects, int(b.Mallocs-a.Mallocs)/runs)
		bytes = min(bytes, int(b.TotalAlloc-a.TotalAlloc)/runs)
	}
	return objects, bytes
}

// TestAllocationsAndTokens checks that runs allocate the same whatever the
// number of tokens, but for what they return: 16 times the tokens of the
// picture, and 64 points instead of one.
func TestAllocationsAndTokens(t *testing.T) {
	ctx := context.Background()
	type cost struct{ objects, bytes int }
	got := map[string][]cost{}
	grids := []int{8, 32}
	for _, g := range grids {
		cfg := tinyGrid(g)
		m, err := sam.NewRandom(cfg, 1)
		require.NoError(t, err)
		side := cfg.Encoder.ImageSize
		img := golden.Picture(golden.Size{H: side, W: side}, 3)
		e, err := m.Embed(ctx, img)
		require.NoError(t, err)
		note := func(name string, returned int, f func() error) {
			o, b := allocated(t, f)
			t.Logf("%d tokens: %s: %d objects, %d bytes beyond the result's %d", g*g, name, o, b-returned, returned)
			got[name] = append(got[name], cost{o, b - returned})
		}
		data, _ := e.Tensor()
		note("embed", 4*len(data), func() error { _, err := m.Embed(ctx, img); return err })
		enc, err := m.EncodeStages(ctx, img)
		require.NoError(t, err)
		note("encoder", 0, func() error { return enc.Run(ctx) })
		for _, n := range []int{1, 64} {
			var p sam.Prompt
			for i := range n {
				p.Points = append(p.Points, sam.Point{X: float64(i), Y: float64(i * 5 % 64), Label: sam.Foreground})
			}
			dec, err := m.DecodeStages(ctx, e, p, false)
			require.NoError(t, err)
			note(fmt.Sprintf("decoder, %d points", n), 0, func() error { return dec.Run(ctx) })
			pred, err := m.Predict(ctx, e, p, sam.PredictOptions{})
			require.NoError(t, err)
			returned := 0
			for k, mask := range pred.Masks {
				returned += 4*len(pred.LowRes[k].Data) + mask.Bounds().Dx()*mask.Bounds().Dy()/8
			}
			note(fmt.Sprintf("predict, %d points", n), returned, func() error {
				_, err := m.Predict(ctx, e, p, sam.PredictOptions{})
				return err
			})
		}
	}
	for name, c := range got {
		few, many := c[0], c[len(c)-1]
		switch name {
		case "encoder", "decoder, 1 points", "decoder, 64 points":
			assert.LessOrEqual(t, many.objects, few.objects+1, name)
			assert.LessOrEqual(t, many.bytes, few.bytes+64, name) // something of the runtime's own
		default:
			// Rows and columns of the picture have tables; growth by
			// the side of the picture is 4, by tokens 16.
			assert.LessOrEqual(t, many.objects, few.objects+few.objects/4, name)
			assert.LessOrEqual(t, many.bytes, 4*few.bytes, name)
		}
	}
	assert.LessOrEqual(t, got["decoder, 64 points"][0].bytes, got["decoder, 1 points"][0].bytes+64, "tokens of prompts")
}
