package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/internal/geojson"
	"github.com/slidesam/sam/internal/regular"
)

// maxJSON is the largest JSON file that is read.
const maxJSON = 1 << 30

// readJSON reads a file of bounded size.
func readJSON(path string) ([]byte, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLayout, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxJSON {
		return nil, fmt.Errorf("%w: %s: more than %d bytes", ErrFormat, path, maxJSON)
	}
	if depth := nesting(b); depth > maxNesting {
		return nil, fmt.Errorf("%w: %s: %d arrays and objects within each other, at most %d are read", ErrFormat, path, depth, maxNesting)
	}
	return b, nil
}

// maxNesting is how deep a JSON file may be. Annotations have about ten levels,
// and each level may be scanned again for every one above it.
const maxNesting = 64

// nesting returns how many arrays and objects of a JSON text lie within each
// other.
func nesting(b []byte) int {
	depth, deepest, text := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '[' || c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return deepest
}

// QuPathOptions chooses among QuPath's objects. The zero value takes every
// object that has an area.
type QuPathOptions struct {
	// Classes keeps objects of these classifications, and of those derived from
	// them, in this order of class numbers. Nil keeps all, and then classes are
	// not numbered.
	Classes []string
	// Nucleus takes a cell's nucleus instead of its outline, where it has one.
	Nucleus bool
	MPP     float64 // of the pictures, 0 if not known
}

// QuPath opens pictures and QuPath's GeoJSON exports of the same names
// (.geojson or .json): a FeatureCollection or a bare array of features,
// coordinates in pixels of the whole picture, inner rings are holes. Points
// and lines are left out.
func QuPath(name, images, annotations string, o QuPathOptions) (*Set, error) {
	s := &Set{name: name, classes: slices.Clone(o.Classes)}
	pics, err := files(images, pictureExts...)
	if err != nil {
		return nil, s.wrap(err)
	}
	notes, err := files(annotations, ".geojson", ".json")
	if err != nil {
		return nil, s.wrap(err)
	}
	by, err := partners(pics, notes, "annotation (.geojson)")
	if err != nil {
		return nil, s.wrap(fmt.Errorf("%s and %s: %w", images, annotations, err))
	}
	for _, f := range pics {
		s.add(eval.Item{ID: stem(f), Group: patient(stem(f))}, func(context.Context) (*eval.Picture, error) {
			list, err := readQuPath(by[f], o)
			if err != nil {
				return nil, err
			}
			p, err := outlined(f, by[f], list, o.MPP)
			if err != nil {
				return nil, err
			}
			if o.Classes != nil {
				p.Class = map[int32]int{}
				for i, l := range list {
					p.Class[int32(i+1)] = slices.Index(o.Classes, l.group)
				}
			}
			return p, nil
		})
	}
	return s.finish(images, "pictures, with .geojson files of the same names in "+annotations)
}

// readQuPath reads the outlines of a QuPath export.
func readQuPath(path string, o QuPathOptions) ([]outline, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLayout, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > maxJSON {
		return nil, errors.Join(err, fmt.Errorf("%w: %s: more than %d bytes", ErrFormat, path, maxJSON))
	}
	list, err := parseQuPath(f, o)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, path, err)
	}
	return list, nil
}

func parseQuPath(r io.Reader, o QuPathOptions) ([]outline, error) {
	var out []outline
	n := 0
	for f, err := range geojson.Read(r, geojson.Options{}) {
		if err != nil {
			return nil, err
		}
		l := outline{id: fmt.Sprintf("feature %d", n), group: f.Class}
		n++
		if o.Classes != nil {
			k := slices.IndexFunc(o.Classes, func(name string) bool { return geojson.IsClass(f.Class, name) })
			if k < 0 {
				continue
			}
			l.group = o.Classes[k]
		}
		g := f.Geometry
		if o.Nucleus && f.Nucleus != nil {
			g = f.Nucleus
		}
		if g == nil && f.Type != geojson.Root {
			return nil, fmt.Errorf("%s: no geometry", l.id)
		}
		if l.area = geojson.Area(g); len(l.area) > 0 {
			out = append(out, l)
		}
	}
	return out, nil
}
