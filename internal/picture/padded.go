package picture

import (
	"image"
	"image/color"
	"image/draw"
)

// Padded returns a picture that is smaller than the model's frame on a canvas
// of that size, so that the model sees it at its resolution and not enlarged.
// The canvas has the picture's median colour, which is no object.
func Padded(img *image.RGBA, side int) *image.RGBA {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	if max(w, h) >= side || w == 0 || h == 0 {
		return img
	}
	var median [3]byte
	for c := range median {
		var n [256]int
		for y := range h {
			row := img.Pix[y*img.Stride:][:4*w]
			for x := c; x < len(row); x += 4 {
				n[row[x]]++
			}
		}
		for left := w * h / 2; left >= n[median[c]]; median[c]++ {
			left -= n[median[c]]
		}
	}
	out := image.NewRGBA(image.Rect(0, 0, side, side))
	draw.Draw(out, out.Rect, image.NewUniform(color.RGBA{median[0], median[1], median[2], 255}), image.Point{}, draw.Src)
	draw.Draw(out, image.Rect(0, 0, w, h), img, img.Rect.Min, draw.Src)
	return out
}
