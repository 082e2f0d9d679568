package histology

import (
	"image"

	"github.com/slidesam/sam/internal/mask"
)

// eosin is the row of the inverse of the stain matrix, see haematoxylin, that
// gives the amount of eosin.
var eosin = stainRow([3]float64{0.072, 0.990, 0.105}, [3]float64{0.650, 0.704, 0.286})

// Stain is the amount of haematoxylin and of eosin, as optical densities.
type Stain struct{ Haematoxylin, Eosin float32 }

// MeanStain returns the mean amounts over the pixels of a mask of a picture of
// H&E, zeros if it has none. Of other stains the numbers mean nothing.
func MeanStain(img *image.RGBA, m *mask.Mask) Stain {
	var h, e float64
	for r := range m.Runs() {
		row := img.Pix[r.Y*img.Stride:]
		for x := r.X0; x < r.X1; x++ {
			red, green, blue := density[row[4*x]], density[row[4*x+1]], density[row[4*x+2]]
			h += float64(haematoxylin[0]*red + haematoxylin[1]*green + haematoxylin[2]*blue)
			e += float64(eosin[0]*red + eosin[1]*green + eosin[2]*blue)
		}
	}
	n := float64(max(m.Area(), 1))
	return Stain{float32(h / n), float32(e / n)}
}
