package wsi_test

import (
	"image"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/wsi"
)

// BenchmarkTiles reads every whole tile of level 0 of SAM_BENCH_SLIDE once an
// iteration, through a cache that holds none of them. testdata/speed.py runs it
// beside OpenSlide.
func BenchmarkTiles(b *testing.B) {
	path := os.Getenv("SAM_BENCH_SLIDE")
	if path == "" {
		b.Skip("SAM_BENCH_SLIDE is not set")
	}
	s, err := wsi.Open(path, wsi.Options{CacheBytes: 1})
	require.NoError(b, err)
	defer s.Close()
	l := s.Levels()[0]
	dst := image.NewRGBA(image.Rect(0, 0, l.TileW, l.TileH))
	n := 0
	before := processTime()
	for b.Loop() {
		for y := 0; y+l.TileH <= l.H; y += l.TileH {
			for x := 0; x+l.TileW <= l.W; x += l.TileW {
				require.NoError(b, s.ReadRegion(ctx, 0, image.Pt(x, y), dst))
				n++
			}
		}
	}
	b.ReportMetric(float64(processTime()-before)/float64(n)/1e6, "cpu-ms/tile")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/1e6, "ms/tile")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "tiles/s")
}
