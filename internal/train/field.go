package train

import (
	"fmt"
	"image"

	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/mask"
)

// Field is an annotated picture: the masks of its objects, at its size.
type Field struct {
	Name    string // for errors
	Image   image.Image
	Picture mask.Size // zero if there is no picture
	Objects []*mask.Mask
	Known   *mask.Mask // where all objects are annotated, nil: everywhere; instance decoders alone read it
}

// CheckFields says why nothing can be learned from an object of the fields, or
// that there is none. Its errors wrap [ErrAnnotations].
func CheckFields(fields []Field) error {
	if err := checkFields(fields); err != nil {
		return fmt.Errorf("%w: %w", ErrAnnotations, err)
	}
	return nil
}

func checkFields(fields []Field) error {
	n := 0
	for _, f := range fields {
		if f.Picture == (mask.Size{}) {
			return fmt.Errorf("field %s has no picture", f.Name)
		}
		for i, m := range f.Objects {
			switch {
			case m.Area() == 0:
				return fmt.Errorf("field %s: object %d is empty: it may lie outside the picture", f.Name, i)
			case m.Size() != f.Picture:
				return fmt.Errorf("field %s: object %d is for a picture of %v, not %v", f.Name, i, m.Size(), f.Picture)
			case m.Area() == f.Picture.H*f.Picture.W:
				return fmt.Errorf("field %s: object %d fills the picture: there is nothing to tell it from", f.Name, i)
			}
			n++
		}
	}
	if n == 0 {
		return fmt.Errorf("no object on %d fields", len(fields))
	}
	return nil
}

// Targets returns what is to be learned of the objects, and what of those whose
// indices are held back only measures.
func (f Frame) Targets(objects []*mask.Mask, heldBack []int) (learn, measure []*Target) {
	all := make([]*Target, len(objects))
	kernel.Parallel(len(all), func(i int) { all[i] = f.Target(objects[i]) })
	only := map[int]bool{}
	for _, i := range heldBack {
		only[i] = true
	}
	for i, t := range all {
		if only[i] {
			measure = append(measure, t)
		} else {
			learn = append(learn, t)
		}
	}
	return learn, measure
}
