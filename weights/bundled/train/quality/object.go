package main

import (
	"image"
	_ "image/jpeg" // test pictures
	"os"

	"github.com/slidesam/sam"
)

// object is one connected or labelled set of pixels of a w-wide picture.
type object struct {
	w   int
	pix []int
	box image.Rectangle
	in  map[int]bool
}

// components numbers the 4-connected components of a mask from 1 on.
func components(m []bool, w, h int) []int32 {
	lab := make([]int32, w*h)
	n := int32(0)
	var stack []int
	for s := range m {
		if !m[s] || lab[s] != 0 {
			continue
		}
		n++
		lab[s] = n
		stack = append(stack[:0], s)
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			visit := func(ok bool, j int) {
				if ok && m[j] && lab[j] == 0 {
					lab[j] = n
					stack = append(stack, j)
				}
			}
			visit(i%w > 0, i-1)
			visit(i%w < w-1, i+1)
			visit(i >= w, i-w)
			visit(i < w*(h-1), i+w)
		}
	}
	return lab
}

// find returns the objects of at least so many pixels, in the order of their
// numbers.
func find(lab []int32, w, h, least int) []*object {
	by := map[int32]*object{}
	most := int32(0)
	for i, k := range lab {
		if k == 0 {
			continue
		}
		o := by[k]
		if o == nil {
			o = &object{w: w, in: map[int]bool{}}
			by[k] = o
			most = max(most, k)
		}
		o.pix = append(o.pix, i)
		o.in[i] = true
		o.box = o.box.Union(image.Rect(i%w, i/w, i%w+1, i/w+1))
	}
	var out []*object
	for k := int32(1); k <= most; k++ {
		if o := by[k]; o != nil && len(o.pix) >= least {
			out = append(out, o)
		}
	}
	return out
}

// spread returns at most n of the objects, evenly from first to last.
func spread(obj []*object, n int) []*object {
	if len(obj) <= n {
		return obj
	}
	out := make([]*object, n)
	for i := range out {
		out[i] = obj[i*len(obj)/n]
	}
	return out
}

// centre returns the first pixel farthest from the outside, by peeling rings
// of alternately 4 and 8 neighbours.
func (o *object) centre() sam.Point {
	left := o.pix
	in := make(map[int]bool, len(left))
	for _, i := range left {
		in[i] = true
	}
	four, eight := []int{-1, 1, -o.w, o.w}, []int{-1, 1, -o.w, o.w, -o.w - 1, -o.w + 1, o.w - 1, o.w + 1}
	for ring := 0; ; ring++ {
		near := four
		if ring%2 == 1 {
			near = eight
		}
		var core, shed []int
		for _, i := range left {
			keep := i%o.w > 0 && i%o.w < o.w-1
			for _, d := range near {
				keep = keep && in[i+d]
			}
			if keep {
				core = append(core, i)
			} else {
				shed = append(shed, i)
			}
		}
		if len(core) == 0 {
			i := left[len(left)/2]
			return sam.Point{X: float64(i%o.w) + 0.5, Y: float64(i/o.w) + 0.5, Label: sam.Foreground}
		}
		for _, i := range shed {
			delete(in, i)
		}
		left = core
	}
}

// prompts returns one tight box and one inside point for each object, in
// pixels of the window whose first pixel is at.
func prompts(obj []*object, at image.Point) (boxes, points []sam.Prompt) {
	for _, o := range obj {
		b, c := o.box.Sub(at), o.centre()
		boxes = append(boxes, sam.Prompt{Box: &sam.Box{
			X0: float64(b.Min.X), Y0: float64(b.Min.Y), X1: float64(b.Max.X), Y1: float64(b.Max.Y)}})
		c.X, c.Y = c.X-float64(at.X), c.Y-float64(at.Y)
		points = append(points, sam.Prompt{Points: []sam.Point{c}})
	}
	return boxes, points
}

// agree returns Dice and IoU of a mask with the object.
func (o *object) agree(m *sam.Mask) (dice, iou float64) {
	both := 0
	for _, i := range o.pix {
		if m.At(i%o.w, i/o.w) {
			both++
		}
	}
	a := m.Area()
	return 2 * float64(both) / float64(a+len(o.pix)), float64(both) / float64(a+len(o.pix)-both)
}

// inEllipse tells whether a pixel's middle lies in the ellipse inscribed in b.
func inEllipse(b image.Rectangle, x, y int) bool {
	u := (float64(x) + 0.5 - float64(b.Min.X+b.Max.X)/2) / (float64(b.Dx()) / 2)
	v := (float64(y) + 0.5 - float64(b.Min.Y+b.Max.Y)/2) / (float64(b.Dy()) / 2)
	return u*u+v*v <= 1
}

// ellipse returns the Dice of the ellipse inscribed in the object's box.
func (o *object) ellipse() float64 {
	both, n := 0, 0
	for y := o.box.Min.Y; y < o.box.Max.Y; y++ {
		for x := o.box.Min.X; x < o.box.Max.X; x++ {
			if !inEllipse(o.box, x, y) {
				continue
			}
			n++
			if o.in[y*o.w+x] {
				both++
			}
		}
	}
	return 2 * float64(both) / float64(n+len(o.pix))
}

func dice(a, b []bool) float64 {
	both, sum := 0, 0
	for i := range a {
		if a[i] {
			sum++
		}
		if b[i] {
			sum++
		}
		if a[i] && b[i] {
			both++
		}
	}
	return 2 * float64(both) / float64(max(1, sum))
}

// readPair reads a picture and its binary mask.
func readPair(img, mask string) (image.Image, []bool, error) {
	var out [2]image.Image
	for i, p := range []string{img, mask} {
		f, err := os.Open(p)
		if err != nil {
			return nil, nil, err
		}
		out[i], _, err = image.Decode(f)
		f.Close()
		if err != nil {
			return nil, nil, err
		}
	}
	b := out[1].Bounds()
	m := make([]bool, b.Dx()*b.Dy())
	for i := range m {
		r, g, bl, _ := out[1].At(b.Min.X+i%b.Dx(), b.Min.Y+i/b.Dx()).RGBA()
		m[i] = (19595*r+38470*g+7471*bl+1<<15)>>24 >= 128
	}
	return out[0], m, nil
}
