package serve_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/planar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/serve"
	"github.com/slidesam/sam/weights/bundled"
)

// nucleusX, nucleusY lie in a nucleus of the bundled picture.
const nucleusX, nucleusY = 838, 330

// demo is the bundled picture as a slide.
func demo() *sam.Slide { return sam.SlideFromImage(bundled.Picture(), bundled.MPP) }

// client speaks the native interface and checks each answer against its
// description.
type client struct {
	t      testing.TB
	s      http.Handler
	router routers.Router
	slide  string
}

func newClient(t testing.TB, s *serve.Server) *client {
	doc, err := openapi3.NewLoader().LoadFromData(serve.OpenAPI)
	require.NoError(t, err)
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	c := &client{t: t, s: s, router: router}
	var list []struct{ ID string }
	c.get("/v1/slides", &list)
	require.NotEmpty(t, list)
	c.slide = "/v1/slides/" + list[0].ID
	return c
}

// do sends a request and returns its status.
func (c *client) do(method, path string, body, answer any) int {
	var b []byte
	if body != nil {
		var err error
		b, err = json.Marshal(body)
		require.NoError(c.t, err)
	}
	r := httptest.NewRequest(method, "http://localhost"+path, bytes.NewReader(b))
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	c.s.ServeHTTP(w, r)
	c.check(r, w)
	if a, ok := answer.(*[]byte); ok {
		*a = w.Body.Bytes()
	} else if answer != nil && w.Code < 300 {
		require.NoError(c.t, json.Unmarshal(w.Body.Bytes(), answer), w.Body.String())
	}
	require.NotEqual(c.t, 500, w.Code, w.Body.String())
	return w.Code
}

func (c *client) check(r *http.Request, w *httptest.ResponseRecorder) {
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "application/") {
		return
	}
	route, params, err := c.router.FindRoute(r)
	require.NoError(c.t, err, r.URL.Path)
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: w.Code, Header: w.Header()}
	out.SetBodyBytes(w.Body.Bytes())
	if w.Header().Get("Content-Type") == "application/xml" {
		return
	}
	require.NoError(c.t, openapi3filter.ValidateResponse(r.Context(), out))
}

func (c *client) get(path string, answer any) {
	require.Equal(c.t, 200, c.do("GET", path, nil, answer))
}

func (c *client) post(path string, body, answer any) {
	var raw json.RawMessage
	status := c.do("POST", path, body, &raw)
	require.Less(c.t, status, 300, "%s %v", path, body)
	if answer != nil {
		require.NoError(c.t, json.Unmarshal(raw, answer))
	}
}

// edit, candidates and job are answers.
type (
	edit struct {
		Revision   int64
		Undo, Redo int
		Added      []*geojson.Feature
		Removed    []string
	}
	candidates struct {
		Candidates []*geojson.Feature
		Best       int
		State      string
		Cell       struct {
			X, Y, W, H int
			Downsample float64
		}
	}
	job struct {
		ID, State, Reason    string
		Done, Total, Objects int
		Revision             int64
	}
)

func (c *client) annotations() *geojson.FeatureCollection {
	fc := geojson.NewFeatureCollection()
	c.get(c.slide+"/annotations", fc)
	return fc
}

// TestOpenAPIIsTheHandlers compares the description with the routes there are.
func TestOpenAPIIsTheHandlers(t *testing.T) {
	s := newServer(t, serve.Config{})
	doc, err := openapi3.NewLoader().LoadFromData(serve.OpenAPI)
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))
	var want []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			want = append(want, method+" "+path)
		}
	}
	var have []string
	for _, p := range serve.Patterns(s) {
		if strings.Contains(p, " /v1/") {
			have = append(have, p)
		}
	}
	assert.ElementsMatch(t, want, have)
	var b []byte
	newClient(t, newServer(t, serve.Config{Demo: demo(), Annotations: t.TempDir()})).get("/v1/openapi.json", &b)
	assert.Equal(t, serve.OpenAPI, b)
}

func TestTiles(t *testing.T) {
	c := newClient(t, newServer(t, serve.Config{Demo: demo(), Annotations: t.TempDir()}))
	var d struct {
		Width, Height, MaxLevel, TileSize int
		MPP                               float64
		Digest                            string
	}
	c.get(c.slide, &d)
	assert.Equal(t, 1024, d.Width)
	assert.Equal(t, 10, d.MaxLevel)
	assert.Equal(t, bundled.MPP, d.MPP)
	for tile, want := range map[string]image.Point{"10/0_0": {511, 511}, "10/1_1": {512, 512}, "10/2_2": {5, 5}, "9/0_0": {511, 511}, "8/0_0": {256, 256}, "0/0_0": {1, 1}} {
		var b []byte
		c.get(c.slide+"/slide_files/"+tile+".jpeg?v="+d.Digest, &b)
		img, err := jpeg.Decode(bytes.NewReader(b))
		require.NoError(t, err)
		assert.Equal(t, want, img.Bounds().Size(), tile)
	}
	for _, tile := range []string{"11/0_0.jpeg", "10/3_0.jpeg", "10/-1_0.jpeg", "-1/0_0.jpeg", "10/0_0.png", "10/a_b.jpeg", "x/0_0.jpeg", "10/99999999999999999999_0.jpeg"} {
		assert.Equal(t, 404, c.do("GET", c.slide+"/slide_files/"+tile, nil, nil), tile)
	}
	var b []byte
	c.get(c.slide+"/thumbnail", &b)
	img, err := jpeg.Decode(bytes.NewReader(b))
	require.NoError(t, err)
	assert.Equal(t, image.Pt(256, 256), img.Bounds().Size())
	c.get(c.slide+"/slide.dzi", &b)
	assert.Contains(t, string(b), `TileSize="510"`)
	assert.Equal(t, 404, c.do("GET", "/v1/slides/0123456789abcdef", nil, nil))
	assert.Equal(t, 404, c.do("GET", c.slide+"/associated/label", nil, nil))
}

// TestClickAndCorrect clicks a nucleus, corrects, and draws a box.
func TestClickAndCorrect(t *testing.T) {
	s := newServer(t, serve.Config{Demo: demo(), Annotations: t.TempDir()})
	c := newClient(t, s)
	truth := bundled.Truth()
	label := truth.Nuclei[nucleusY*truth.W+nucleusX]
	require.NotZero(t, label)
	nucleus, err := sam.NewMask(sam.Size{H: truth.H, W: truth.W}, func(x, y int) bool { return truth.Nuclei[y*truth.W+x] == label })
	require.NoError(t, err)
	iou := func(f *geojson.Feature) float64 {
		m, err := sam.MaskFromPolygons(sam.Size{H: truth.H, W: truth.W}, parts(f.Geometry))
		require.NoError(t, err)
		return m.IoU(nucleus)
	}
	var a candidates
	point := map[string]any{"x": nucleusX, "y": nucleusY, "label": 1}
	c.post(c.slide+"/segment", map[string]any{"points": []any{point}}, &a)
	require.Len(t, a.Candidates, 3)
	assert.Greater(t, iou(a.Candidates[a.Best]), 0.7)
	var next candidates
	c.post(c.slide+"/segment", map[string]any{"points": []any{point, map[string]any{"x": nucleusX + 60, "y": nucleusY, "label": 0}}, "state": a.State, "candidate": a.Best}, &next)
	assert.Greater(t, iou(next.Candidates[next.Best]), 0.7)
	assert.Equal(t, a.Cell, next.Cell)
	b := nucleus.Bounds()
	c.post(c.slide+"/segment", map[string]any{"box": []int{b.Min.X, b.Min.Y, b.Max.X, b.Max.Y}}, &next)
	assert.Greater(t, iou(next.Candidates[next.Best]), 0.8)
	assert.Equal(t, int64(1), serve.Embeddings(s), "all in one cell")
	var p struct{ Ready bool }
	c.post(c.slide+"/prefetch", map[string]any{"x": 500, "y": 500}, &p)
	assert.True(t, p.Ready)
	assert.Equal(t, int64(1), serve.Embeddings(s))
	for _, bad := range []any{
		map[string]any{}, map[string]any{"points": []any{map[string]any{"x": -1, "y": 3, "label": 1}}}, map[string]any{"points": []any{map[string]any{"x": 1, "y": 3, "label": 0}}},
		map[string]any{"box": []int{5, 5, 5, 9}}, map[string]any{"box": []int{5, 5, 9}}, map[string]any{"box": []int{5, 5, 9, 1e6}},
		map[string]any{"points": []any{map[string]any{"x": 1, "y": 3, "label": 2}}},
	} {
		assert.Equal(t, 422, c.do("POST", c.slide+"/segment", bad, nil), "%v", bad)
	}
	assert.Equal(t, 404, c.do("POST", c.slide+"/segment", map[string]any{"points": []any{point}, "checkpoint": "../x"}, nil))
}

func parts(g orb.Geometry) orb.MultiPolygon {
	switch g := g.(type) {
	case orb.Polygon:
		return orb.MultiPolygon{g}
	case orb.MultiPolygon:
		return g
	}
	return nil
}

func square(x, y, side float64) orb.Polygon {
	return orb.Polygon{{{x, y}, {x + side, y}, {x + side, y + side}, {x, y + side}, {x, y}}}
}

func TestBrush(t *testing.T) {
	c := newClient(t, newServer(t, serve.Config{Demo: demo(), Annotations: t.TempDir()}))
	change := func(body map[string]any) float64 {
		var a struct {
			Geometry     *geojson.Geometry
			Measurements map[string]float64
		}
		c.post("/v1/geometry", body, &a)
		if a.Geometry == nil {
			return 0
		}
		area := planar.Area(a.Geometry.Geometry())
		assert.InDelta(t, area, a.Measurements[sam.MeasureAreaPixels], 1e-6)
		return area
	}
	g := geojson.NewGeometry(square(100, 100, 40))
	// A round brush of radius 10 on the middle of a side adds half a disc.
	half := 3.14159 * 100 / 2
	assert.InDelta(t, 1600+half, change(map[string]any{"op": "add", "geometry": g, "stroke": [][]float64{{140, 120}}, "radius": 10}), 12)
	assert.InDelta(t, 1600-half, change(map[string]any{"op": "erase", "geometry": g, "stroke": [][]float64{{140, 120}}, "radius": 10}), 12)
	assert.InDelta(t, 20*100+2*half, change(map[string]any{"op": "add", "stroke": [][]float64{{10, 10}, {110, 10}}, "radius": 10}), 24)
	assert.Zero(t, change(map[string]any{"op": "erase", "geometry": g, "stroke": [][]float64{{120, 120}}, "radius": 100}))
	// A hole stays a hole.
	assert.InDelta(t, 1600-2*half, change(map[string]any{"op": "erase", "geometry": g, "stroke": [][]float64{{120, 120}}, "radius": 10}), 24)
	assert.Equal(t, 1600.0, change(map[string]any{"op": "simplify", "geometry": geojson.NewGeometry(orb.Polygon{{{0, 0}, {20, 0.1}, {40, 0}, {40, 40}, {0, 40}, {0, 0}}}), "tolerance": 1}))
	for _, bad := range []map[string]any{
		{"op": "x", "geometry": g}, {"op": "simplify", "geometry": g}, {"op": "add", "geometry": g}, {"op": "add", "stroke": [][]float64{{1, 1}}, "radius": -1},
		{"op": "add", "stroke": [][]float64{{1e300, 1}}, "radius": 1}, {"op": "add", "geometry": map[string]any{"type": "Point", "coordinates": []int{1, 2}}, "stroke": [][]float64{{1, 1}}, "radius": 1},
	} {
		assert.Equal(t, 422, c.do("POST", "/v1/geometry", bad, nil), "%v", bad)
	}
}

func feature(g orb.Geometry, class string) *geojson.Feature {
	f := geojson.NewFeature(g)
	f.Properties["classification"] = map[string]any{"name": class, "color": []int{200, 0, 0}}
	return f
}

// TestAnnotationsLast edits, undoes, restarts, and lets QuPath write.
func TestAnnotationsLast(t *testing.T) {
	dir := t.TempDir()
	first := newServer(t, serve.Config{Demo: demo(), Annotations: dir})
	c := newClient(t, first)
	var one, two, e edit
	c.post(c.slide+"/annotations", map[string]any{"add": []any{feature(square(1, 1, 10), "Tumor")}}, &one)
	require.Len(t, one.Added, 1)
	c.post(c.slide+"/annotations", map[string]any{"add": []any{feature(square(50, 1, 10), "=1+1")}}, &two)
	assert.Equal(t, 2, two.Undo)
	c.post(c.slide+"/annotations", map[string]any{"remove": []any{one.Added[0].ID}}, &e)
	assert.Equal(t, []string{one.Added[0].ID.(string)}, e.Removed)
	assert.Equal(t, 409, c.do("POST", c.slide+"/annotations", map[string]any{"remove": []any{one.Added[0].ID}}, nil))
	c.post(c.slide+"/annotations/undo", nil, &e)
	assert.Equal(t, one.Added[0].ID, e.Added[0].ID)
	assert.Len(t, c.annotations().Features, 2)

	require.NoError(t, first.Close())

	// A server that starts later: the same, and still undone.
	again := newServer(t, serve.Config{Demo: demo(), Annotations: dir})
	c = newClient(t, again)
	assert.Len(t, c.annotations().Features, 2)
	c.post(c.slide+"/annotations/redo", nil, &e)
	assert.Len(t, c.annotations().Features, 1)
	for range 3 {
		c.post(c.slide+"/annotations/undo", nil, &e)
	}
	assert.Empty(t, c.annotations().Features)
	c.post(c.slide+"/annotations/undo", nil, &e)
	assert.Empty(t, e.Added)
	c.post(c.slide+"/annotations/redo", nil, &e)
	c.post(c.slide+"/annotations/redo", nil, &e)
	var b []byte
	c.get(c.slide+"/annotations.csv", &b)
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 3)
	assert.Equal(t, []string{"Tumor", "", "6", "6", "100", "6.25", ""}, rows[1][1:])
	assert.Equal(t, "'=1+1", rows[2][1], "no formula")
	require.NoError(t, again.Close())

	// QuPath writes the file: its content counts, whatever the history says.
	files, err := filepath.Glob(filepath.Join(dir, "*.geojson"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	written, err := os.ReadFile(files[0])
	require.NoError(t, err)
	assert.Equal(t, 2, strings.Count(string(written), `"type":"Feature"`))
	qupathFile := `{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[9,0],[9,9],[0,0]]]},"properties":{"objectType":"annotation","isLocked":true,"own":{"a":1}}}]}`
	require.NoError(t, os.WriteFile(files[0], []byte(qupathFile), 0o644))
	c = newClient(t, newServer(t, serve.Config{Demo: demo(), Annotations: dir}))
	fs := c.annotations().Features
	require.Len(t, fs, 1)
	assert.Equal(t, map[string]any{"a": 1.0}, fs[0].Properties["own"], "what is not ours stays")
	c.post(c.slide+"/annotations", map[string]any{"add": []any{feature(square(1, 1, 10), "Tumor")}}, &e)
	assert.Len(t, c.annotations().Features, 2)
	// And again while the server runs, between two edits.
	require.NoError(t, os.WriteFile(files[0], []byte(strings.Replace(qupathFile, "[9,0]", "[8,0]", 1)), 0o644))
	c.post(c.slide+"/annotations", map[string]any{"add": []any{feature(square(5, 5, 10), "Tumor")}}, &e)
	assert.GreaterOrEqual(t, len(c.annotations().Features), 2)
}

func TestBadAnnotationsAreRefused(t *testing.T) {
	c := newClient(t, newServer(t, serve.Config{Demo: demo(), Annotations: t.TempDir()}))
	for _, f := range []string{
		`null`, `{}`, `{"type":"Feature"}`, `{"type":"Feature","geometry":null}`, `{"type":"Feature","geometry":{"type":"Polygon"}}`,
		`{"type":"Feature","geometry":{"type":"Polygon","coordinates":[]}}`, `{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[1,1],[2,2],[3,3]]]}}`,
		`{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[1e300,1],[2,2],[0,0]]]}}`, `{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[0,0]]}}`,
		`{"type":"Feature","geometry":{"type":"GeometryCollection","geometries":[]}}`, `{"type":"Feature","geometry":{"type":"Circle","coordinates":[1,2]}}`, `{"type":"Feature","geometry":{"type":"Point","coordinates":[1]}}`,
	} {
		assert.Equal(t, 422, c.do("POST", c.slide+"/annotations", map[string]any{"add": []any{json.RawMessage(f)}}, nil), f)
	}
	assert.Empty(t, c.annotations().Features)
}

// TestNucleiInARectangle runs a job to its end and undoes it.
func TestNucleiInARectangle(t *testing.T) {
	s := newServer(t, serve.Config{Demo: demo(), Annotations: t.TempDir()})
	c := newClient(t, s)
	live := httptest.NewServer(s)
	defer live.Close()
	var j job
	c.post(c.slide+"/jobs", map[string]any{"kind": "nuclei", "region": []int{600, 200, 300, 300}, "class": "Tumor"}, &j)
	resp, err := http.Get(live.URL + "/v1/jobs/" + j.ID + "/events")
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	lines := bufio.NewScanner(resp.Body)
	streamed, objects := 0, false
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case ok && objects:
			var fs []*geojson.Feature
			require.NoError(t, json.Unmarshal([]byte(data), &fs))
			streamed += len(fs)
		case ok:
			require.NoError(t, json.Unmarshal([]byte(data), &j))
		}
		objects = lines.Text() == "event: objects"
	}
	assert.GreaterOrEqual(t, streamed, j.Objects, "objects come as tiles finish")
	require.Equal(t, "done", j.State, j.Reason)
	assert.Greater(t, j.Objects, 5)
	fs := c.annotations().Features
	assert.Len(t, fs, j.Objects)
	for _, f := range fs {
		assert.True(t, orb.Bound{Min: orb.Point{500, 100}, Max: orb.Point{1000, 600}}.Contains(f.Geometry.Bound().Center()))
	}
	c.post(c.slide+"/annotations/undo", nil, nil)
	assert.Empty(t, c.annotations().Features, "a job is one step")
	for _, bad := range []any{
		map[string]any{"kind": "x"}, map[string]any{"kind": "nuclei", "region": []int{1, 2, 3}}, map[string]any{"kind": "nuclei", "region": []int{0, 0, 2000, 5}},
		map[string]any{"kind": "nuclei", "region": []int64{1 << 62, 0, 1 << 62, 1}}, map[string]any{"kind": "nuclei", "region": []int{0, 0, 0, 0}},
	} {
		assert.Equal(t, 422, c.do("POST", c.slide+"/jobs", bad, nil), "%v", bad)
	}
	assert.Equal(t, 409, c.do("POST", "/v1/jobs/"+j.ID+"/resume", nil, nil))
	assert.Equal(t, 404, c.do("GET", "/v1/jobs/nothing", nil, nil))
}

// TestJobsAreBoundedAndOutliveTheServer stops a server with jobs in its queue.
func TestJobsAreBoundedAndOutliveTheServer(t *testing.T) {
	dir, jobs := t.TempDir(), t.TempDir()
	s := newServer(t, serve.Config{Demo: demo(), Annotations: dir, Jobs: jobs, MaxJobs: 2})
	c := newClient(t, s)
	var a, b job
	c.post(c.slide+"/jobs", map[string]any{"kind": "nuclei"}, &a)
	c.post(c.slide+"/jobs", map[string]any{"kind": "nuclei", "region": []int{700, 250, 100, 100}}, &b)
	assert.Equal(t, 429, c.do("POST", c.slide+"/jobs", map[string]any{"kind": "nuclei"}, nil))
	require.Equal(t, 200, c.do("DELETE", "/v1/jobs/"+a.ID, nil, &a))
	assert.Equal(t, "cancelled", a.State)
	require.NoError(t, s.Close())
	c = newClient(t, newServer(t, serve.Config{Demo: demo(), Annotations: dir, Jobs: jobs}))
	require.Eventually(t, func() bool {
		c.get("/v1/jobs/"+b.ID, &b)
		return b.State == "done"
	}, time.Minute, 20*time.Millisecond)
	c.get("/v1/jobs/"+a.ID, &a)
	assert.Equal(t, "cancelled", a.State)
	c.post("/v1/jobs/"+a.ID+"/resume", nil, &a)
	require.Equal(t, 200, c.do("DELETE", "/v1/jobs/"+a.ID, nil, nil))
}

// TestJobResumedWhileItStops resumes a job whose search has not yet noticed
// that it was cancelled, and restarts the server afterwards.
func TestJobResumedWhileItStops(t *testing.T) {
	dir, jobs := t.TempDir(), t.TempDir()
	s := newServer(t, serve.Config{Demo: demo(), Annotations: dir, Jobs: jobs})
	c := newClient(t, s)
	var j job
	c.post(c.slide+"/jobs", map[string]any{"kind": "nuclei", "region": []int{700, 250, 100, 100}}, &j)
	until := func(state string) {
		t.Helper()
		require.Eventually(t, func() bool {
			c.get("/v1/jobs/"+j.ID, &j)
			return j.State == state || j.State == "failed"
		}, time.Minute, time.Millisecond)
		require.Equal(t, state, j.State, j.Reason)
	}
	until("running")
	require.Equal(t, 200, c.do("DELETE", "/v1/jobs/"+j.ID, nil, nil))
	c.post("/v1/jobs/"+j.ID+"/resume", nil, nil)
	until("done")
	n := len(c.annotations().Features)
	require.NotZero(t, n)
	require.NoError(t, s.Close())
	c = newClient(t, newServer(t, serve.Config{Demo: demo(), Annotations: dir, Jobs: jobs}))
	c.get("/v1/jobs/"+j.ID, &j)
	assert.Equal(t, "done", j.State)
	assert.Len(t, c.annotations().Features, n, "objects are added once")
}

// TestSlidesOfAFolder lists, and does not follow links out of it.
func TestSlidesOfAFolder(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write := func(path string) {
		f, err := os.Create(path)
		require.NoError(t, err)
		defer f.Close()
		require.NoError(t, jpeg.Encode(f, field(), nil))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	write(filepath.Join(dir, "a.jpg"))
	write(filepath.Join(dir, "sub", "b.jpg"))
	write(filepath.Join(outside, "secret.jpg"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "c.svs"), []byte("text"), 0o644))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret.jpg"), filepath.Join(dir, "link.jpg")))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "folder")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "stolen"), filepath.Join(dir, "a.jpg.geojson")))
	c := newClient(t, newServer(t, serve.Config{Slides: []string{dir}}))
	var list []struct{ ID, Path string }
	c.get("/v1/slides", &list)
	var paths []string
	ids := map[string]string{}
	for _, l := range list {
		paths = append(paths, l.Path)
		ids[l.Path] = "/v1/slides/" + l.ID
	}
	assert.Equal(t, []string{"a.jpg", "c.svs", "sub/b.jpg"}, paths)
	assert.Equal(t, 422, c.do("GET", ids["c.svs"], nil, nil))
	var d struct{ MPP *float64 }
	c.get(ids["sub/b.jpg"], &d)
	assert.Nil(t, d.MPP, "no pixel size is made up")
	// Annotations are not written through a link.
	assert.Equal(t, 403, c.do("POST", ids["a.jpg"]+"/annotations", map[string]any{"add": []any{feature(square(1, 1, 10), "Tumor")}}, nil))
	assert.NoFileExists(t, filepath.Join(outside, "stolen"))
	c.post(ids["sub/b.jpg"]+"/annotations", map[string]any{"add": []any{feature(square(1, 1, 10), "Tumor")}}, nil)
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(dir, "sub", "b.jpg.geojson")); return err == nil }, 5*time.Second, 10*time.Millisecond)
	var j job
	c.post(ids["sub/b.jpg"]+"/jobs", map[string]any{"kind": "everything", "region": []int{100, 50, 80, 80}}, &j)
	require.Eventually(t, func() bool {
		c.get("/v1/jobs/"+j.ID, &j)
		return j.State != "queued" && j.State != "running"
	}, time.Minute, 20*time.Millisecond)
	assert.Equal(t, "done", j.State, "of a slide of unknown pixel size: %s", j.Reason)
}

// TestCompare compares three squares with a truth of three others.
func TestCompare(t *testing.T) {
	c := newClient(t, newServer(t, serve.Config{Demo: demo(), Annotations: t.TempDir()}))
	c.post(c.slide+"/annotations", map[string]any{"add": []any{feature(square(10, 10, 20), "a"), feature(square(100, 100, 20), "a"), feature(square(200, 10, 10), "a")}}, nil)
	var a struct {
		Dice, PQ, DQ, SQ, AJI float64
		TP, FP, FN            int
		Worst                 []struct {
			Kind   string
			IoU    float64
			Wrong  float64
			Bounds [4]int
		}
	}
	// One alike, one half beside, one missing.
	truth := []any{feature(square(10, 10, 20), "b"), feature(square(105, 100, 20), "b"), feature(square(300, 300, 30), "b")}
	c.post(c.slide+"/compare", map[string]any{"truth": truth, "region": []int{0, 0, 400, 400}}, &a)
	assert.Equal(t, []int{2, 1, 1}, []int{a.TP, a.FP, a.FN})
	assert.InDelta(t, 2*(400+300)/float64(400+400+100+400+400+900), a.Dice, 1e-9)
	assert.InDelta(t, (1+0.6)/2, a.SQ, 1e-9)
	assert.InDelta(t, a.SQ*a.DQ, a.PQ, 1e-9)
	require.Len(t, a.Worst, 3)
	assert.Equal(t, "missed", a.Worst[0].Kind)
	assert.Equal(t, [4]int{300, 300, 30, 30}, a.Worst[0].Bounds)
	assert.Equal(t, "poor", a.Worst[1].Kind)
	assert.Equal(t, 200.0, a.Worst[1].Wrong)
	assert.InDelta(t, 0.6, a.Worst[1].IoU, 1e-9)
	assert.Equal(t, "invented", a.Worst[2].Kind)
	c.post(c.slide+"/compare", map[string]any{"truth": truth[:1]}, &a)
	assert.Equal(t, 1.0, a.Dice, "around the truth")
	c.post(c.slide+"/compare", map[string]any{"truth": []any{}}, &a)
	assert.Equal(t, 422, c.do("POST", c.slide+"/compare", map[string]any{"truth": []any{1}}, nil))
	assert.Equal(t, 422, c.do("POST", c.slide+"/compare", map[string]any{"truth": []any{feature(square(-100, -100, 20), "b")}}, nil))
}

func FuzzAnnotation(f *testing.F) {
	s := newServer(f, serve.Config{Demo: demo(), Annotations: f.TempDir()})
	c := newClient(f, s)
	for _, seed := range []string{
		`{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[9,0],[9,9],[0,0]]]},"properties":{"classification":{"names":["a","b"]},"measurements":[{"name":"x","value":1}]}}`,
		`{"type":"Feature","id":7,"geometry":{"type":"Point","coordinates":[1,2]},"properties":null}`, `{"type":"Feature","geometry":{"type":"MultiPolygon","coordinates":[[]]}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, b := range []string{`{"add":[` + body + `]}`, `{"op":"add","stroke":[[1,1]],"radius":2,"geometry":` + body + `}`} {
			path := c.slide + "/annotations"
			if b[2] == 'o' {
				path = "/v1/geometry"
			}
			r := httptest.NewRequest("POST", "http://localhost"+path, strings.NewReader(b))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			assert.NotEqual(t, 500, w.Code, w.Body.String())
		}
	})
}

func FuzzSegmentBody(f *testing.F) {
	s := newServer(f, serve.Config{Demo: demo(), Annotations: f.TempDir()})
	c := newClient(f, s)
	f.Add(`{"points":[{"x":838,"y":330,"label":1}],"downsample":1}`)
	f.Add(`{"box":[1,1,1000,1000],"downsample":1e300,"state":"x","candidate":-1}`)
	f.Add(`{"kind":"nuclei","region":[1,2,3]}`)
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("POST", "http://localhost"+c.slide+"/segment", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		assert.NotEqual(t, 500, w.Code, w.Body.String())
	})
}

// BenchmarkClick is what a person waits for: a click on a view that was not
// looked at, one on a view that was, and the second one.
func BenchmarkClick(b *testing.B) {
	s := newServer(b, serve.Config{Demo: demo(), Annotations: b.TempDir(), CacheBytes: 1})
	warm := newServer(b, serve.Config{Demo: demo(), Annotations: b.TempDir()})
	for _, bb := range []struct {
		name string
		s    *serve.Server
	}{{"view=new", s}, {"view=embedded", warm}} {
		c := newClient(b, bb.s)
		body := fmt.Appendf(nil, `{"points":[{"x":%d,"y":%d,"label":1}]}`, nucleusX, nucleusY)
		click := func() {
			r := httptest.NewRequestWithContext(context.Background(), "POST", "http://localhost"+c.slide+"/segment", bytes.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			bb.s.ServeHTTP(w, r)
			if w.Code != 200 {
				b.Fatal(w.Body)
			}
			_, _ = io.Copy(io.Discard, w.Body)
		}
		click()
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				click()
			}
		})
	}
}
