package resample_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/internal/tensortest"
)

// noise returns n values in [-10, 10), smooth enough to have connected areas.
func noise(s resample.Size, seed int) []float32 {
	out := make([]float32, s.H*s.W)
	for i := range out {
		y, x := float64(i/s.W), float64(i%s.W)
		out[i] = float32(6*math.Sin(y/9+float64(seed)) + 4*math.Sin(x/7+y/31+float64(2*seed)))
	}
	return out
}

// exact resizes by the formula in float64, one value at a time.
func exact(src []float32, in, out resample.Size) []float32 {
	pos := func(i, in, out int) (i0, i1 int, w float64) {
		p := max((float64(i)+0.5)*float64(in)/float64(out)-0.5, 0)
		i0 = min(int(p), in-1)
		return i0, min(i0+1, in-1), p - float64(i0)
	}
	dst := make([]float32, out.H*out.W)
	for y := range out.H {
		y0, y1, wy := pos(y, in.H, out.H)
		for x := range out.W {
			x0, x1, wx := pos(x, in.W, out.W)
			at := func(y, x int) float64 { return float64(src[y*in.W+x]) }
			top := at(y0, x0)*(1-wx) + at(y0, x1)*wx
			bottom := at(y1, x0)*(1-wx) + at(y1, x1)*wx
			dst[y*out.W+x] = float32(top*(1-wy) + bottom*wy)
		}
	}
	return dst
}

func TestPlaneAgainstFormula(t *testing.T) {
	for _, tt := range []struct{ in, out resample.Size }{
		{resample.Size{H: 1, W: 1}, resample.Size{H: 5, W: 3}},
		{resample.Size{H: 7, W: 5}, resample.Size{H: 7, W: 5}},
		{resample.Size{H: 7, W: 5}, resample.Size{H: 13, W: 21}},
		{resample.Size{H: 40, W: 64}, resample.Size{H: 11, W: 9}},
		{resample.Size{H: 64, W: 64}, resample.Size{H: 256, W: 256}},
	} {
		t.Run(fmt.Sprintf("%v to %v", tt.in, tt.out), func(t *testing.T) {
			src := noise(tt.in, 1)
			got, err := resample.Plane(src, tt.in, tt.out)
			require.NoError(t, err)
			// Source positions up to 64 are rounded to 2^-18 in float32, and
			// neighbours differ by up to 2: 1e-5.
			tensortest.Close(t, exact(src, tt.in, tt.out), got, 2e-5, 0)
		})
	}
}

// upscaleCase is a size of picture with what SAM makes of it.
type upscaleCase struct {
	low     resample.Size
	frame   int
	picture resample.Size
}

var upscaleCases = []upscaleCase{
	{resample.Size{H: 16, W: 16}, 64, resample.Size{H: 50, W: 50}},
	{resample.Size{H: 16, W: 16}, 64, resample.Size{H: 30, W: 75}},
	{resample.Size{H: 16, W: 16}, 64, resample.Size{H: 300, W: 21}},
	{resample.Size{H: 16, W: 16}, 64, resample.Size{H: 1, W: 1}},
	{resample.Size{H: 16, W: 16}, 64, resample.Size{H: 1, W: 500}},
	{resample.Size{H: 16, W: 16}, 8, resample.Size{H: 20, W: 30}},
	{resample.Size{H: 64, W: 64}, 256, resample.Size{H: 256, W: 256}},
	{resample.Size{H: 64, W: 64}, 256, resample.Size{H: 500, W: 333}},
}

func (c upscaleCase) String() string { return fmt.Sprintf("%v in %d to %v", c.low, c.frame, c.picture) }

func (c upscaleCase) upscaler(t require.TestingT) (*resample.Upscaler, resample.Size) {
	input := resample.LongestSide(c.picture, c.frame)
	u, err := resample.NewUpscaler(c.low, c.frame, input, c.picture)
	require.NoError(t, err)
	return u, input
}

// twoSteps is what Upscaler computes, by whole planes.
func twoSteps(t require.TestingT, low []float32, c upscaleCase, input resample.Size) []float32 {
	square, err := resample.Plane(low, c.low, resample.Size{H: c.frame, W: c.frame})
	require.NoError(t, err)
	crop := make([]float32, 0, input.H*input.W)
	for y := range input.H {
		crop = append(crop, square[y*c.frame:y*c.frame+input.W]...)
	}
	out, err := resample.Plane(crop, input, c.picture)
	require.NoError(t, err)
	return out
}

func TestUpscalerIsTwoPlanes(t *testing.T) {
	for _, tt := range upscaleCases {
		t.Run(tt.String(), func(t *testing.T) {
			u, input := tt.upscaler(t)
			low := noise(tt.low, 3)
			got := make([]float32, tt.picture.H*tt.picture.W)
			require.NoError(t, u.Logits(got, low))
			assert.Equal(t, twoSteps(t, low, tt, input), got)
			assert.Equal(t, tt.low, u.Low())
			assert.Equal(t, tt.picture, u.Picture())
		})
	}
}

// Whatever the floor and the split into runs, a row's values are those of the
// whole plane, and nothing above the floor is left out.
func TestUpscalerRowsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := upscaleCase{
			low:     resample.Size{H: 8, W: 8},
			frame:   rapid.SampledFrom([]int{4, 16, 32, 37}).Draw(t, "frame"),
			picture: resample.Size{H: rapid.IntRange(1, 60).Draw(t, "h"), W: rapid.IntRange(1, 60).Draw(t, "w")},
		}
		u, _ := c.upscaler(t)
		low := make([]float32, 64)
		kind := rapid.IntRange(0, 2).Draw(t, "kind")
		for i := range low {
			switch kind {
			case 0:
				low[i] = float32(rapid.IntRange(-3, 3).Draw(t, "v"))
			case 1:
				low[i] = float32(rapid.Float64Range(-1e30, 1).Draw(t, "v"))
			case 2:
				low[i] = 1 + float32(rapid.IntRange(-2, 2).Draw(t, "ulp"))/(1<<23)
			}
		}
		floor := rapid.SampledFrom([]float32{float32(math.Inf(-1)), -1, 0, 1, 2.5, float32(math.Inf(1))}).Draw(t, "floor")
		want := make([]float32, c.picture.H*c.picture.W)
		require.NoError(t, u.Logits(want, low))
		y0 := rapid.IntRange(0, c.picture.H).Draw(t, "y0")
		y1 := rapid.IntRange(y0, c.picture.H).Draw(t, "y1")
		seen := make([]bool, len(want))
		err := u.Rows(low, y0, y1, floor, func(y, x0 int, row []float32) {
			for i, v := range row {
				at := y*c.picture.W + x0 + i
				seen[at] = true
				if v != want[at] {
					t.Fatalf("(%d, %d): %v, want %v", x0+i, y, v, want[at])
				}
			}
		})
		require.NoError(t, err)
		for i, s := range seen {
			inside := i >= y0*c.picture.W && i < y1*c.picture.W
			switch {
			case s && !inside:
				t.Fatalf("(%d, %d) is outside the rows asked for", i%c.picture.W, i/c.picture.W)
			case !s && inside && (want[i] > floor || math.IsInf(float64(floor), -1)):
				t.Fatalf("(%d, %d) with %v was left out, floor %v", i%c.picture.W, i/c.picture.W, want[i], floor)
			}
		}
	})
}

func TestUpscalerRefuses(t *testing.T) {
	ok := resample.Size{H: 4, W: 4}
	for _, tt := range []struct {
		name           string
		low            resample.Size
		frame          int
		input, picture resample.Size
	}{
		{"no logits", resample.Size{}, 16, ok, ok},
		{"no frame", ok, 0, ok, ok},
		{"no input", ok, 16, resample.Size{H: 0, W: 4}, ok},
		{"no picture", ok, 16, ok, resample.Size{H: 4, W: -4}},
		{"input beyond the frame", ok, 16, resample.Size{H: 4, W: 17}, ok},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := resample.NewUpscaler(tt.low, tt.frame, tt.input, tt.picture)
			assert.ErrorIs(t, err, resample.ErrSize)
		})
	}
	u, err := resample.NewUpscaler(ok, 16, resample.Size{H: 16, W: 16}, ok)
	require.NoError(t, err)
	f := func(int, int, []float32) {}
	assert.ErrorIs(t, u.Rows(make([]float32, 15), 0, 4, 0, f), resample.ErrSize)
	assert.ErrorIs(t, u.Rows(make([]float32, 16), -1, 4, 0, f), resample.ErrSize)
	assert.ErrorIs(t, u.Rows(make([]float32, 16), 0, 5, 0, f), resample.ErrSize)
	assert.ErrorIs(t, u.Logits(make([]float32, 15), make([]float32, 16)), resample.ErrSize)
	_, err = resample.Plane(make([]float32, 15), ok, ok)
	assert.ErrorIs(t, err, resample.ErrSize)
	_, err = resample.Plane(make([]float32, 16), ok, resample.Size{})
	assert.ErrorIs(t, err, resample.ErrSize)
}

func BenchmarkUpscaler(b *testing.B) {
	for _, picture := range []resample.Size{{H: 1000, W: 1000}, {H: 2967, W: 2220}} {
		c := upscaleCase{resample.Size{H: 256, W: 256}, 1024, picture}
		u, _ := c.upscaler(b)
		large := noise(c.low, 1)
		small := make([]float32, len(large))
		for i := range small { // an object of 30 by 30 low-resolution pixels
			y, x := i/256, i%256
			small[i] = 5 - float32(max(max(100-y, y-130), max(60-x, x-90)))*5
		}
		b.Run(fmt.Sprintf("logits/picture=%v", picture), func(b *testing.B) {
			dst := make([]float32, picture.H*picture.W)
			b.SetBytes(int64(4 * len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				if err := u.Logits(dst, large); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("rows/object=30x30/picture=%v", picture), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := u.Rows(small, 0, picture.H, 0, func(int, int, []float32) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExamplePlane() {
	out, err := resample.Plane([]float32{0, 4}, resample.Size{H: 1, W: 2}, resample.Size{H: 1, W: 4})
	fmt.Println(out, err)
	// Output: [0 1 3 4] <nil>
}

func ExampleUpscaler() {
	low := []float32{-1, 3, -1, 3} // [2, 2]
	picture := resample.Size{H: 6, W: 8}
	input := resample.LongestSide(picture, 4) // 3x4: the last row of the frame is padding
	u, err := resample.NewUpscaler(resample.Size{H: 2, W: 2}, 4, input, picture)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = u.Rows(low, 0, 2, 0, func(y, x0 int, row []float32) {
		fmt.Println(y, x0, row)
	})
	fmt.Println(err)
	// Output:
	// 0 0 [-1 -0.75 -0.25 0.5 1.5 2.25 2.75 3]
	// 1 0 [-1 -0.75 -0.25 0.5 1.5 2.25 2.75 3]
	// <nil>
}
