package sam

import (
	"fmt"
	"image/color"
	"io"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/geojson"
	"github.com/slidesam/sam/internal/mask"
)

// ErrFeature is wrapped by every error about a feature that cannot be written.
var ErrFeature = geojson.ErrFeature

// ErrGeoJSON is wrapped by every error about a text that is no GeoJSON, or none
// that can be used.
var ErrGeoJSON = geojson.ErrFormat

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
	MeasurePredictedIoU = geojson.MeasurePredictedIoU
	MeasureStability    = geojson.MeasureStability
	MeasureAreaPixels   = geojson.MeasureAreaPixels
	MeasureAreaMicrons  = geojson.MeasureAreaMicrons
	MeasureScale        = geojson.MeasureScale // resolution that the object was found at
	MeasureCoarseIoU    = geojson.MeasureCoarseIoU
	MeasurePerimeter    = geojson.MeasurePerimeter
	MeasureCircularity  = geojson.MeasureCircularity
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
// at (OffsetX, OffsetY) + Scale*p. The zero value leaves points where they are.
type Frame struct {
	OffsetX, OffsetY float64 // of the picture's top left corner, in slide pixels
	Scale            float64 // slide pixels per picture pixel; 0 stands for 1
}

// Geometry returns the mask's outlines on the slide: an orb.Polygon if the
// mask is one 4-connected part, else an orb.MultiPolygon. It is nil if the
// mask is empty. The rules are those of [Mask.Polygons].
func (m *Mask) Geometry(f Frame) orb.Geometry { return m.pixels().Geometry(mask.Frame(f)) }

func newFeature(o *geojson.Object) Feature {
	f := Feature{ID: o.ID, Geometry: o.Geometry, Type: ObjectType(o.Type), Name: o.Name, Locked: o.Locked}
	if o.Class != "" {
		f.Class = &Class{Name: o.Class}
	}
	for _, m := range o.Measurements {
		f.Measurements = append(f.Measurements, Measurement(m))
	}
	return f
}

// plain is the feature as the machinery below knows it.
func (f Feature) plain() geojson.Feature {
	out := geojson.Feature{ID: f.ID, Geometry: f.Geometry, Type: geojson.ObjectType(f.Type), Name: f.Name, Class: (*geojson.Class)(f.Class), Locked: f.Locked}
	for _, m := range f.Measurements {
		out.Measurements = append(out.Measurements, geojson.Measurement(m))
	}
	return out
}

// FeatureWriter writes features as one GeoJSON FeatureCollection, each as it
// comes, one a line.
//
// Coordinates are pixels with y down, as QuPath wants them, not degrees: the
// file follows RFC 7946 in everything but its reference system. Outlines run
// counterclockwise on the numbers as they are written, that is clockwise on
// the screen.
type FeatureWriter geojson.Writer

// NewFeatureWriter returns a FeatureWriter on w. Nothing is written before the
// first Write or Close; w should be buffered.
func NewFeatureWriter(w io.Writer) *FeatureWriter { return (*FeatureWriter)(geojson.NewWriter(w)) }

// Count returns the number of features written.
func (w *FeatureWriter) Count() int { return (*geojson.Writer)(w).Count() }

// Write writes one feature. It returns an error that wraps [ErrFeature], and
// writes nothing, if the feature has no geometry, an empty one or one that is
// not finite. After an error of the underlying writer every call returns it.
func (w *FeatureWriter) Write(f Feature) error {
	if err := (*geojson.Writer)(w).Write(f.plain()); err != nil {
		return fmt.Errorf("sam: %w", err)
	}
	return nil
}

// Close ends the collection; without a Write it is an empty one. It does not
// close the underlying writer.
func (w *FeatureWriter) Close() error {
	if err := (*geojson.Writer)(w).Close(); err != nil {
		return fmt.Errorf("sam: %w", err)
	}
	return nil
}
