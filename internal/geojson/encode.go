package geojson

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image/color"
	"math"
	"strconv"

	"github.com/paulmach/orb"
)

func appendFeature(b []byte, f Feature, n int) ([]byte, error) {
	start := len(b)
	b = append(b, `{"type":"Feature","id":`...)
	idAt := len(b)
	if f.ID != "" {
		b = appendString(b, f.ID)
	}
	geometryAt := len(b)
	b = append(b, `,"geometry":`...)
	b, err := appendGeometry(b, f.Geometry)
	if err != nil {
		return b[:start], err
	}
	b = append(b, `,"properties":{"objectType":`...)
	if f.Type == "" {
		f.Type = Annotation
	}
	b = appendString(b, string(f.Type))
	if f.Name != "" {
		b = append(b, `,"name":`...)
		b = appendString(b, f.Name)
	}
	if f.Class != nil {
		b = append(b, `,"classification":{"name":`...)
		b = appendString(b, f.Class.Name)
		if f.Class.Color != nil {
			c := color.NRGBAModel.Convert(f.Class.Color).(color.NRGBA)
			b = fmt.Appendf(b, `,"color":[%d,%d,%d]`, c.R, c.G, c.B)
		}
		b = append(b, '}')
	}
	if f.Locked {
		b = append(b, `,"isLocked":true`...)
	}
	b = appendMeasurements(b, f.Measurements)
	b = append(b, "}}"...)
	if f.ID == "" {
		id := appendString(nil, featureID(b[geometryAt:], n))
		b = append(b, id...)
		copy(b[idAt+len(id):], b[idAt:len(b)-len(id)])
		copy(b[idAt:], id)
	}
	return b, nil
}

// featureID returns a UUID of version 8 (RFC 9562): its bits are the SHA-256
// of the feature and its place.
func featureID(content []byte, n int) string {
	h := sha256.New()
	fmt.Fprintf(h, "slidesam feature %d ", n)
	h.Write(content)
	id := h.Sum(nil)[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	s := hex.EncodeToString(id)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func appendMeasurements(b []byte, ms []Measurement) []byte {
	first := true
	for _, m := range ms {
		if math.IsNaN(m.Value) || math.IsInf(m.Value, 0) {
			continue
		}
		if first {
			b = append(b, `,"measurements":{`...)
		} else {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, m.Name)
		b = append(b, ':')
		b = appendNumber(b, m.Value)
	}
	if !first {
		b = append(b, '}')
	}
	return b
}

func appendGeometry(b []byte, g orb.Geometry) ([]byte, error) {
	switch g := g.(type) {
	case nil:
		return b, fmt.Errorf("%w: no geometry", ErrFeature)
	case orb.Ring:
		return appendGeometry(b, orb.Polygon{g})
	case orb.Bound:
		return appendGeometry(b, g.ToPolygon())
	case orb.Collection:
		return b, fmt.Errorf("%w: QuPath reads no collection of geometries", ErrFeature)
	}
	b = append(b, `{"type":`...)
	b = appendString(b, g.GeoJSONType())
	b = append(b, `,"coordinates":`...)
	var err error
	switch g := g.(type) {
	case orb.Point:
		b, err = appendPoint(b, g)
	case orb.MultiPoint:
		b, err = appendList(b, g, appendPoint)
	case orb.LineString:
		b, err = appendList(b, g, appendPoint)
	case orb.MultiLineString:
		b, err = appendList(b, g, func(b []byte, l orb.LineString) ([]byte, error) { return appendList(b, l, appendPoint) })
	case orb.Polygon:
		b, err = appendPolygon(b, g)
	case orb.MultiPolygon:
		b, err = appendList(b, g, appendPolygon)
	default:
		err = fmt.Errorf("%w: geometry of type %T", ErrFeature, g)
	}
	return append(b, '}'), err
}

func appendPolygon(b []byte, p orb.Polygon) ([]byte, error) {
	return appendList(b, p, func(b []byte, r orb.Ring) ([]byte, error) {
		if len(r) < 4 || r[0] != r[len(r)-1] {
			return b, fmt.Errorf("%w: a ring of %d points that is not closed or has no area", ErrFeature, len(r))
		}
		return appendList(b, r, appendPoint)
	})
}

func appendList[T any](b []byte, list []T, f func([]byte, T) ([]byte, error)) ([]byte, error) {
	if len(list) == 0 {
		return b, fmt.Errorf("%w: empty geometry", ErrFeature)
	}
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = f(b, v); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

func appendPoint(b []byte, p orb.Point) ([]byte, error) {
	for _, v := range p {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return b, fmt.Errorf("%w: point (%g, %g)", ErrFeature, p[0], p[1])
		}
	}
	b = appendNumber(append(b, '['), p[0])
	b = appendNumber(append(b, ','), p[1])
	return append(b, ']'), nil
}

// appendNumber writes the shortest decimal that reads back as v, without an
// exponent where a person would not write one.
func appendNumber(b []byte, v float64) []byte {
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e15) {
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// appendString writes s as JSON; invalid UTF-8 is replaced.
func appendString(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil { // a string always marshals
		return append(b, `""`...)
	}
	return append(b, q...)
}
