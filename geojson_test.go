package sam_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/color"
	"math"
	"os"
	"regexp"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slidesam/sam"
)

var uuid8 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestFeatureWriter(t *testing.T) {
	one := parse(t, "##.", "##.").Geometry(sam.Frame{})
	two := parse(t, "#..", "..#").Geometry(sam.Frame{OffsetX: 100, OffsetY: 200, Scale: 4})
	require.IsType(t, orb.Polygon{}, one)
	require.IsType(t, orb.MultiPolygon{}, two)

	var b bytes.Buffer
	w := sam.NewFeatureWriter(&b)
	require.NoError(t, w.Write(sam.Feature{
		Geometry: one, Type: sam.Detection, Name: `a "name"`,
		Class: &sam.Class{Name: "Tumor", Color: color.NRGBA{200, 0, 10, 128}},
		Measurements: []sam.Measurement{
			{Name: sam.MeasurePredictedIoU, Value: 0.875}, {Name: sam.MeasureStability, Value: math.NaN()},
			{Name: sam.MeasureAreaMicrons, Value: 1e-9}, {Name: "far", Value: math.Inf(1)},
		},
		Locked: true,
	}))
	require.NoError(t, w.Write(sam.Feature{ID: "0b3ff1a3-0f0b-4f7c-9a07-0123456789ab", Geometry: two, Class: &sam.Class{Name: "Stroma"}}))
	assert.Equal(t, 2, w.Count())
	require.NoError(t, w.Close())
	assert.Error(t, w.Write(sam.Feature{Geometry: one}), "after Close")

	// A reader that is not ours.
	fc, err := geojson.UnmarshalFeatureCollection(b.Bytes())
	require.NoError(t, err)
	require.Len(t, fc.Features, 2)
	f := fc.Features[0]
	assert.Regexp(t, uuid8, f.ID)
	assert.Equal(t, one, f.Geometry)
	assert.Equal(t, geojson.Properties{
		"objectType": "detection", "name": `a "name"`, "isLocked": true,
		"classification": map[string]any{"name": "Tumor", "color": []any{200.0, 0.0, 10.0}},
		"measurements":   map[string]any{"Predicted IoU": 0.875, "Area µm^2": 1e-9},
	}, f.Properties)
	f = fc.Features[1]
	assert.Equal(t, "0b3ff1a3-0f0b-4f7c-9a07-0123456789ab", f.ID)
	assert.Equal(t, orb.MultiPolygon{{ring(100, 200, 104, 200, 104, 204, 100, 204)}, {ring(108, 204, 112, 204, 112, 208, 108, 208)}}, f.Geometry)
	assert.Equal(t, geojson.Properties{"objectType": "annotation", "classification": map[string]any{"name": "Stroma"}}, f.Properties)
}

func TestEmptyCollection(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sam.NewFeatureWriter(&b).Close())
	fc, err := geojson.UnmarshalFeatureCollection(b.Bytes())
	require.NoError(t, err)
	assert.Empty(t, fc.Features)
}

func TestGeometriesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.OneOf(rapid.Float64Range(-1e6, 1e6), rapid.SampledFrom([]float64{0, 1e-7, 1e20, 0.1, 12345678.5, math.SmallestNonzeroFloat64}))
		p := func() orb.Point { return orb.Point{v.Draw(t, "x"), v.Draw(t, "y")} }
		closed := orb.Ring{p(), p(), p()}
		closed = append(closed, closed[0])
		for _, g := range []orb.Geometry{
			p(), orb.MultiPoint{p(), p()}, orb.LineString{p(), p()}, orb.MultiLineString{{p(), p()}, {p(), p()}},
			orb.Polygon{closed, closed}, orb.MultiPolygon{{closed}, {closed, closed}},
		} {
			var b bytes.Buffer
			w := sam.NewFeatureWriter(&b)
			require.NoError(t, w.Write(sam.Feature{Geometry: g}))
			require.NoError(t, w.Close())
			fc, err := geojson.UnmarshalFeatureCollection(b.Bytes())
			require.NoError(t, err)
			assert.Equal(t, g, fc.Features[0].Geometry)
		}
	})
}

func TestFeatureWriterRefuses(t *testing.T) {
	nan := math.NaN()
	for name, g := range map[string]orb.Geometry{
		"nothing": nil, "empty mask": parse(t, "..").Geometry(sam.Frame{}), "no rings": orb.Polygon{}, "no polygons": orb.MultiPolygon{},
		"open ring": orb.Polygon{{{0, 0}, {1, 0}, {1, 1}, {0, 1}}}, "short ring": orb.Polygon{{{0, 0}, {1, 0}, {0, 0}}},
		"NaN": orb.Point{nan, 1}, "infinite": orb.MultiPolygon{{ring(0, 0, math.Inf(1), 0, 1, 1)}}, "collection": orb.Collection{orb.Point{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := sam.NewFeatureWriter(&b)
			assert.ErrorIs(t, w.Write(sam.Feature{Geometry: g}), sam.ErrFeature)
			require.NoError(t, w.Write(sam.Feature{Geometry: orb.Bound{Max: orb.Point{1, 1}}}), "the writer can still be used")
			require.NoError(t, w.Close())
			assert.True(t, json.Valid(b.Bytes()))
		})
	}
	w := sam.NewFeatureWriter(fullDisk{})
	f := sam.Feature{Geometry: orb.Point{1, 2}}
	assert.ErrorContains(t, w.Write(f), "no space left")
	assert.ErrorContains(t, w.Write(f), "no space left")
	assert.ErrorContains(t, w.Close(), "no space left")
	assert.ErrorContains(t, sam.NewFeatureWriter(fullDisk{}).Close(), "no space left")
}

// The same features give the same bytes; equal features have different IDs.
func TestFeatureIDs(t *testing.T) {
	write := func() []byte {
		var b bytes.Buffer
		w := sam.NewFeatureWriter(&b)
		for range 3 {
			require.NoError(t, w.Write(sam.Feature{Geometry: orb.Point{1, 2}}))
		}
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	a := write()
	assert.Equal(t, a, write())
	fc, err := geojson.UnmarshalFeatureCollection(a)
	require.NoError(t, err)
	ids := map[any]bool{}
	for _, f := range fc.Features {
		ids[f.ID] = true
	}
	assert.Len(t, ids, 3)
}

func ExampleFeatureWriter() {
	m, err := sam.NewMask(sam.Size{H: 256, W: 256}, func(x, y int) bool { return x < 2 && y < 3 })
	if err != nil {
		fmt.Println(err)
		return
	}
	w := sam.NewFeatureWriter(os.Stdout)
	err = w.Write(sam.Feature{
		ID:       "0b3ff1a3-0f0b-4f7c-9a07-0123456789ab",
		Geometry: m.Geometry(sam.Frame{OffsetX: 1024, OffsetY: 512, Scale: 2}), // a tile at half the slide's resolution
		Type:     sam.Detection,
		Class:    &sam.Class{Name: "Nucleus"},
		Measurements: []sam.Measurement{
			{Name: sam.MeasurePredictedIoU, Value: 0.91},
			{Name: sam.MeasureAreaPixels, Value: float64(4 * m.Area())},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := w.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"type":"FeatureCollection","features":[
	// {"type":"Feature","id":"0b3ff1a3-0f0b-4f7c-9a07-0123456789ab","geometry":{"type":"Polygon","coordinates":[[[1024,512],[1028,512],[1028,518],[1024,518],[1024,512]]]},"properties":{"objectType":"detection","classification":{"name":"Nucleus"},"measurements":{"Predicted IoU":0.91,"Area px^2":24}}}
	// ]}
}

func ExampleMask_Geometry() {
	m, err := sam.NewMask(sam.Size{H: 8, W: 8}, func(x, y int) bool { return x == 1 && y == 2 })
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Geometry(sam.Frame{OffsetX: 100}))
	// Output: [[[101 2] [102 2] [102 3] [101 3] [101 2]]]
}
