package picfile

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
)

// cmyk decodes a JPEG file of four components by image/jpeg, and converts it
// as Pillow does (Convert.c, cmyk2rgb): each ink is taken off what black leaves.
func cmyk(b []byte) (image.Image, error) {
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	m, ok := img.(*image.CMYK)
	if !ok {
		return nil, fmt.Errorf("four components that are %T", img)
	}
	out := image.NewRGBA(image.Rect(0, 0, m.Rect.Dx(), m.Rect.Dy()))
	for y := range out.Rect.Dy() {
		src, dst := m.Pix[y*m.Stride:], out.Pix[y*out.Stride:(y+1)*out.Stride]
		for x := 0; x < len(dst); x += 4 {
			left := 255 - int(src[x+3])
			for c := range 3 {
				ink := left*int(src[x+c]) + 128 // over 255, rounded
				dst[x+c] = uint8(max(0, left-(ink>>8+ink)>>8))
			}
			dst[x+3] = 255
		}
	}
	return out, nil
}
