package dataset

import (
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/geojson"
)

// readSlide reads what is annotated on a slide: objects and, with Regions, the
// areas of that class, which are no objects then.
func readSlide(path string, o SlideOptions) (objects, regions []outline, err error) {
	if objects, err = readQuPath(path, o.QuPathOptions); err != nil {
		return nil, nil, err
	}
	if err := haveClasses(objects, path, o.QuPathOptions); err != nil || o.Regions == "" {
		return objects, nil, err
	}
	of := QuPathOptions{Classes: []string{o.Regions}}
	if regions, err = readQuPath(path, of); err != nil {
		return nil, nil, err
	}
	objects = slices.DeleteFunc(objects, func(l outline) bool { return geojson.IsClass(l.group, o.Regions) })
	return objects, regions, haveClasses(regions, path, of)
}

// regionFields are the parts of a slide that show the regions, each a field of
// its own round its middle or, if it is larger than that, beside each other from
// its corner on; with all objects that lie on a region, also in part.
func regionFields(objects, regions []outline, side int) (out []slideField) {
	for _, r := range regions {
		b := r.area.Bound()
		at := round(b.Center(), side)
		if b.Max[0] <= float64(at.Max.X) && b.Max[1] <= float64(at.Max.Y) && b.Min[0] >= float64(at.Min.X) && b.Min[1] >= float64(at.Min.Y) {
			out = append(out, regionField(objects, r, at))
			continue
		}
		for y := int(b.Min[1]); y < int(math.Ceil(b.Max[1])); y += side {
			for x := int(b.Min[0]); x < int(math.Ceil(b.Max[0])); x += side {
				out = append(out, regionField(objects, r, image.Rect(x, y, x+side, y+side)))
			}
		}
	}
	// Without an object there is nothing that a decoder's loss could go by.
	return slices.DeleteFunc(out, func(f slideField) bool { return len(f.list) == 0 })
}

// regionField is the field at a place, with the objects whose box meets the
// region's there.
func regionField(objects []outline, r outline, at image.Rectangle) slideField {
	f := slideField{at: at, region: r.area}
	field := orb.Bound{Min: orb.Point{float64(at.Min.X), float64(at.Min.Y)}, Max: orb.Point{float64(at.Max.X), float64(at.Max.Y)}}
	for _, l := range objects {
		if b := l.area.Bound(); b.Intersects(field) && b.Intersects(r.area.Bound()) {
			f.list = append(f.list, l)
		}
	}
	return f
}

// outsideRegions says that the objects are annotated, but on no region.
func outsideRegions(annotations, class string, regions int) error {
	return fmt.Errorf("%w: %s: no object lies on the %d regions of class %q", ErrLayout, annotations, regions, class)
}
