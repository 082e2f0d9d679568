package geojson

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/paulmach/orb"
)

// MaxCoordinate bounds what is read: it is beyond the pixels of any slide.
const MaxCoordinate = 1e9

// ParseGeometry reads a geometry. An ellipse, which QuPath writes as a polygon
// that is marked as one, is the ellipse in the polygon's box, as QuPath takes
// it. The error wraps [ErrFormat].
func ParseGeometry(raw []byte, o Options) (orb.Geometry, error) {
	var head struct {
		Type        string          `json:"type"`
		Coordinates json.RawMessage `json:"coordinates"`
		Ellipse     any             `json:"isEllipse"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, geometryError("%w", err)
	}
	if head.Type == "GeometryCollection" && !o.Strict { // QuPath exports none
		return orb.Collection{}, nil
	}
	if !pairs(head.Coordinates, pointDepth[head.Type]) {
		return nil, geometryError("a point of less than two numbers")
	}
	g, err := coordinates(head.Type, head.Coordinates)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, line := range linesOf(g) {
		n += len(line)
		for _, p := range line {
			if !(math.Abs(p[0]) <= MaxCoordinate && math.Abs(p[1]) <= MaxCoordinate) {
				return nil, geometryError("a point at (%g, %g), beyond any slide", p[0], p[1])
			}
		}
	}
	if o.MaxPoints > 0 && n > o.MaxPoints {
		return nil, geometryError("of %d points, want at most %d", n, o.MaxPoints)
	}
	if o.Strict && !drawable(g) {
		return nil, geometryError("empty or not closed")
	}
	if area := Area(g); area != nil {
		for _, p := range area {
			for k := range p {
				p[k] = closed(p[k])
			}
		}
		if mark, _ := head.Ellipse.(bool); mark && n > 0 {
			return ellipse(area.Bound()), nil
		}
	}
	return g, nil
}

func geometryError(format string, args ...any) error {
	return fmt.Errorf("%w: geometry: %w", ErrFormat, fmt.Errorf(format, args...))
}

// coordinates reads the coordinates of a geometry of a kind.
func coordinates(kind string, raw json.RawMessage) (g orb.Geometry, err error) {
	if len(raw) == 0 {
		return nil, geometryError("of type %q without coordinates", kind)
	}
	switch kind {
	case "Point":
		var v orb.Point
		err = json.Unmarshal(raw, &v)
		g = v
	case "MultiPoint":
		var v orb.MultiPoint
		err = json.Unmarshal(raw, &v)
		g = v
	case "LineString":
		var v orb.LineString
		err = json.Unmarshal(raw, &v)
		g = v
	case "MultiLineString":
		var v orb.MultiLineString
		err = json.Unmarshal(raw, &v)
		g = v
	case "Polygon":
		var v orb.Polygon
		err = json.Unmarshal(raw, &v)
		g = v
	case "MultiPolygon":
		var v orb.MultiPolygon
		err = json.Unmarshal(raw, &v)
		g = v
	default:
		return nil, geometryError("of type %q", kind)
	}
	if err != nil {
		return nil, geometryError("%w", err)
	}
	return g, nil
}

// pointDepth is how many lists a point's numbers lie in, for each kind.
var pointDepth = map[string]int{"Point": 1, "MultiPoint": 2, "LineString": 2, "MultiLineString": 3, "Polygon": 3, "MultiPolygon": 4}

// pairs reports whether every point in valid JSON has two numbers or more, and
// nothing in it is null.
func pairs(coordinates []byte, pointDepth int) bool {
	numbers, depth, inside := 0, 0, false
	for _, c := range coordinates {
		number := c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
		switch {
		case number && !inside:
			numbers++
		case c == '[':
			depth++
			numbers = 0
		case c == ']' && depth == pointDepth && numbers < 2 || c == 'n':
			return false
		case c == ']':
			depth--
		}
		inside = number
	}
	return true
}

// linesOf returns the lists of points that a geometry is made of.
func linesOf(g orb.Geometry) [][]orb.Point {
	var out [][]orb.Point
	rings := func(p orb.Polygon) {
		for _, r := range p {
			out = append(out, r)
		}
	}
	switch g := g.(type) {
	case orb.Point:
		out = append(out, []orb.Point{g})
	case orb.MultiPoint:
		out = append(out, g)
	case orb.LineString:
		out = append(out, g)
	case orb.MultiLineString:
		for _, l := range g {
			out = append(out, l)
		}
	case orb.Polygon:
		rings(g)
	case orb.MultiPolygon:
		for _, p := range g {
			rings(p)
		}
	}
	return out
}

// drawable reports whether QuPath reads the geometry: nothing of it is empty,
// lines have two points, and rings are closed and have four.
func drawable(g orb.Geometry) bool {
	least := 1
	switch g := g.(type) {
	case orb.LineString, orb.MultiLineString:
		least = 2
	case orb.Polygon, orb.MultiPolygon:
		least = 4
		for _, p := range Area(g) {
			if len(p) == 0 {
				return false
			}
			for _, r := range p {
				if len(r) == 0 || r[0] != r[len(r)-1] {
					return false
				}
			}
		}
	}
	lines := linesOf(g)
	for _, l := range lines {
		if len(l) < least {
			return false
		}
	}
	return len(lines) > 0
}

// closed returns the ring with its first point at its end.
func closed(r orb.Ring) orb.Ring {
	if len(r) > 0 && r[0] != r[len(r)-1] {
		r = append(r, r[0])
	}
	return r
}

// Area returns the polygons of a geometry, nil for points and lines.
func Area(g orb.Geometry) orb.MultiPolygon {
	switch g := g.(type) {
	case orb.Polygon:
		return orb.MultiPolygon{g}
	case orb.MultiPolygon:
		return g
	}
	return nil
}

// Rectangle returns the rectangle that a geometry is, with sides along the
// axes, and false if it is none or has no area.
func Rectangle(g orb.Geometry) (orb.Bound, bool) {
	area := Area(g)
	if len(area) != 1 || len(area[0]) != 1 || len(area[0][0]) != 5 {
		return orb.Bound{}, false
	}
	b, r := area.Bound(), area[0][0]
	corners := map[orb.Point]bool{}
	for i, p := range r[:4] {
		q := r[i+1]
		if p[0] != b.Min[0] && p[0] != b.Max[0] || p[1] != b.Min[1] && p[1] != b.Max[1] || p[0] != q[0] && p[1] != q[1] {
			return orb.Bound{}, false
		}
		corners[p] = true
	}
	return b, len(corners) == 4
}

// ellipseSides is the number of sides of the polygon that stands for an
// ellipse; it lacks a thousandth of the ellipse's area.
const ellipseSides = 96

// ellipse returns the ellipse in a box.
func ellipse(b orb.Bound) orb.Polygon {
	c, rx, ry := b.Center(), (b.Max[0]-b.Min[0])/2, (b.Max[1]-b.Min[1])/2
	ring := make(orb.Ring, 0, ellipseSides+1)
	for i := range ellipseSides {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / ellipseSides)
		ring = append(ring, orb.Point{c[0] + rx*cos, c[1] + ry*sin})
	}
	return orb.Polygon{append(ring, ring[0])}
}
