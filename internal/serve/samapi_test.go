package serve_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/planar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/serve"
	"github.com/slidesam/sam/weights/bundled"
)

// field is a part of the bundled picture, a nucleus in it.
const fieldX, fieldY, fieldSide = 700, 250, 256

var field = sync.OnceValue(func() image.Image {
	out := image.NewRGBA(image.Rect(0, 0, fieldSide, fieldSide))
	draw.Draw(out, out.Rect, bundled.Picture(), image.Pt(fieldX, fieldY), draw.Src)
	return out
})

// tiny is a picture that costs little to send.
func tiny() image.Image {
	out := image.NewRGBA(image.Rect(0, 0, 16, 12))
	draw.Draw(out, out.Rect, field(), image.Pt(130, 75), draw.Src)
	return out
}

func encoded(t testing.TB, img image.Image) string {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// own is the model of all tests.
var own = sync.OnceValues(sam.Bundled)

func newServer(t testing.TB, c serve.Config) *serve.Server {
	if c.Jobs == "" {
		c.Jobs = t.TempDir()
	}
	s, err := serve.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

// qupath sends a request as the extension does.
func qupath(t testing.TB, s http.Handler, method, path string, body any) *httptest.ResponseRecorder {
	var b bytes.Buffer
	if body != nil {
		require.NoError(t, json.NewEncoder(&b).Encode(body))
	}
	r := httptest.NewRequest(method, "http://localhost:8000"+path, &b)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "Apache-HttpClient/5.4.1 (Java/21.0.5)")
	if body != nil {
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// features reads an answer by QuPath's rules: an id that is a UUID, a type of
// object that it has, closed rings with an area, measurements that are
// numbers; and the extension's: a quality, and no object_idx, which it would
// take for the name of a class.
func features(t testing.TB, w *httptest.ResponseRecorder) []*geojson.Feature {
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	var fs []*geojson.Feature
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &fs))
	for _, f := range fs {
		require.NoError(t, uuid.Validate(f.ID.(string)))
		assert.Contains(t, []any{"annotation", "detection"}, f.Properties["objectType"])
		assert.NotContains(t, f.Properties, "object_idx")
		assert.IsType(t, 0.0, f.Properties["quality"])
		var parts orb.MultiPolygon
		switch g := f.Geometry.(type) {
		case orb.Polygon:
			parts = orb.MultiPolygon{g}
		case orb.MultiPolygon:
			parts = g
		default:
			t.Errorf("geometry %T", g)
		}
		for _, p := range parts {
			for _, r := range p {
				assert.True(t, r.Closed() && len(r) >= 4)
				assert.NotZero(t, planar.Area(r))
			}
		}
	}
	return fs
}

// TestQuPath replays what the extension sends: the weights of its default
// model, one request for each object with the same picture, an automatic
// search, and a registration.
func TestQuPath(t *testing.T) {
	s := newServer(t, serve.Config{})
	b64 := encoded(t, field())
	for _, kind := range []string{"vit_h", "vit_l", "vit_b", "vit_t", "sam2_l", "sam2_bp", "sam2_s", "sam2_t", "sam3"} {
		w := qupath(t, s, "GET", "/sam/weights/?type="+kind, nil)
		require.Equal(t, http.StatusOK, w.Code)
		var list []struct{ Type, Name, URL string }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &list))
		require.NotEmpty(t, list, "the extension breaks on an empty list")
		assert.Equal(t, kind, list[0].Type)
		assert.NotEmpty(t, list[0].URL)
	}
	for _, path := range []string{"/sam/", "/sam", "//sam/", "/"} {
		// A rectangle that sticks out of the view, three masks.
		w := qupath(t, s, "POST", path, map[string]any{
			"type": "vit_l", "bbox": []int{110, 55, 165, 106}, "b64img": b64, "multimask_output": true, "checkpoint_url": "slidesam:model",
		})
		fs := features(t, w)
		require.Len(t, fs, 3)
	}
	// One point and one background point, background first.
	w := qupath(t, s, "POST", "/sam/", map[string]any{
		"type": "vit_l", "point_coords": [][]int{{20, 20}, {138, 80}}, "point_labels": []int{0, 1}, "b64img": b64, "multimask_output": false, "checkpoint_url": "slidesam:model",
	})
	fs := features(t, w)
	require.Len(t, fs, 1)
	assert.Equal(t, "vit_l", fs[0].Properties["sam_model"])
	bound := fs[0].Geometry.Bound()
	assert.True(t, bound.Contains(orb.Point{138, 80}), "%v", bound)
	for _, v := range []float64{bound.Min[0], bound.Max[1]} {
		assert.Equal(t, float64(int(v)), v, "outlines run along the sides of pixels")
	}
	// No prompt, background alone, a box outside: nothing.
	for _, p := range []map[string]any{
		{}, {"point_coords": []any{}, "point_labels": []any{}}, {"point_coords": [][]int{{3, 3}}, "point_labels": []int{0}}, {"bbox": []int{-50, -50, -10, -10}},
	} {
		p["type"], p["b64img"] = "vit_b", b64
		w := qupath(t, s, "POST", "/sam/", p)
		assert.Equal(t, http.StatusOK, w.Code)
		assert.JSONEq(t, `[]`, w.Body.String())
	}
	// The dialog's automatic search.
	w = qupath(t, s, "POST", "/sam/automask/", map[string]any{
		"type": "vit_l", "b64img": b64, "points_per_side": 8, "points_per_batch": 64, "pred_iou_thresh": 0.6, "stability_score_thresh": 0.4, "stability_score_offset": 1.0,
		"box_nms_thresh": 0.2, "crop_n_layers": 0, "crop_nms_thresh": 0.7, "crop_overlap_ratio": 0.3413, "crop_n_points_downscale_factor": 1, "min_mask_region_area": 0,
		"output_type": "Multi-mask (smallest)", "include_image_edge": false, "checkpoint_url": "slidesam:model",
	})
	assert.NotEmpty(t, features(t, w))
	// Registration, without a folder: a reason, and progress answers.
	w = qupath(t, s, "POST", "/sam/weights/", map[string]any{"type": "vit_b", "name": "mine", "url": "https://example.org/a.pth"})
	assert.Equal(t, http.StatusForbidden, w.Code)
	assert.JSONEq(t, `{"message":null,"percent":-1}`, qupath(t, s, "GET", "/sam/progress/", nil).Body.String())
	assert.Equal(t, "Cancel signal sent\n", qupath(t, s, "GET", "/sam/weights/cancel/", nil).Body.String())
	assert.Equal(t, "devel\n", qupath(t, s, "GET", "/sam/version/", nil).Body.String())
}

// TestQualityIsThatOfItsMask compares the answer with the library's: samapi
// gives each mask the score of another.
func TestQualityIsThatOfItsMask(t *testing.T) {
	m, err := own()
	require.NoError(t, err)
	e, err := m.Embed(t.Context(), field())
	require.NoError(t, err)
	want, err := m.Predict(t.Context(), e, sam.Prompt{Points: []sam.Point{{X: 138, Y: 80, Label: sam.Foreground}}}, sam.PredictOptions{})
	require.NoError(t, err)
	s := newServer(t, serve.Config{Model: m})
	fs := features(t, qupath(t, s, "POST", "/sam/", map[string]any{
		"b64img": encoded(t, field()), "point_coords": [][]float64{{138.9, 80.2}}, "point_labels": []int{1}, "multimask_output": true,
	}))
	require.Len(t, fs, len(want.Masks))
	for i, f := range fs {
		assert.InDelta(t, want.IoUPred[i], f.Properties["quality"], 1e-6)
		area := 0.0
		switch g := f.Geometry.(type) {
		case orb.Polygon:
			area = planar.Area(g)
		case orb.MultiPolygon:
			area = planar.Area(g)
		}
		assert.InDelta(t, want.Masks[i].Area(), area, 1e-6, "all parts, all holes, pixel corners")
	}
}

// TestKindsOfPictures sends the pictures on which samapi ends in status 500.
func TestKindsOfPictures(t *testing.T) {
	m, err := own()
	require.NoError(t, err)
	s := newServer(t, serve.Config{Model: m})
	r := image.Rect(0, 0, 64, 48)
	paint := func(dst draw.Image) image.Image {
		draw.Draw(dst, r, field(), image.Pt(100, 50), draw.Src)
		return dst
	}
	for name, img := range map[string]image.Image{
		"grey": paint(image.NewGray(r)), "grey of 16 bits": paint(image.NewGray16(r)), "alpha": paint(image.NewNRGBA(r)), "16 bits and alpha": paint(image.NewNRGBA64(r)),
		"palette": paint(image.NewPaletted(r, color.Palette{color.White, color.Black, color.NRGBA{120, 40, 120, 255}})),
	} {
		t.Run(name, func(t *testing.T) {
			features(t, qupath(t, s, "POST", "/sam/", map[string]any{"b64img": "data:image/png;base64," + encoded(t, img), "bbox": []int{5, 5, 60, 40}}))
		})
	}
}

// TestEmbeddingIsSharedByEqualRequests clicks from many sides at once.
func TestEmbeddingIsSharedByEqualRequests(t *testing.T) {
	s := newServer(t, serve.Config{})
	b64 := encoded(t, field())
	answers := make([]string, 8)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			w := qupath(t, s, "POST", "/sam/", map[string]any{"b64img": b64, "point_coords": [][]int{{138, 80}}, "point_labels": []int{1}})
			var fs []map[string]any
			if assert.NoError(t, json.Unmarshal(w.Body.Bytes(), &fs)) && assert.Len(t, fs, 1) {
				b, err := json.Marshal(fs[0]["geometry"])
				assert.NoError(t, err)
				answers[i] = string(b)
			}
		})
	}
	all.Wait()
	for _, a := range answers {
		assert.Equal(t, answers[0], a)
	}
	assert.Equal(t, int64(1), serve.Embeddings(s), "eight requests, one encoding")
}

func TestUnknownRoutesSayWhatIsServed(t *testing.T) {
	s := newServer(t, serve.Config{})
	for _, path := range []string{"/sam/sam3/", "/sam/video/", "/sam/sam3video", "/sam/upload/", "/sam/nothing/"} {
		w := qupath(t, s, "POST", path, map[string]any{})
		assert.Equal(t, http.StatusNotFound, w.Code, path)
		assert.True(t, strings.HasPrefix(w.Body.String(), `{"detail":"`), path)
	}
}
