package instances

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/train"
)

// Least is the number of pixels of a field below which a part of an object
// counts as background: micro-sam's.
const Least = 25

// Field is an annotated picture as an instance decoder sees it.
type Field struct {
	Name    string
	Size    mask.Size
	Labels  []uint32 // [H, W]: the connected parts of objects from 1 on; 0 is background
	Known   []bool   // [H, W]: where all objects are annotated; nil: everywhere
	Objects int      // parts
}

// NewField paints the objects of a picture, the largest first, so that those
// within others remain. Annotated pixels are known wherever they lie.
func NewField(f train.Field) (*Field, error) {
	out, known := &Field{Name: f.Name, Size: f.Picture}, f.Known
	if known != nil && known.Size() != f.Picture {
		return nil, fmt.Errorf("%w: field %s: what is known is of a picture of %v, not %v", train.ErrAnnotations, f.Name, known.Size(), f.Picture)
	}
	value := make([]uint32, f.Picture.H*f.Picture.W)
	order := make([]int, len(f.Objects))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return f.Objects[b].Area() - f.Objects[a].Area() })
	for _, i := range order {
		for r := range f.Objects[i].Runs() {
			for x := r.X0; x < r.X1; x++ {
				value[r.Y*f.Picture.W+x] = uint32(i + 1)
			}
		}
	}
	out.Labels, out.Objects = instance.Parts(value, f.Picture.H, f.Picture.W, Least)
	if known == nil {
		return out, nil
	}
	out.Known = make([]bool, len(value))
	for r := range known.Runs() {
		for x := r.X0; x < r.X1; x++ {
			out.Known[r.Y*f.Picture.W+x] = true
		}
	}
	for i, v := range value {
		out.Known[i] = out.Known[i] || v > 0
	}
	return out, nil
}

// NewFields makes fields of pictures. It returns an error that wraps
// [train.ErrAnnotations] if none has an object.
func NewFields(pictures []train.Field) ([]*Field, error) {
	out, n := make([]*Field, len(pictures)), 0
	for i, p := range pictures {
		var err error
		if out[i], err = NewField(p); err != nil {
			return nil, err
		}
		n += out[i].Objects
	}
	if n == 0 {
		return nil, fmt.Errorf("%w: no object of %d fields has a part of %d pixels or more: annotate at a finer scale, where nuclei are larger", train.ErrAnnotations, len(out), Least)
	}
	return out, nil
}

// HoldBack picks the fields that only measure: the share of those with objects
// that is asked for, at least one if there are two, and none of a single one.
func HoldBack(fields []*Field, share float64, seed uint64) []int {
	var with []int
	for i, f := range fields {
		if f.Objects > 0 {
			with = append(with, i)
		}
	}
	if share <= 0 || len(with) < 2 {
		return nil
	}
	rng := rand.New(rand.NewPCG(seed, 0xba5e))
	rng.Shuffle(len(with), func(i, j int) { with[i], with[j] = with[j], with[i] })
	n := min(max(1, int(math.Round(share*float64(len(with))))), len(with)-1)
	return slices.Sorted(slices.Values(with[:n]))
}

// View is one way in which a field is turned, and its embedding [Grid*Grid,
// Embed]. Input is the part of the encoder's frame that the turned picture
// fills.
type View struct {
	*Field
	Turn      train.Turn
	Input     mask.Size
	Embedding []float32
}

// scene is what maps of side x side pixels over the encoder's frame should show
// of a view: H x W pixels at their upper left, the rest lies outside the picture.
type scene struct {
	H, W   int
	labels []uint32 // [H, W]: those of the field's nearest pixels
	known  []bool   // [H, W]
}

// scene paints the view. micro-sam compares at the field's resolution instead,
// which for a field as large as the frame is the same.
func (v *View) scene(side, frame int) scene {
	turned := v.Turn.Size(v.Size)
	across, down := sources(v.Input.W, turned.W, side, frame), sources(v.Input.H, turned.H, side, frame)
	s := scene{H: len(down), W: len(across)}
	s.labels, s.known = make([]uint32, s.H*s.W), make([]bool, s.H*s.W)
	for y, sy := range down {
		for x, sx := range across {
			x0, y0 := v.Turn.Source(v.Size, sx, sy)
			at := y0*v.Size.W + x0
			s.labels[y*s.W+x], s.known[y*s.W+x] = v.Labels[at], v.Known == nil || v.Known[at]
		}
	}
	return s
}

// crop is a square of n x n cells of an embedding, at its column X and row Y.
type crop struct{ X, Y, n int }

// tries is how often a crop is drawn before it is laid round an object.
const tries = 8

// draw returns a crop on which there is an object; a cell is so many pixels of
// the scene wide.
func (s *scene) draw(rng *rand.Rand, n, cell int) crop {
	most := func(pixels int) int { return max(0, (pixels+cell-1)/cell-n) }
	maxX, maxY := most(s.W), most(s.H)
	for range tries {
		c := crop{rng.IntN(maxX + 1), rng.IntN(maxY + 1), n}
		if s.has(c, cell) {
			return c
		}
	}
	first := rng.IntN(len(s.labels))
	for i := range s.labels {
		if at := (first + i) % len(s.labels); s.labels[at] > 0 {
			return crop{min(max(at%s.W/cell-n/2, 0), maxX), min(max(at/s.W/cell-n/2, 0), maxY), n}
		}
	}
	return crop{0, 0, n}
}

// has reports whether there is an object on the crop.
func (s *scene) has(c crop, cell int) bool {
	for y := c.Y * cell; y < min((c.Y+c.n)*cell, s.H); y++ {
		for x := c.X * cell; x < min((c.X+c.n)*cell, s.W); x++ {
			if s.labels[y*s.W+x] > 0 {
				return true
			}
		}
	}
	return false
}

// target is what maps [n*cell*n*cell, 3] of the crop should say: the targets of
// what is seen of the objects. Outside the picture and where annotations are
// missing nothing is known.
func (s *scene) target(c crop, cell int) ([]float32, error) {
	x0, y0, side := c.X*cell, c.Y*cell, c.n*cell
	h, w := min(side, s.H-y0), min(side, s.W-x0)
	labels := make([]uint32, 0, h*w)
	for y := range h {
		labels = append(labels, s.labels[(y0+y)*s.W+x0:][:w]...)
	}
	m, _, err := instance.Targets(labels, h, w, 1)
	if err != nil {
		return nil, err
	}
	out := make([]float32, side*side*channels)
	for i := 0; i < len(out); i += channels {
		out[i] = unknown
	}
	for y := range h {
		for x := range w {
			if s.known[(y0+y)*s.W+x0+x] {
				at := y*w + x
				copy(out[(y*side+x)*channels:], []float32{m.Foreground[at], m.Centre[at], m.Boundary[at]})
			}
		}
	}
	return out, nil
}

// of cuts the crop out of an embedding [grid*grid, width].
func (c crop) of(embedding []float32, grid int) []float32 {
	if c.n == grid {
		return embedding
	}
	width := len(embedding) / (grid * grid)
	out := make([]float32, 0, c.n*c.n*width)
	for y := range c.n {
		out = append(out, embedding[((c.Y+y)*grid+c.X)*width:][:c.n*width]...)
	}
	return out
}

// sources are the picture's pixels, of n along an axis, that lie nearest to
// those of a map with side pixels over the frame, of which the picture fills
// input.
func sources(input, n, side, frame int) []int {
	var out []int
	for i := range side {
		p := (float64(i) + 0.5) * float64(frame) / float64(side)
		if p >= float64(input) {
			break
		}
		out = append(out, min(int(p*float64(n)/float64(input)), n-1))
	}
	return out
}
