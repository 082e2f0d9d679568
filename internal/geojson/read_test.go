package geojson_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/planar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/geojson"
)

func readAll(text string, o geojson.Options) (out []*geojson.Object, err error) {
	for f, err := range geojson.Read(strings.NewReader(text), o) {
		if err != nil {
			return out, err
		}
		out = append(out, f)
	}
	return out, nil
}

const square = `{"type":"Polygon","coordinates":[[[0,0],[4,0],[4,4],[0,4],[0,0]]]}`

func TestForms(t *testing.T) {
	f := func(name string) string {
		return `{"type":"Feature","geometry":` + square + `,"properties":{"name":"` + name + `"}}`
	}
	for name, text := range map[string]string{
		"collection":   `{"type":"FeatureCollection","features":[` + f("a") + `, ` + f("b") + "]}",
		"type last":    " {\"features\" :\n[" + f("a") + "\n,\n" + f("b") + "], \"x\":{\"features\":[1,\"]}\"]}, \"type\": \"FeatureCollection\" }\n",
		"list":         `[` + f("a") + `,` + f("b") + "]",
		"mark":         "\xef\xbb\xbf[" + f("a") + "," + f("b") + "]",
		"escaped name": `{"type":"FeatureCollection","\u0066eatures":[` + f("a") + `,` + f("b") + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(text, geojson.Options{Strict: true})
			require.NoError(t, err)
			require.Len(t, got, 2)
			assert.Equal(t, "a", got[0].Name)
			assert.Equal(t, "b", got[1].Name)
		})
	}
	got, err := readAll(`{"properties":{"name":"a"},"geometry":`+square+`,"type":"Feature"}`, geojson.Options{})
	require.NoError(t, err)
	require.Len(t, got, 1)
	assert.Equal(t, "a", got[0].Name)
	for _, empty := range []string{"[]", "[ ]", `{"type":"FeatureCollection","features":[]}`} {
		got, err := readAll(empty, geojson.Options{})
		require.NoError(t, err, empty)
		assert.Empty(t, got)
	}
}

// TestQuPathObjects reads what versions of QuPath have written.
func TestQuPathObjects(t *testing.T) {
	const id = "0e2b7a52-4a4b-4ad2-9a5e-0123456789ab"
	for _, tt := range []struct {
		name, feature string
		want          geojson.Object
	}{
		{"0.5", `{"type":"Feature","id":"` + id + `","geometry":` + square + `,"properties":{"objectType":"detection","name":"n","classification":{"name":"Tumor: Positive","color":[1,2,3]},"isLocked":true,"measurements":{"b":2.5,"a":-1}}}`,
			geojson.Object{ID: id, Type: geojson.Detection, Name: "n", Class: "Tumor: Positive", Locked: true, Measurements: []geojson.Measurement{{Name: "b", Value: 2.5}, {Name: "a", Value: -1}}}},
		{"0.4 names", `{"type":"Feature","id":"` + strings.ToUpper(id) + `","geometry":` + square + `,"properties":{"objectType":"annotation","classification":{"names":["Tumor","Positive"]}}}`,
			geojson.Object{ID: strings.ToUpper(id), Type: geojson.Annotation, Class: "Tumor: Positive"}},
		{"0.3 object_type", `{"type":"Feature","geometry":` + square + `,"properties":{"object_type":"tma_core","measurements":[{"name":"a","value":3},{"name":"b"}]}}`,
			geojson.Object{Type: "tma_core", Measurements: []geojson.Measurement{{Name: "a", Value: 3}}}},
		{"0.2 id", `{"type":"Feature","id":"PathDetectionObject","geometry":` + square + `,"properties":null}`, geojson.Object{Type: geojson.Detection}},
		{"other writers", `{"type":"Feature","id":7,"geometry":` + square + `,"properties":{"name":5,"classification":"Stroma","isLocked":"yes","measurements":3}}`, geojson.Object{Type: geojson.Annotation, Class: "Stroma"}},
		{"not finite", `{"type":"Feature","geometry":` + square + `,"properties":{"name":"NaN","measurements":{"NaN":NaN,"I":-Infinity,"a":1,"J":Infinity}}}`,
			geojson.Object{Type: geojson.Annotation, Name: "NaN", Measurements: []geojson.Measurement{{Name: "a", Value: 1}}}},
		{"not finite list", `{"type":"Feature","geometry":` + square + `,"properties":{"measurements":[{"name":"x","value":NaN},{"name":"a","value":1}]}}`,
			geojson.Object{Type: geojson.Annotation, Measurements: []geojson.Measurement{{Name: "a", Value: 1}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, text := range []string{tt.feature, "[" + tt.feature + "]"} {
				got, err := readAll(text, geojson.Options{Strict: true})
				require.NoError(t, err)
				require.Len(t, got, 1)
				want := tt.want
				want.Geometry = orb.Polygon{{{0, 0}, {4, 0}, {4, 4}, {0, 4}, {0, 0}}}
				assert.Equal(t, want, *got[0])
			}
		})
	}
	s := geojson.NewScanner(strings.NewReader(`[{"type":"Feature","geometry":null,"properties":{"measurements":{"a":NaN,"b":1}},"z":null}]`))
	require.True(t, s.Scan())
	assert.JSONEq(t, `{"type":"Feature","geometry":null,"properties":{"measurements":{"b":1}},"z":null}`, string(s.Bytes()), "null is no number for QuPath")
}

func TestGeometries(t *testing.T) {
	for _, tt := range []struct {
		raw    string
		want   orb.Geometry // nil: an error
		strict bool         // whether Strict takes it
	}{
		{`{"type":"Point","coordinates":[1,2.5,9]}`, orb.Point{1, 2.5}, true},
		{`{"type":"MultiPoint","coordinates":[[1,2],[-3,4e2]]}`, orb.MultiPoint{{1, 2}, {-3, 400}}, true},
		{`{"type":"LineString","coordinates":[[1,2],[3,4]]}`, orb.LineString{{1, 2}, {3, 4}}, true},
		{`{"type":"LineString","coordinates":[[1,2]]}`, orb.LineString{{1, 2}}, false},
		{`{"type":"MultiLineString","coordinates":[[[1,2],[3,4]]]}`, orb.MultiLineString{{{1, 2}, {3, 4}}}, true},
		{square, orb.Polygon{{{0, 0}, {4, 0}, {4, 4}, {0, 4}, {0, 0}}}, true},
		{`{"type":"Polygon","coordinates":[[[0,0],[4,0],[4,4]]]}`, orb.Polygon{{{0, 0}, {4, 0}, {4, 4}, {0, 0}}}, false},
		{`{"type":"Polygon","coordinates":[]}`, orb.Polygon{}, false},
		{`{"type":"MultiPolygon","coordinates":[[]]}`, orb.MultiPolygon{{}}, false},
		{`{"type":"MultiPolygon","coordinates":[[[[0,0],[4,0],[4,4],[0,0]],[[1,1],[2,1],[2,2],[1,1]]]]}`,
			orb.MultiPolygon{{{{0, 0}, {4, 0}, {4, 4}, {0, 0}}, {{1, 1}, {2, 1}, {2, 2}, {1, 1}}}}, true},
		{`{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2]}]}`, orb.Collection{}, false},
		{`{"type":"Point","coordinates":[]}`, nil, false},
		{`{"type":"Point","coordinates":[1]}`, nil, false},
		{`{"type":"Point"}`, nil, false},
		{`{"type":"Point","coordinates":null}`, nil, false},
		{`{"type":"Point","coordinates":[null,1]}`, nil, false},
		{`{"type":"Point","coordinates":[1e10,1]}`, nil, false},
		{`{"type":"Polygon","coordinates":[[[],[4,0],[4,4],[0,0]]]}`, nil, false},
		{`{"type":"Polygon","coordinates":[[[0,0],[4],[4,4],[0,0]]]}`, nil, false},
		{`{"type":"Polygon","coordinates":[[0,0],[4,0]]}`, nil, false},
		{`{"type":"Ellipse","coordinates":[[0,0],[4,0]]}`, nil, false},
		{`[]`, nil, false},
	} {
		g, err := geojson.ParseGeometry([]byte(tt.raw), geojson.Options{})
		if tt.want == nil {
			assert.ErrorIs(t, err, geojson.ErrFormat, tt.raw)
		} else if assert.NoError(t, err, tt.raw) {
			assert.Equal(t, tt.want, g, tt.raw)
		}
		_, err = geojson.ParseGeometry([]byte(tt.raw), geojson.Options{Strict: true})
		assert.Equal(t, tt.strict, err == nil, "%s: %v", tt.raw, err)
	}
	_, err := geojson.ParseGeometry([]byte(square), geojson.Options{MaxPoints: 4})
	assert.ErrorContains(t, err, "of 5 points, want at most 4")

	// An ellipse is the one in the box, whatever polygon stands for it.
	g, err := geojson.ParseGeometry([]byte(`{"isEllipse":true,"type":"Polygon","coordinates":[[[10,20],[30,20],[30,60],[10,60],[10,20]]],"plane":{"c":-1,"z":0,"t":0}}`), geojson.Options{Strict: true})
	require.NoError(t, err)
	assert.InDelta(t, math.Pi*10*20, math.Abs(planar.Area(g)), 0.002*math.Pi*10*20)
	assert.InDeltaSlice(t, []float64{10, 20, 30, 60}, []float64{g.Bound().Min[0], g.Bound().Min[1], g.Bound().Max[0], g.Bound().Max[1]}, 1e-9)
}

func TestRectangle(t *testing.T) {
	for _, tt := range []struct {
		ring orb.Ring
		want bool
	}{
		{orb.Ring{{1, 2}, {5, 2}, {5, 4}, {1, 4}, {1, 2}}, true},
		{orb.Ring{{1, 2}, {1, 4}, {5, 4}, {5, 2}, {1, 2}}, true},
		{orb.Ring{{1, 2}, {5, 4}, {5, 2}, {1, 4}, {1, 2}}, false}, // crossed
		{orb.Ring{{3, 2}, {5, 3}, {3, 4}, {1, 3}, {3, 2}}, false}, // turned
		{orb.Ring{{1, 2}, {5, 2}, {5, 2}, {1, 2}, {1, 2}}, false}, // flat
		{orb.Ring{{1, 2}, {5, 2}, {5, 4}, {1, 2}}, false},
	} {
		b, ok := geojson.Rectangle(orb.Polygon{tt.ring})
		assert.Equal(t, tt.want, ok, tt.ring)
		if ok {
			assert.Equal(t, orb.Bound{Min: orb.Point{1, 2}, Max: orb.Point{5, 4}}, b)
		}
	}
	_, ok := geojson.Rectangle(orb.Point{1, 2})
	assert.False(t, ok)
}

func TestIsClass(t *testing.T) {
	assert.True(t, geojson.IsClass("Tumor: Positive", "Tumor"))
	assert.True(t, geojson.IsClass("Tumor: Positive", "Positive"))
	assert.True(t, geojson.IsClass("Tumor: Positive", "Tumor: Positive"))
	assert.False(t, geojson.IsClass("Tumor", "Tum"))
	assert.False(t, geojson.IsClass("", "Tumor"))
	assert.True(t, geojson.IsClass("", ""))
}

// TestRefused reads texts that cannot be used: each is an error that says
// where.
func TestRefused(t *testing.T) {
	deep := `[{"type":"Feature","geometry":` + strings.Repeat("[", 100_000)
	for text, want := range map[string]string{
		"":                      "ends at byte 0",
		"x":                     `'x', want a FeatureCollection`,
		"PK\x03\x04aaaa":        "compressed",
		"\x1f\x8b\x08":          "compressed",
		"[":                     "in the middle",
		"[1]":                   "want a feature",
		`[{"type":"Feature"}`:   "in the middle",
		`[{"type":"Feature"}]x`: "behind the end",
		`[{"type":"Feature"} {"type":"Feature"}]`: "want ','",
		`[{"type":"Feature"},]`:                   "want a feature",
		`{"type":"FeatureCollection"}`:            "without features",
		`{"type":"Polygon","features":[]}`:        `type "Polygon"`,
		`{"features":[],"features":[]}`:           "features twice",
		`{"features":{}}`:                         "want '['",
		`{1:2}`:                                   "member's name",
		`[{"type":"Feature","id":Nope}]`:          "want a value",
		`[{"type":"Feature","id":tru}]`:           "invalid",
		`[{"type":"feature"}]`:                    `feature 0: not usable GeoJSON: type "feature"`,
		deep:                                      "within each other",
		`[{"a":"` + strings.Repeat("x", 30):       "in the middle",
	} {
		_, err := readAll(text, geojson.Options{})
		assert.ErrorIs(t, err, geojson.ErrFormat, "%.40s", text)
		assert.ErrorContains(t, err, want, "%.40s", text)
	}
	broken := errors.New("broken")
	for _, err := range geojson.Read(io.MultiReader(strings.NewReader("[{"), iotest.ErrReader(broken)), geojson.Options{}) {
		assert.ErrorIs(t, err, broken)
	}
}

// TestLarge reads an endless feature and a million small ones in little memory.
func TestLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes seconds")
	}
	start := time.Now()
	one := []byte(`{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]}},`)
	read, write := io.Pipe()
	go func() {
		_, _ = write.Write([]byte("["))
		chunk := bytes.Repeat(one, 1000)
		for range 300 {
			_, _ = write.Write(chunk)
		}
		_, _ = write.Write(append(one[:len(one)-1:len(one)-1], ']'))
		_ = write.Close()
	}()
	var before, after runtime.MemStats
	s := geojson.NewScanner(read)
	runtime.ReadMemStats(&before)
	n := 0
	for s.Scan() {
		n++
	}
	runtime.ReadMemStats(&after)
	require.NoError(t, s.Err())
	assert.Equal(t, 300_001, n)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))

	s = geojson.NewScanner(io.MultiReader(strings.NewReader(`[{"a":"`), endless{}))
	assert.False(t, s.Scan())
	assert.ErrorContains(t, s.Err(), "a value of over 67108864 bytes")
	assert.Less(t, time.Since(start), 30*time.Second)
}

// endless is a text that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// TestFeatureAt reads features again at their places.
func TestFeatureAt(t *testing.T) {
	text := `{"type":"FeatureCollection","features":[{"type":"Feature","geometry":null,"id":1},` + "\n" + `{"type":"Feature","geometry":null,"properties":{"measurements":{"a":NaN}}}]}`
	s := geojson.NewScanner(strings.NewReader(text))
	n := 0
	for ; s.Scan(); n++ {
		want := string(s.Bytes())
		at, length := s.Place()
		got, err := geojson.FeatureAt(strings.NewReader(text), at, length)
		require.NoError(t, err)
		assert.JSONEq(t, want, string(got))
	}
	require.NoError(t, s.Err())
	assert.Equal(t, 2, n)
	_, err := geojson.FeatureAt(strings.NewReader(text), 3, 10)
	assert.ErrorIs(t, err, geojson.ErrFormat)
}

func ExampleRead() {
	text := `{"type":"FeatureCollection","features":[
{"type":"Feature","geometry":{"type":"Point","coordinates":[3,4]},"properties":{"classification":{"name":"Tumor"}}}]}`
	for o, err := range geojson.Read(strings.NewReader(text), geojson.Options{}) {
		fmt.Println(o.Class, o.Geometry, err)
	}
	// Output: Tumor [3 4] <nil>
}

// FuzzRead reads altered texts. What is taken can be written and read again.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"type":"FeatureCollection","features":[{"type":"Feature","id":"a","geometry":` + square + `,"properties":{"classification":{"names":["a","b"]},"measurements":{"x":NaN,"y":1}}}]}`))
	f.Add([]byte(`[{"type":"Feature","geometry":{"type":"MultiPolygon","coordinates":[[[[0,0],[4,0],[4,4]]]],"isEllipse":true},"nucleusGeometry":{"type":"GeometryCollection","geometries":[]}}]`))
	f.Add([]byte(`{"type":"Feature","geometry":{"type":"MultiPoint","coordinates":[[1,2],[3,4]]},"properties":{"measurements":[{"name":"a","value":-Infinity}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for o, err := range geojson.Read(bytes.NewReader(b), geojson.Options{Strict: true}) {
			if err != nil {
				require.Nil(t, o)
				return
			}
			if o.Geometry == nil {
				continue
			}
			var out bytes.Buffer
			w := geojson.NewWriter(&out)
			require.NoError(t, w.Write(geojson.Feature{ID: o.ID, Geometry: o.Geometry, Name: o.Name, Measurements: o.Measurements}))
			require.NoError(t, w.Close())
			again, err := readAll(out.String(), geojson.Options{Strict: true})
			require.NoError(t, err)
			require.Equal(t, o.Geometry, again[0].Geometry)
		}
		s := geojson.NewScanner(bytes.NewReader(b))
		for s.Scan() {
			_, _ = geojson.Parse(s.Bytes(), geojson.Options{})
		}
	})
}
