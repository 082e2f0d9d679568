package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"

	"github.com/google/uuid"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"

	"github.com/slidesam/sam"
)

const (
	// maxCoordinate is beyond the pixels of any slide.
	maxCoordinate = 1e9
	// maxVertices bounds one outline.
	maxVertices = 1 << 18
)

// annotation is a GeoJSON feature as it was written, whoever wrote it, and
// what has to be known of it.
type annotation struct {
	id       string
	raw      json.RawMessage // compact, one line
	geometry orb.Geometry
	class    string
	name     string
	quality  *float64
}

// parseAnnotation checks a feature. Its id is empty if it is no UUID.
func parseAnnotation(raw json.RawMessage) (*annotation, error) {
	var f struct {
		Type       string          `json:"type"`
		ID         any             `json:"id"`
		Geometry   json.RawMessage `json:"geometry"`
		Properties *struct {
			ObjectType     any             `json:"objectType"`
			Name           string          `json:"name"`
			Classification json.RawMessage `json:"classification"`
			Measurements   json.RawMessage `json:"measurements"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "not a feature: %v", err)
	}
	if f.Type != "Feature" {
		return nil, refuse(http.StatusUnprocessableEntity, "type %q, want Feature", f.Type)
	}
	g, err := parseGeometry(f.Geometry)
	if err != nil {
		return nil, err
	}
	a := &annotation{geometry: g}
	if p := f.Properties; p != nil {
		a.name, a.class = p.Name, className(p.Classification)
		var ms map[string]any // QuPath has written lists of names and values as well
		if json.Unmarshal(p.Measurements, &ms) == nil {
			if q, ok := ms[sam.MeasurePredictedIoU].(float64); ok {
				a.quality = &q
			}
		}
	}
	var one bytes.Buffer
	if err := json.Compact(&one, raw); err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "not a feature: %v", err)
	}
	a.raw = one.Bytes()
	a.id, _ = f.ID.(string)
	if uuid.Validate(a.id) != nil {
		a.id = ""
	}
	return a, nil
}

// setID puts an id into the feature as it is written.
func (a *annotation) setID(id string) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(a.raw, &members); err != nil {
		return err
	}
	a.id = id
	members["id"] = json.RawMessage(`"` + id + `"`)
	raw, err := json.Marshal(members)
	a.raw = raw
	return err
}

// className reads the ways in which QuPath has written a class.
func className(raw json.RawMessage) string {
	var c struct {
		Name  string   `json:"name"`
		Names []string `json:"names"`
	}
	if json.Unmarshal(raw, &c) != nil {
		return ""
	}
	if c.Name == "" && len(c.Names) > 0 {
		c.Name = c.Names[0]
		for _, n := range c.Names[1:] {
			c.Name += ": " + n
		}
	}
	return c.Name
}

// parseGeometry reads a geometry that QuPath has as well, and checks that it
// is closed, finite and of bounded size.
func parseGeometry(raw json.RawMessage) (g orb.Geometry, err error) {
	bad := func(format string, args ...any) (orb.Geometry, error) {
		return nil, refuse(http.StatusUnprocessableEntity, "geometry: %s", fmt.Sprintf(format, args...))
	}
	if len(raw) == 0 {
		return bad("missing")
	}
	var head struct {
		Type        string          `json:"type"`
		Coordinates json.RawMessage `json:"coordinates"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return bad("%v", err)
	}
	switch head.Type {
	case "Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon":
	default:
		return bad("of type %q", head.Type)
	}
	if !pairs(head.Coordinates) {
		return bad("a point of less than two numbers")
	}
	parsed, err := geojson.UnmarshalGeometry(raw)
	if err != nil {
		return bad("%v", err)
	}
	if parsed.Coordinates == nil {
		return bad("without coordinates")
	}
	g = parsed.Geometry()
	n := 0
	check := func(ps []orb.Point) bool {
		n += len(ps)
		for _, p := range ps {
			if !(math.Abs(p[0]) <= maxCoordinate && math.Abs(p[1]) <= maxCoordinate) {
				return false
			}
		}
		return len(ps) > 0
	}
	ok := true
	polygon := func(p orb.Polygon) {
		ok = ok && len(p) > 0
		for _, r := range p {
			ok = ok && check(r) && len(r) >= 4 && r.Closed()
		}
	}
	switch g := g.(type) {
	case orb.Point:
		ok = check([]orb.Point{g})
	case orb.MultiPoint:
		ok = check(g)
	case orb.LineString:
		ok = check(g) && len(g) > 1
	case orb.MultiLineString:
		ok = len(g) > 0
		for _, l := range g {
			ok = ok && check(l)
		}
	case orb.Polygon:
		polygon(g)
	case orb.MultiPolygon:
		ok = len(g) > 0
		for _, p := range g {
			polygon(p)
		}
	}
	if !ok {
		return bad("empty, not closed, or beyond any slide")
	}
	if n > maxVertices {
		return bad("of %d points, want at most %d", n, maxVertices)
	}
	return g, nil
}

// pairs reports whether every list of numbers in valid JSON has two or more.
func pairs(coordinates []byte) bool {
	numbers, inside := 0, false
	for _, c := range coordinates {
		number := c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
		switch {
		case number && !inside:
			numbers++
		case c == '[':
			numbers = 0
		case c == ']' && numbers == 1:
			return false
		case c == ']':
			numbers = 0
		}
		inside = number
	}
	return true
}
