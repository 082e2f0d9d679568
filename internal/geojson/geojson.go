// Package geojson writes outlines as GeoJSON that QuPath opens, and reads what
// QuPath writes.
//
// Coordinates are pixels with y down, not degrees. Errors carry no package's
// name: whoever hands them to a user adds its own.
//
//	w := geojson.NewWriter(out)
//	w.Write(geojson.Feature{Geometry: polygon, Type: geojson.Detection})
//	w.Close()
//	for o, err := range geojson.Read(in, geojson.Options{}) { ... }
package geojson

import (
	"errors"
	"fmt"
	"image/color"
	"io"

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
	MeasureCoarseIoU    = "IoU with coarse outline"
	MeasurePerimeter    = "Perimeter µm"
	MeasureCircularity  = "Circularity" // 1 for a disc
	MeasureHaematoxylin = "Hematoxylin OD mean"
	MeasureEosin        = "Eosin OD mean"
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

// Writer writes features as one GeoJSON FeatureCollection, each as it
// comes, one a line.
//
// Coordinates are pixels with y down, as QuPath wants them, not degrees: the
// file follows RFC 7946 in everything but its reference system. Outlines run
// counterclockwise on the numbers as they are written, that is clockwise on
// the screen.
type Writer struct {
	w   io.Writer
	n   int
	buf []byte
	err error
}

// NewWriter returns a Writer on w. Nothing is written before the
// first Write or Close; w should be buffered.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Count returns the number of features written.
func (w *Writer) Count() int { return w.n }

// Write writes one feature. It returns an error that wraps [ErrFeature], and
// writes nothing, if the feature has no geometry, an empty one or one that is
// not finite. After an error of the underlying writer every call returns it.
func (w *Writer) Write(f Feature) error {
	return w.write(func(b []byte) ([]byte, error) { return appendFeature(b, f, w.n) })
}

func (w *Writer) write(feature func([]byte) ([]byte, error)) error {
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
	buf, err := feature(buf)
	w.buf = buf
	if err != nil {
		return fmt.Errorf("write feature %d: %w", w.n, err)
	}
	if _, err := w.w.Write(buf); err != nil {
		w.err = fmt.Errorf("write feature %d: %w", w.n, err)
		return w.err
	}
	w.n++
	return nil
}

// Close ends the collection; without a Write it is an empty one. It does not
// close the underlying writer.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	end := "\n]}\n"
	if w.n == 0 {
		end = `{"type":"FeatureCollection","features":[` + end
	}
	if _, err := io.WriteString(w.w, end); err != nil {
		w.err = fmt.Errorf("end features: %w", err)
		return w.err
	}
	w.err = errors.New("write feature: the collection is closed")
	return nil
}
