package instance

import (
	"image"

	"github.com/slidesam/sam/internal/mask"
)

// Object is one instance of a picture.
type Object struct {
	Mask       *mask.Mask
	Foreground float32     // mean probability of its pixels to be foreground
	Deep       image.Point // its first pixel that is farthest from the boundary
	Seed       image.Point // the first pixel of its seed, row by row; of Find and Bands
}

// Objects returns the instances of labels [H, W], which count from 1, in the
// order of their numbers. Numbers without a pixel are passed over.
func Objects(labels []uint32, m Maps) ([]Object, error) {
	type found struct {
		bounds image.Rectangle
		sum    float64
		n      int
		deep   int
	}
	var all []found
	for i, l := range labels {
		if l == 0 {
			continue
		}
		for int(l) > len(all) {
			all = append(all, found{deep: -1})
		}
		k := &all[l-1]
		x, y := i%m.W, i/m.W
		k.bounds = k.bounds.Union(image.Rect(x, y, x+1, y+1))
		k.sum += float64(m.Foreground[i])
		k.n++
		if k.deep < 0 || m.Boundary[i] < m.Boundary[k.deep] {
			k.deep = i
		}
	}
	var out []Object
	for l, k := range all {
		if k.n == 0 {
			continue
		}
		b, err := mask.NewBuilder(mask.Size{H: m.H, W: m.W}, k.bounds)
		if err != nil {
			return nil, err
		}
		for y := k.bounds.Min.Y; y < k.bounds.Max.Y; y++ {
			for x := k.bounds.Min.X; x < k.bounds.Max.X; x++ {
				x0 := x
				for x < k.bounds.Max.X && labels[y*m.W+x] == uint32(l+1) {
					x++
				}
				if x > x0 {
					b.SetRun(mask.Run{Y: y, X0: x0, X1: x})
				}
			}
		}
		out = append(out, Object{Mask: b.Mask(), Foreground: float32(k.sum / float64(k.n)), Deep: image.Pt(k.deep%m.W, k.deep/m.W)})
	}
	return out, nil
}
