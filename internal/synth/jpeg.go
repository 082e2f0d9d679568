package synth

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
)

// JPEG returns the picture as it looks after JPEG compression at a quality of
// 1 to 100, as scanners store it. The blocks start at the picture's corner.
func JPEG(img *image.RGBA, quality int) (*image.RGBA, error) {
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("synth: encode jpeg: %w", err)
	}
	got, err := jpeg.Decode(&buf)
	if err != nil {
		return nil, fmt.Errorf("synth: decode jpeg: %w", err)
	}
	out := image.NewRGBA(img.Bounds())
	draw.Draw(out, out.Bounds(), got, got.Bounds().Min, draw.Src)
	return out, nil
}
