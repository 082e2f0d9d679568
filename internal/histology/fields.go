package histology

import (
	"image"
	"slices"

	"github.com/slidesam/sam/internal/mask"
)

// RichFields returns up to n cells of a grid of cols x rows over a picture, by
// their numbers row by row: of those that are mostly tissue the ones that have
// more haematoxylin than 19, 16, 13 of 20 and so on. The very richest are folds
// and ink.
func RichFields(pic *image.RGBA, tissue *mask.Mask, cols, rows, n int) []int {
	w, h := pic.Rect.Dx(), pic.Rect.Dy()
	amount, pixels, inside := make([]float64, cols*rows), make([]int, cols*rows), make([]int, cols*rows)
	for y := range h {
		for x := range w {
			k := y*rows/h*cols + x*cols/w
			pixels[k]++
			if !tissue.At(x, y) {
				continue
			}
			inside[k]++
			p := pic.Pix[y*pic.Stride+4*x:]
			amount[k] += float64(haematoxylin[0]*density[p[0]] + haematoxylin[1]*density[p[1]] + haematoxylin[2]*density[p[2]])
		}
	}
	var rich []int
	for k := range pixels {
		if inside[k] > 0 && 2*inside[k] >= pixels[k] {
			rich = append(rich, k)
		}
	}
	if len(rich) == 0 { // little tissue: the cells that have most
		for k := range pixels {
			if inside[k] > 0 {
				rich = append(rich, k)
			}
		}
	}
	slices.SortStableFunc(rich, func(a, b int) int {
		switch d := amount[a]/float64(pixels[a]) - amount[b]/float64(pixels[b]); {
		case d < 0:
			return -1
		case d > 0:
			return 1
		}
		return 0
	})
	var out []int
	for k := 0; k < n && len(rich) > 0; k++ {
		at := rich[max(len(rich)*(19-3*k)/20, 0)]
		if !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	return out
}
