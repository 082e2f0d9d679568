package cellpose_test

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cellpose"
	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/internal/tensortest"
	"github.com/slidesam/sam/weights"
)

// netCase is the description of cellpose_small.npz and cellpose_full.npz.
type netCase struct {
	Width, Depth, Heads, Out int
	Globals                  []int // of the segment_anything model behind it: they have longer tables
	Side                     int
	Seed                     uint64
	Size                     golden.Size
	Weights                  []string
	Shapes                   [][]int
	Torch                    json.RawMessage
}

// checkpoint returns the reference's state dict.
func (c *netCase) checkpoint(t testing.TB) *weights.Checkpoint {
	t.Helper()
	var specs []weights.Spec
	fixed := map[string]weights.TensorData{}
	for i, name := range c.Weights {
		specs = append(specs, weights.Spec{Name: name, Shape: c.Shapes[i]})
		if name == "W2" {
			n := c.Shapes[i][0]
			eye := make([]float32, n*n)
			for k := range n {
				eye[k*n+k] = 1
			}
			fixed[name] = weights.TensorData{Shape: c.Shapes[i], Data: eye}
		}
	}
	ck, err := weights.Random(specs, c.Seed).With(fixed)
	require.NoError(t, err)
	return ck
}

func network(t testing.TB, name string) (*cellpose.Network, *golden.File, *netCase) {
	t.Helper()
	f, err := golden.Load(name)
	require.NoError(t, err)
	var c netCase
	require.NoError(t, f.Meta(&c))
	ck, err := weights.Cellpose(c.checkpoint(t))
	require.NoError(t, err)
	n, err := cellpose.NewNetwork(cpu.Backend{}, ck)
	require.NoError(t, err)
	return n, f, &c
}

// TestNetwork compares with cellpose's own network and tiling.
func TestNetwork(t *testing.T) {
	for _, name := range []string{"cellpose_small", "cellpose_full"} {
		t.Run(name, func(t *testing.T) {
			if name == "cellpose_full" && os.Getenv("SAM_PARITY") != "full" {
				t.Skip("set SAM_PARITY=full to run a ViT-L")
			}
			n, f, c := network(t, name)
			require.Equal(t, c.Side, n.Config().Side())
			rgb := resample.RGB{Size: resample.Size(c.Size), Pix: golden.PictureRGB(c.Size, c.Seed)}

			want, err := f.Float32s("normalised")
			require.NoError(t, err)
			got, err := want.Pick(cellpose.Normalised(rgb))
			require.NoError(t, err)
			assert.Equal(t, want.Data, got)

			check := func(stage string, all []float32) {
				want, err := f.Float32s(stage)
				require.NoError(t, err)
				got, err := want.Pick(all)
				require.NoError(t, err)
				gap, err := tensortest.Compare(want.Data, got, 1e-4, 0)
				require.NoError(t, err)
				t.Log(stage, gap)
				// The goal. Sums of up to 4,096 products in another order, over 24
				// blocks.
				tensortest.Close(t, want.Data, got, 1e-4, 0)
			}
			check("window", n.Window(t, golden.Uniform(3*c.Side*c.Side, golden.Hash(c.Seed))))
			m, err := n.Predict(t.Context(), rgb, nil)
			require.NoError(t, err)
			all := make([]float32, 0, 3*len(m.Logit))
			for i := range m.Logit {
				all = append(all, m.Down[i], m.Right[i], m.Logit[i])
			}
			check("maps", all)
		})
	}
}

// TestPredict: small pictures, one value, levels given, and an end to it.
func TestPredict(t *testing.T) {
	n, _, _ := network(t, "cellpose_small")
	for _, s := range []golden.Size{{H: 1, W: 1}, {H: 63, W: 48}, {H: 64, W: 64}, {H: 65, W: 20}} {
		m, err := n.Predict(t.Context(), resample.RGB{Size: resample.Size(s), Pix: golden.PictureRGB(s, 3)}, nil)
		require.NoError(t, err, s)
		_, err = cellpose.Label(t.Context(), m, cellpose.Options{})
		require.NoError(t, err, s)
	}
	size := golden.Size{H: 70, W: 70}
	rgb := resample.RGB{Size: resample.Size(size), Pix: golden.PictureRGB(size, 4)}
	own := cellpose.LevelsOf(rgb)
	a, err := n.Predict(t.Context(), rgb, nil)
	require.NoError(t, err)
	b, err := n.Predict(t.Context(), rgb, &own)
	require.NoError(t, err)
	assert.Equal(t, a, b)
	b, err = n.Predict(t.Context(), rgb, &cellpose.Levels{{0, 255}, {0, 255}, {0, 255}})
	require.NoError(t, err)
	assert.NotEqual(t, a, b)

	_, err = n.Predict(t.Context(), rgb, &cellpose.Levels{{0, 255}, {0, 0}, {0, 255}})
	assert.ErrorContains(t, err, "levels 0 and 0 of green")
	_, err = n.Predict(t.Context(), resample.RGB{}, nil)
	assert.ErrorIs(t, err, instance.ErrMaps)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = n.Predict(cancelled, rgb, nil)
	assert.ErrorIs(t, err, context.Canceled)
}

// TestLevels: worked out by hand of numpy.percentile's rule.
func TestLevels(t *testing.T) {
	pix := make([]byte, 0, 300)
	for i := range 100 {
		pix = append(pix, byte(i), 7, byte(i/99)) // a ramp, one value, one bright pixel
	}
	l := cellpose.LevelsOf(resample.RGB{Size: resample.Size{H: 10, W: 10}, Pix: pix})
	assert.InDelta(t, 0.99, l[0][0], 1e-6)
	assert.InDelta(t, 98.01, l[0][1], 1e-5)
	assert.Equal(t, [2]float32{}, l[1])
	assert.InDelta(t, 0.01, l[2][1], 1e-6)
	// 101 pixels of 7 and two of 255, to the last bit.
	pix = append(bytes.Repeat([]byte{255}, 6), bytes.Repeat([]byte{7}, 3*101)...)
	l = cellpose.LevelsOf(resample.RGB{Size: resample.Size{H: 1, W: 103}, Pix: pix})
	assert.Equal(t, [2]float32{7, 250.04}, l[0])
}

// TestLevelsOfFields: those of one picture that holds the pixels of both.
func TestLevelsOfFields(t *testing.T) {
	assert.Nil(t, cellpose.LevelsOfFields(nil))
	var fields []*image.RGBA
	all := resample.RGB{Size: resample.Size{H: 1, W: 60}}
	for i := range 2 {
		f := image.NewRGBA(image.Rect(0, 0, 5, 6))
		for k := range 30 {
			px := []byte{byte(37 * k), byte(k + 100*i), 9}
			copy(f.Pix[4*k:], append(px, 255))
			all.Pix = append(all.Pix, px...)
		}
		fields = append(fields, f)
	}
	assert.Equal(t, [3][2]float32(cellpose.LevelsOf(all)), *cellpose.LevelsOfFields(fields))
}

// TestAxis: numpy.linspace, cut off.
func TestAxis(t *testing.T) {
	before, padded, starts := cellpose.Axis(2000, 256)
	assert.Equal(t, []int{8, 2016}, []int{before, padded})
	assert.Equal(t, []int{0, 195, 391, 586, 782, 977, 1173, 1368, 1564, 1760}, starts)
	before, padded, starts = cellpose.Axis(100, 256)
	assert.Equal(t, []int{78, 256}, []int{before, padded})
	assert.Equal(t, []int{0}, starts)
}
