package histology

import (
	"image"

	"github.com/slidesam/sam/internal/kernel"
)

// sharpenBy is how much of what a Gaussian takes away is added.
const sharpenBy = 1.5

// Sharpen undoes some of the blur of an opaque picture that was enlarged by a
// factor: an unsharp mask whose Gaussian has the standard deviation of one
// pixel before enlarging.
func Sharpen(pic *image.RGBA, enlarged float64) {
	w, h := pic.Rect.Dx(), pic.Rect.Dy()
	plane := make([]float32, w*h)
	for c := range 3 {
		for y := range h {
			row := pic.Pix[y*pic.Stride:]
			for x := range w {
				plane[y*w+x] = float32(row[4*x+c])
			}
		}
		soft := gaussian(plane, w, h, enlarged)
		kernel.Parallel(h, func(y int) {
			row := pic.Pix[y*pic.Stride:]
			for x := range w {
				v := plane[y*w+x]
				row[4*x+c] = uint8(min(max(v+float32(sharpenBy*(v-soft[y*w+x]))+0.5, 0), 255))
			}
		})
	}
}
