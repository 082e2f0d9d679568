package sam_test

import (
	"fmt"
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
)

func ExampleNewMask() {
	m, err := sam.NewMask(sam.Size{H: 100, W: 100}, func(x, y int) bool { return (x-30)*(x-30)+(y-40)*(y-40) <= 100 })
	fmt.Println(m.Area(), m.Bounds(), m.At(30, 40), err)
	// Output: 317 (20,30)-(41,51) true <nil>
}

func ExampleMaskFromImage() {
	img := image.NewGray(image.Rect(0, 0, 3, 1))
	copy(img.Pix, []byte{3, 200, 255})
	m, err := sam.MaskFromImage(img)
	fmt.Println(m.Area(), m.Size(), err)
	// Output: 2 3 x 1 <nil>
}

func ExampleLogits_Mask() {
	m, err := sam.Logits{H: 2, W: 2, Data: []float32{-1, 0, 0.5, 3}}.Mask(0)
	fmt.Println(m.Area(), m.Bounds(), err)
	// Output: 2 (0,1)-(2,2) <nil>
}

func ExampleMask_Runs() {
	m, err := sam.NewMask(sam.Size{H: 2, W: 5}, func(x, y int) bool { return x != y+1 })
	if err != nil {
		fmt.Println(err)
		return
	}
	for r := range m.Runs() {
		fmt.Println(r.Y, r.X0, r.X1)
	}
	// Output:
	// 0 0 1
	// 0 2 5
	// 1 0 2
	// 1 3 5
}

func ExampleMask_IoU() {
	size := sam.Size{H: 10, W: 10}
	a, _ := sam.NewMask(size, func(x, y int) bool { return x < 5 })
	b, _ := sam.NewMask(size, func(x, y int) bool { return x >= 3 && x < 8 })
	fmt.Println(a.Intersection(b), a.IoU(b))
	// Output: 20 0.25
}

func ExampleMask_Union() {
	size := sam.Size{H: 10, W: 10}
	a, _ := sam.NewMask(size, func(x, y int) bool { return x < 5 })
	b, _ := sam.NewMask(size, func(x, y int) bool { return x >= 3 && x < 8 })
	for _, f := range []func(*sam.Mask) (*sam.Mask, error){a.Union, a.Intersect, a.Subtract} {
		m, err := f(b)
		fmt.Println(m.Area(), err)
	}
	// Output:
	// 80 <nil>
	// 20 <nil>
	// 30 <nil>
}

func ExampleMask_Clip() {
	m, _ := sam.NewMask(sam.Size{H: 10, W: 10}, func(x, y int) bool { return x == y })
	part, err := m.Clip(image.Rect(2, 0, 5, 10))
	fmt.Println(part.Bounds(), part.Area(), err)
	// Output: (2,2)-(5,5) 3 <nil>
}

func ExampleMask_Place() {
	tile, _ := sam.NewMask(sam.Size{H: 4, W: 4}, func(x, y int) bool { return x == 1 })
	slide, err := tile.Place(sam.Size{H: 1000, W: 1000}, image.Pt(512, 256))
	fmt.Println(slide.Bounds(), slide.Area(), err)
	// Output: (513,256)-(514,260) 4 <nil>
}

// A threshold that is no number would give masks that mean nothing.
func TestPredictRefusesThreshold(t *testing.T) {
	model, err := golden.LoadModel("small_a")
	require.NoError(t, err)
	m, err := sam.NewRandom(configOf(model.Config), 1)
	require.NoError(t, err)
	e, err := m.Embed(t.Context(), image.NewGray(image.Rect(0, 0, 60, 40)))
	require.NoError(t, err)
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, err := m.Predict(t.Context(), e, sam.Prompt{}, sam.PredictOptions{MaskThreshold: float32(v)})
		assert.ErrorContains(t, err, "want a finite number", "%v", v)
	}
}

func TestNewMaskNil(t *testing.T) {
	_, err := sam.NewMask(sam.Size{H: 2, W: 2}, nil)
	assert.ErrorIs(t, err, sam.ErrMask)
}
