package resample_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/internal/tensortest"
)

func TestPlaneAgainstPyTorch(t *testing.T) {
	cases, _, err := golden.Interpolations()
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(fmt.Sprintf("%v to %v", c.Src, c.Dst), func(t *testing.T) {
			out, err := resample.Plane(c.Input(), resample.Size(c.Src), resample.Size(c.Dst))
			require.NoError(t, err)
			got, err := c.Out.Pick(out)
			require.NoError(t, err)
			// Values reach 8: two ulps, since PyTorch fuses products and sums.
			tensortest.Close(t, c.Out.Data, got, 2e-6, 0)
		})
	}
}

func TestUpscalerAgainstSegmentAnything(t *testing.T) {
	_, cases, err := golden.Interpolations()
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(fmt.Sprintf("%d in %d to %v", c.Low, c.Size, c.Picture), func(t *testing.T) {
			u, err := resample.NewUpscaler(resample.Size{H: c.Low, W: c.Low}, c.Size, resample.Size(c.Cropped), resample.Size(c.Picture))
			require.NoError(t, err)
			out := make([]float32, c.Picture.H*c.Picture.W)
			require.NoError(t, u.Logits(out, c.Input()))
			got, err := c.Out.Pick(out)
			require.NoError(t, err)
			// Values reach 17: twice two steps of one ulp.
			tensortest.Close(t, c.Out.Data, got, 8e-6, 0)

			mask := make([]bool, len(out))
			require.NoError(t, u.Rows(c.Input(), 0, c.Picture.H, 0, func(y, x0 int, row []float32) {
				for i, v := range row {
					mask[y*c.Picture.W+x0+i] = v > 0
				}
			}))
			differ, compared, err := c.Mask.Diff(0, mask)
			require.NoError(t, err)
			assert.LessOrEqual(t, differ, compared/10000)
		})
	}
}
