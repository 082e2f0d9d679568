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

// target is what maps [side*side, 3] of the view should say, where the
// encoder's frame has so many pixels. Labels are those of the field's nearest
// pixels; outside the picture and where annotations are missing nothing is
// known.
//
// micro-sam compares at the field's resolution instead. For a field as large as
// the frame that is the same.
func (v *View) target(side, frame int) ([]float32, error) {
	turned := v.Turn.Size(v.Size)
	across, down := sources(v.Input.W, turned.W, side, frame), sources(v.Input.H, turned.H, side, frame)
	h, w := len(down), len(across)
	labels, known := make([]uint32, h*w), make([]bool, h*w)
	for y, sy := range down {
		for x, sx := range across {
			x0, y0 := v.Turn.Source(v.Size, sx, sy)
			at := y0*v.Size.W + x0
			labels[y*w+x], known[y*w+x] = v.Labels[at], v.Known == nil || v.Known[at]
		}
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
			if at := y*w + x; known[at] {
				copy(out[(y*side+x)*channels:], []float32{m.Foreground[at], m.Centre[at], m.Boundary[at]})
			}
		}
	}
	return out, nil
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
