package sam

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"strconv"

	"github.com/paulmach/orb"
)

// ErrFeature is wrapped by every error about a feature that cannot be written.
var ErrFeature = errors.New("not a usable feature")

// ObjectType says what QuPath makes of a feature.
type ObjectType string

// The object types of QuPath. Annotations are few and can be edited,
// detections are many.
const (
	Annotation ObjectType = "annotation"
	Detection  ObjectType = "detection"
)

// Names of measurements that QuPath shows; any other name may be used too.
const (
	MeasurePredictedIoU = "Predicted IoU"
	MeasureStability    = "Stability score"
	MeasureAreaPixels   = "Area px^2"
	MeasureAreaMicrons  = "Area µm^2"
	MeasureScale        = "Scale µm/px" // resolution that the object was found at
)

// Class is the class of an object, as QuPath shows it.
type Class struct {
	Name  string
	Color color.Color // nil: QuPath picks one. Alpha is dropped.
}

// Measurement is one number that belongs to an object.
type Measurement struct {
	Name  string
	Value float64
}

// Feature is one object of a GeoJSON file.
type Feature struct {
	// ID is a UUID. If it is empty, one is made from the feature's content and
	// its place in the file, so that the same objects give the same file.
	ID       string
	Geometry orb.Geometry // in pixels of the slide's finest level, y down
	Type     ObjectType   // empty: Annotation
	Name     string       // empty: none
	Class    *Class       // nil: none
	// Measurements are written in their order. Those that are NaN or infinite
	// are left out, as JSON has no way to write them.
	Measurements []Measurement
	Locked       bool
}

// Frame places a picture's pixels on a slide: a point p of the picture lies
// at Offset + Scale*p. The zero value leaves points where they are.
type Frame struct {
	OffsetX, OffsetY float64 // of the picture's top left corner, in slide pixels
	Scale            float64 // slide pixels per picture pixel; 0 stands for 1
}

// Geometry returns the mask's outlines on the slide: an orb.Polygon if the
// mask is one 4-connected part, else an orb.MultiPolygon. It is nil if the
// mask is empty. The rules are those of [Mask.Polygons].
func (m *Mask) Geometry(f Frame) orb.Geometry {
	polygons := m.Polygons()
	scale := f.Scale
	if scale == 0 {
		scale = 1
	}
	if f != (Frame{}) {
		for _, p := range polygons {
			for _, r := range p {
				for i, v := range r {
					r[i] = orb.Point{f.OffsetX + float64(scale*v[0]), f.OffsetY + float64(scale*v[1])}
				}
			}
		}
	}
	switch len(polygons) {
	case 0:
		return nil
	case 1:
		return polygons[0]
	}
	return polygons
}

// FeatureWriter writes features as one GeoJSON FeatureCollection, each as it
// comes, one a line.
//
// Coordinates are pixels with y down, as QuPath wants them, not degrees: the
// file follows RFC 7946 in everything but its reference system. Outlines run
// counterclockwise on the numbers as they are written, that is clockwise on
// the screen.
type FeatureWriter struct {
	w   io.Writer
	n   int
	buf []byte
	err error
}

// NewFeatureWriter returns a FeatureWriter on w. Nothing is written before the
// first Write or Close; w should be buffered.
func NewFeatureWriter(w io.Writer) *FeatureWriter { return &FeatureWriter{w: w} }

// Count returns the number of features written.
func (w *FeatureWriter) Count() int { return w.n }

// Write writes one feature. It returns an error that wraps [ErrFeature], and
// writes nothing, if the feature has no geometry, an empty one or one that is
// not finite. After an error of the underlying writer every call returns it.
func (w *FeatureWriter) Write(f Feature) error {
	if w.err != nil {
		return w.err
	}
	buf := w.buf[:0]
	if w.n == 0 {
		buf = append(buf, `{"type":"FeatureCollection","features":[`...)
	} else {
		buf = append(buf, ',')
	}
	buf = append(buf, '\n')
	buf, err := appendFeature(buf, f, w.n)
	w.buf = buf
	if err != nil {
		return fmt.Errorf("sam: write feature %d: %w", w.n, err)
	}
	if _, err := w.w.Write(buf); err != nil {
		w.err = fmt.Errorf("sam: write feature %d: %w", w.n, err)
		return w.err
	}
	w.n++
	return nil
}

// Close ends the collection; without a Write it is an empty one. It does not
// close the underlying writer.
func (w *FeatureWriter) Close() error {
	if w.err != nil {
		return w.err
	}
	end := "\n]}\n"
	if w.n == 0 {
		end = `{"type":"FeatureCollection","features":[` + end
	}
	if _, err := io.WriteString(w.w, end); err != nil {
		w.err = fmt.Errorf("sam: end features: %w", err)
		return w.err
	}
	w.err = errors.New("sam: write feature: the collection is closed")
	return nil
}

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
