package eval_test

import (
	"image/png"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

// grayLabels reads a colour PNG as labels: gray = .299R + .587G + .114B,
// rounded, each gray one label, as hover_net's sample is meant to be read.
func grayLabels(t testing.TB, path string) eval.Labels {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	b := img.Bounds()
	l := eval.NewLabels(sam.Size{H: b.Dy(), W: b.Dx()})
	for y := range l.H {
		for x := range l.W {
			r, g, bl, _ := img.At(b.Min.X+x, b.Min.Y+y).RGBA()
			v := .299*float64(r>>8) + .587*float64(g>>8) + .114*float64(bl>>8)
			l.Pix[y*l.W+x] = int32(math.Round(v))
		}
	}
	return l
}
