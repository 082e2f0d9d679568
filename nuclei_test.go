package sam_test

import (
	"context"
	"fmt"
	"image"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/synth"
)

// TestFindNuclei counts the synthetic nuclei that have exactly one point, and
// the points that lie in none.
func TestFindNuclei(t *testing.T) {
	for _, mpp := range []float64{0.25, 0.5} {
		pic, truth := synth.New(9, synth.Options{Solid: true}).Region(int(20_000*0.25/mpp), int(21_000*0.25/mpp), 900, 900, mpp)
		ps, err := sam.FindNuclei(context.Background(), pic, mpp)
		require.NoError(t, err)
		hits, outside := map[int32]int{}, 0
		for _, p := range ps {
			if n := truth.Nuclei[int(p.Points[0].Y)*900+int(p.Points[0].X)]; n > 0 {
				hits[n]++
			} else {
				outside++
			}
		}
		want := 0
		for _, n := range truth.List {
			if float64(n.Area)*mpp*mpp > 8 { // square micrometres: not a sliver
				want++
			}
		}
		recall, precision := float64(len(hits))/float64(want), float64(len(ps)-outside)/float64(len(ps))
		t.Logf("mpp %g: %d points, %d nuclei; recall %.3f, precision %.3f", mpp, len(ps), want, recall, precision)
		// A finder by stain, not a model: it has to be useful, not perfect.
		assert.Greater(t, recall, 0.6)
		assert.Greater(t, precision, 0.6)
	}
	white := image.NewRGBA(image.Rect(0, 0, 50, 40))
	for i := range white.Pix {
		white.Pix[i] = 250
	}
	ps, err := sam.FindNuclei(context.Background(), white, 0)
	require.NoError(t, err)
	assert.Empty(t, ps)
	_, err = sam.FindNuclei(context.Background(), white, 9)
	assert.Error(t, err)
}

func ExampleFindNuclei() {
	pic, _ := synth.New(9, synth.Options{Solid: true}).Region(20_000, 21_000, 256, 256, 0.25)
	ps, err := sam.FindNuclei(context.Background(), pic, 0.25)
	fmt.Println(len(ps) > 10, err)
	// Output: true <nil>
}
