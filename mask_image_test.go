package sam_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slidesam/sam"
)

func TestWritePNG(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawGrid(t, "mask", 60).mask(t)
		var b bytes.Buffer
		require.NoError(t, m.WritePNG(&b))
		img, err := png.Decode(&b)
		require.NoError(t, err)
		require.IsType(t, &image.Gray{}, img)
		back, err := sam.MaskFromImage(img)
		require.NoError(t, err)
		assert.True(t, m.Equal(back))
		assert.Equal(t, color.GrayModel, m.Image().ColorModel())
	})
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWritePNGErrors(t *testing.T) {
	assert.ErrorIs(t, (*sam.Mask)(nil).WritePNG(&bytes.Buffer{}), sam.ErrMask)
	m := parse(t, "#.")
	assert.ErrorContains(t, m.WritePNG(fullDisk{}), "no space left")
}

func ExampleMask_WritePNG() {
	m, err := sam.NewMask(sam.Size{H: 2, W: 3}, func(x, y int) bool { return x == y })
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer
	if err := m.WritePNG(&file); err != nil {
		fmt.Println(err)
		return
	}
	img, err := png.Decode(&file)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(img.Bounds().Size(), img.(*image.Gray).Pix)
	// Output: (3,2) [255 0 0 0 255 0]
}

func ExampleMask_Image() {
	m, err := sam.NewMask(sam.Size{H: 1, W: 2}, func(x, y int) bool { return x == 1 })
	if err != nil {
		fmt.Println(err)
		return
	}
	img := m.Image()
	fmt.Println(img.Bounds(), img.At(0, 0), img.At(1, 0))
	// Output: (0,0)-(2,1) {0} {255}
}
