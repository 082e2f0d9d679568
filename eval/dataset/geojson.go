package dataset

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"
	"github.com/slidesam/sam/eval"
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
	// Classes keeps objects of these classifications, in this order of class
	// numbers. Nil keeps all, and then classes are not numbered.
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
			b, err := readJSON(by[f])
			if err != nil {
				return nil, err
			}
			list, err := parseQuPath(b, o)
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrFormat, by[f], err)
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

type qupathFeature struct {
	ID         json.RawMessage `json:"id"`
	Type       string          `json:"type"`
	Geometry   json.RawMessage `json:"geometry"`
	Nucleus    json.RawMessage `json:"nucleusGeometry"`
	Properties struct {
		Classification *struct {
			Name  string   `json:"name"`
			Names []string `json:"names"` // of derived classes
		} `json:"classification"`
	} `json:"properties"`
}

func parseQuPath(b []byte, o QuPathOptions) ([]outline, error) {
	var features []qupathFeature
	if t := bytes.TrimLeft(b, " \t\r\n\ufeff"); len(t) > 0 && t[0] == '[' {
		if err := json.Unmarshal(t, &features); err != nil {
			return nil, err
		}
	} else {
		var doc struct {
			Type     string           `json:"type"`
			Features *[]qupathFeature `json:"features"`
		}
		if err := json.Unmarshal(t, &doc); err != nil {
			return nil, err
		}
		if doc.Type != "FeatureCollection" || doc.Features == nil {
			return nil, fmt.Errorf("type %q, want a FeatureCollection or an array of features", doc.Type)
		}
		features = *doc.Features
	}
	var out []outline
	for i, f := range features {
		if f.Type != "Feature" {
			return nil, fmt.Errorf("feature %d: type %q, want Feature", i, f.Type)
		}
		l := outline{id: fmt.Sprintf("feature %d", i)}
		if c := f.Properties.Classification; c != nil {
			l.group = c.Name
			if l.group == "" && len(c.Names) > 0 {
				l.group = c.Names[len(c.Names)-1]
			}
		}
		if o.Classes != nil && !slices.Contains(o.Classes, l.group) {
			continue
		}
		geometry := f.Geometry
		if o.Nucleus && len(f.Nucleus) > 0 && string(f.Nucleus) != "null" {
			geometry = f.Nucleus
		}
		var err error
		if l.area, err = parseArea(geometry); err != nil {
			return nil, fmt.Errorf("feature %d: %w", i, err)
		}
		if len(l.area) > 0 {
			out = append(out, l)
		}
	}
	return out, nil
}

// parseArea returns a geometry's polygons, none for points and lines.
func parseArea(b json.RawMessage) (orb.MultiPolygon, error) {
	if len(b) == 0 || string(b) == "null" {
		return nil, errors.New("no geometry")
	}
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, err
	}
	if head.Type == "GeometryCollection" { // QuPath exports none
		return nil, nil
	}
	g, err := geojson.UnmarshalGeometry(b)
	if err != nil {
		return nil, err
	}
	var area orb.MultiPolygon
	switch v := g.Coordinates.(type) {
	case orb.Polygon:
		area = orb.MultiPolygon{v}
	case orb.MultiPolygon:
		area = v
	}
	for _, p := range area {
		for _, r := range p {
			for _, v := range r {
				if !finite(v[0], v[1]) {
					return nil, fmt.Errorf("point (%g, %g)", v[0], v[1])
				}
			}
		}
	}
	return area, nil
}
