package sam_test

import (
	"context"
	"image"
	"math"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
)

// tinyGrid is tiny with n x n tokens.
func tinyGrid(n int) sam.Config {
	c := tiny()
	c.Encoder.ImageSize, c.Prompt.ImageSize = c.Encoder.Patch*n, c.Encoder.Patch*n
	c.Prompt.Grid, c.Decoder.Grid = n, n
	return c
}

// TestSteadyState checks that memory does not grow with use: 200 pictures are
// embedded and 25 prompts of all kinds decoded on each. With SAM_STEADY=n it
// takes n pictures and a ViT-B of full size, a few seconds each.
func TestSteadyState(t *testing.T) {
	cfg, pictures, sizes := tinyGrid(8), 200, []golden.Size{{H: 50, W: 70}, {H: 70, W: 50}}
	if testing.Short() {
		pictures = 20
	}
	if s := os.Getenv("SAM_STEADY"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err, "SAM_STEADY is a number of pictures")
		cfg, pictures, sizes = sam.ViTB(), n, []golden.Size{{H: 768, W: 1024}, {H: 1000, W: 700}}
	}
	const prompts = 25
	ctx := context.Background()
	m, err := sam.NewRandom(cfg, 1)
	require.NoError(t, err)
	var imgs []image.Image
	for i, s := range sizes {
		imgs = append(imgs, golden.Picture(s, uint64(i)))
	}
	round := func(i int) {
		img := imgs[i%len(imgs)]
		e, err := m.Embed(ctx, img)
		require.NoError(t, err)
		x, y := float64(img.Bounds().Dx()), float64(img.Bounds().Dy())
		at := func(k int, l sam.Label) sam.Point {
			return sam.Point{X: x * float64(k) / prompts, Y: y * float64(k*7%prompts) / prompts, Label: l}
		}
		var ps []sam.Prompt
		for k := range prompts - 4 {
			ps = append(ps, sam.Prompt{Points: []sam.Point{at(k, sam.Foreground)}})
		}
		box := &sam.Box{X0: x / 8, Y0: y / 4, X1: x / 2, Y1: y}
		ps = append(ps, sam.Prompt{Box: box}, sam.Prompt{Points: []sam.Point{at(3, sam.Foreground), at(9, sam.Background)}})
		got, err := m.PredictBatch(ctx, e, ps, sam.PredictOptions{})
		require.NoError(t, err)
		low := &got[0].LowRes[0]
		for _, p := range []sam.Prompt{{Mask: low}, {Box: box, Mask: low}} {
			_, err := m.Predict(ctx, e, p, sam.PredictOptions{SingleMask: true, KeepLogits: true})
			require.NoError(t, err)
		}
	}
	// live is what is in use once all garbage is gone, and what the runtime
	// holds for it.
	live := func() (use, hold int64) {
		runtime.GC()
		runtime.GC() // what pools dropped
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc), int64(s.HeapInuse)
	}
	warm := max(4, pictures/10) // every shape of prompt has met every goroutine
	for i := range warm {
		round(i)
	}
	goroutines := runtime.NumGoroutine()
	first, held := live()
	const quarters = 4
	last, least := first, int64(math.MaxInt64)
	for q := range quarters {
		for i := range pictures / quarters {
			round(q + i)
		}
		use, hold := live()
		t.Logf("%d pictures, %d prompts: %.3f MB in use, %+d bytes; %.3f MB held",
			(q+1)*(pictures/quarters), (q+1)*(pictures/quarters)*prompts, float64(use)/1e6, use-last, float64(hold)/1e6)
		least = min(least, use-last)
		last = use
		assert.LessOrEqual(t, hold-held, int64(4<<20), "bytes held")
	}
	// A scratch buffer more is possible whenever more goroutines than ever
	// meet in a kernel, but not in each quarter; what leaks comes back in each,
	// with no less than 16 bytes for a prompt. The runtime's own lists grow by
	// less.
	assert.Less(t, least, int64(max(4<<10, 16*prompts*(pictures/quarters))), "bytes in use, quarter of the least growth")
	assert.LessOrEqual(t, last-first, int64(1<<20), "bytes in use")
	assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
}
