package sam

import (
	"image"

	"github.com/slidesam/sam/internal/picture"
)

// TurnedTarget is what fine-tuning learns of a mask when its picture is turned
// in one of eight ways: each cell's share, the sides of a cell of a network
// of that size in pixels of the turned picture, and the box.
func TurnedTarget(m *Mask, k, size, side int) (share []float32, cell float64, box [4]float64) {
	s := turn(k).size(m.Size())
	f := targetFrame{turn: turn(k), picture: m.Size(), input: inputSize(s, size), cell: float64(size) / float64(side), side: side}
	t := f.target(m)
	return t.Share, f.cell * float64(s.W) / float64(f.input.W), t.Box
}

// TurnedPicture is a picture turned in one of eight ways.
func TurnedPicture(img image.Image, k int) (pix []byte, size Size) {
	p, err := picture.New(img)
	if err != nil {
		panic(err)
	}
	r := turn(k).picture(p.RGB())
	return r.Pix, Size(r.Size)
}
