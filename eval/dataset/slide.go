package dataset

import (
	"context"
	"fmt"
	"image"
	"slices"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

// SlideOptions say how fields are cut out of an annotated slide. MPP is the
// scale at which they are read, 0 for the slide's own.
type SlideOptions struct {
	QuPathOptions
	Side int // pixels of a field's side; 0: 1024
	// Regions is the class of the annotations that outline where all objects are
	// annotated. Fields are laid over them then, pictures say what is Known, and
	// objects at a field's edge are on it in part. "": fields are laid round objects.
	Regions string
}

// QuPathSlide opens the annotated parts of one slide: its QuPath export
// (GeoJSON, coordinates in pixels of the finest level) decides which fields are
// read. Each object is whole on one field; objects that lie close share one.
//
// It returns an error that wraps ErrLayout if nothing is annotated, no object
// has one of the classes asked for, an object lies outside the slide, or one is
// larger than a field.
func QuPathSlide(name, slide, annotations string, o SlideOptions) (*Set, error) {
	if o.Side == 0 {
		o.Side = 1024
	}
	s := &Set{name: name, classes: slices.Clone(o.Classes)}
	list, regions, err := readSlide(annotations, o)
	if err != nil {
		return nil, s.wrap(err)
	}
	open, err := sam.OpenSlide(slide)
	if err != nil {
		return nil, s.wrap(err)
	}
	defer open.Close()
	scale, mpp := 1.0, 0.0
	if own, _ := open.MPP(); own > 0 {
		if mpp = own; o.MPP > 0 {
			scale, mpp = own/o.MPP, o.MPP
		}
	} else if o.MPP > 0 {
		return nil, s.wrap(fmt.Errorf("%w: %s does not say its scale, so that %g micrometres per pixel cannot be read", ErrLayout, slide, o.MPP))
	}
	size := open.Size()
	whole := orb.Bound{Max: orb.Point{float64(size.W), float64(size.H)}}
	for _, all := range [][]outline{list, regions} {
		for i := range all {
			if l := &all[i]; !whole.Contains(l.area.Bound().Min) || !whole.Contains(l.area.Bound().Max) {
				return nil, s.wrap(fmt.Errorf("%w: %s of %s lies outside the slide of %v pixels", ErrLayout, l.id, annotations, size))
			}
			all[i].area = scaled(all[i].area, scale)
		}
	}
	var fields []slideField
	if o.Regions == "" {
		if fields, err = fieldsOf(list, o.Side); err != nil {
			return nil, s.wrap(fmt.Errorf("%w: %s: %w", ErrLayout, annotations, err))
		}
	} else if fields = regionFields(list, regions, o.Side); len(fields) == 0 && len(list) > 0 {
		return nil, s.wrap(outsideRegions(annotations, o.Regions, len(regions)))
	}
	for _, f := range fields {
		id := fmt.Sprintf("%s (%d, %d)", stem(slide), f.at.Min.X, f.at.Min.Y)
		for n := 2; s.has(id); n++ { // regions that share a place
			id = fmt.Sprintf("%s (%d, %d), %d", stem(slide), f.at.Min.X, f.at.Min.Y, n)
		}
		s.add(eval.Item{ID: id, Group: stem(slide)}, func(ctx context.Context) (*eval.Picture, error) {
			return readField(ctx, slide, f, mpp, scale, o)
		})
	}
	return s.finish(annotations, "annotations with an area")
}

// haveClasses returns an error if one of the classes that were asked for has no
// object.
func haveClasses(list []outline, annotations string, o QuPathOptions) error {
	groups := func(list []outline) (out []string) {
		for _, l := range list {
			if !slices.Contains(out, l.group) {
				out = append(out, l.group)
			}
		}
		return out
	}
	found := groups(list)
	for _, c := range o.Classes {
		if slices.Contains(found, c) {
			continue
		}
		all, err := readQuPath(annotations, QuPathOptions{Nucleus: o.Nucleus})
		if err != nil {
			return err
		}
		return fmt.Errorf("%w: %s: no object of class %q: there are %q", ErrLayout, annotations, c, groups(all))
	}
	return nil
}

// slideField is a part of a slide and the objects on it.
type slideField struct {
	at     image.Rectangle // at the scale of the field
	list   []outline
	region orb.MultiPolygon // where all objects are annotated; nil: that is not known
}

// fieldsOf puts objects on fields: from the top, each field is laid round the
// first object that is left and those beside it.
func fieldsOf(list []outline, side int) ([]slideField, error) {
	left := slices.Clone(list)
	slices.SortStableFunc(left, func(a, b outline) int {
		p, q := a.area.Bound().Min, b.area.Bound().Min
		if p[1] != q[1] {
			return int(p[1]) - int(q[1])
		}
		return int(p[0]) - int(q[0])
	})
	within := func(at image.Rectangle, l outline) bool {
		b := l.area.Bound()
		return b.Min[0] >= float64(at.Min.X) && b.Min[1] >= float64(at.Min.Y) && b.Max[0] <= float64(at.Max.X) && b.Max[1] <= float64(at.Max.Y)
	}
	var out []slideField
	for len(left) > 0 {
		b := left[0].area.Bound()
		if b.Max[0]-b.Min[0] > float64(side) || b.Max[1]-b.Min[1] > float64(side) {
			return nil, fmt.Errorf("%s is larger than a field of %d pixels: read the slide at a coarser scale", left[0].id, side)
		}
		at := round(b.Center(), side)
		for _, l := range left {
			if within(at, l) {
				b = b.Union(l.area.Bound())
			}
		}
		f := slideField{at: round(b.Center(), side)}
		var rest []outline
		for _, l := range left {
			if within(f.at, l) {
				f.list = append(f.list, l)
			} else {
				rest = append(rest, l)
			}
		}
		if len(rest) == len(left) { // rounding left the first one out
			f.at, f.list, rest = at, left[:1], left[1:]
		}
		out, left = append(out, f), rest
	}
	return out, nil
}

// round is the field round a place, which stays within the upper left bounds.
func round(c orb.Point, side int) image.Rectangle {
	x, y := max(0, int(c[0])-side/2), max(0, int(c[1])-side/2)
	return image.Rect(x, y, x+side, y+side)
}

func readField(ctx context.Context, path string, f slideField, mpp, scale float64, o SlideOptions) (*eval.Picture, error) {
	s, err := sam.OpenSlide(path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	size := s.Size()
	at := f.at.Intersect(image.Rect(0, 0, int(float64(size.W)*scale), int(float64(size.H)*scale)))
	var img image.Image
	if scale == 1 {
		img, err = s.ReadRegion(ctx, 0, at)
	} else {
		img, err = s.ReadAt(ctx, mpp, at)
	}
	if err != nil {
		return nil, err
	}
	list := make([]outline, len(f.list))
	p := &eval.Picture{Image: img, MPP: mpp}
	if o.Classes != nil {
		p.Class = map[int32]int{}
	}
	for i, l := range f.list {
		list[i] = outline{l.id, l.group, moved(l.area, -float64(at.Min.X), -float64(at.Min.Y))}
		if o.Classes != nil {
			p.Class[int32(i+1)] = slices.Index(o.Classes, l.group)
		}
	}
	b := img.Bounds()
	if p.Truth, err = paintAll(b.Dy(), b.Dx(), list); err != nil || f.region == nil {
		return p, err
	}
	p.Known, err = sam.MaskFromPolygons(sam.Size{H: b.Dy(), W: b.Dx()}, moved(f.region, -float64(at.Min.X), -float64(at.Min.Y)))
	return p, err
}

// moved returns the area at another place.
func moved(area orb.MultiPolygon, dx, dy float64) orb.MultiPolygon {
	out := scaled(area, 1)
	for _, p := range out {
		for _, r := range p {
			for k := range r {
				r[k][0] += dx
				r[k][1] += dy
			}
		}
	}
	return out
}
