package refine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/planar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/geojson"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/refine"
	"github.com/slidesam/sam/internal/wsi"
)

// disc is a dark disc of the picture.
type disc struct{ x, y, r float64 }

// discs is a white slide with dark discs.
func discs(w, h int, ds ...disc) *wsi.Slide {
	pic := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range pic.Pix {
		pic.Pix[i] = 255
	}
	for _, d := range ds {
		for y := int(d.y - d.r); y <= int(d.y+d.r)+1; y++ {
			for x := int(d.x - d.r); x <= int(d.x+d.r)+1; x++ {
				if u, v := float64(x)+0.5-d.x, float64(y)+0.5-d.y; u*u+v*v <= d.r*d.r {
					pic.SetRGBA(x, y, color.RGBA{40, 20, 90, 255})
				}
			}
		}
	}
	return wsi.FromImage(pic, 0.25, 0.25)
}

// model answers with the dark pixels of the window that are connected to the
// middle of the prompt.
type model struct {
	windows int
	stop    func(windows int) error
}

func (m *model) predict(_ context.Context, img *image.RGBA, _ float64, ps []refine.Prompt) ([]refine.Answer, error) {
	m.windows++
	if m.stop != nil {
		if err := m.stop(m.windows); err != nil {
			return nil, err
		}
	}
	dark, err := mask.New(mask.Size{H: img.Rect.Dy(), W: img.Rect.Dx()}, func(x, y int) bool { return img.RGBAAt(x, y).R < 128 })
	if err != nil {
		return nil, err
	}
	out := make([]refine.Answer, len(ps))
	for i, p := range ps {
		at := image.Point{}
		if p.Point != nil {
			at = image.Pt(int(p.Point.X), int(p.Point.Y))
		} else {
			at = image.Pt(int(p.Box.X0+p.Box.X1)/2, int(p.Box.Y0+p.Box.Y1)/2)
		}
		out[i] = refine.Answer{Mask: &mask.Mask{}, IoUPred: 0.9, Stability: 0.8}
		if dark.At(at.X, at.Y) {
			if out[i].Mask, err = dark.Touching([]image.Point{at}); err != nil {
				return nil, err
			}
		} else if out[i].Mask, err = dark.Clip(image.Rectangle{}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func ring(x0, y0, x1, y1 float64) string {
	return fmt.Sprintf("[[%g,%g],[%g,%g],[%g,%g],[%g,%g],[%g,%g]]", x0, y0, x1, y0, x1, y1, x0, y1, x0, y0)
}

func box(x0, y0, x1, y1 float64) string {
	return `{"type":"Polygon","coordinates":[` + ring(x0, y0, x1, y1) + `]}`
}

func feature(geometry, rest, properties string) string {
	return `{"type":"Feature","geometry":` + geometry + rest + `,"properties":{` + properties + `}}`
}

func write(t *testing.T, features ...string) (in, out string) {
	dir := t.TempDir()
	in = filepath.Join(dir, "coarse.geojson")
	require.NoError(t, os.WriteFile(in, []byte(`{"type":"FeatureCollection","features":[`+strings.Join(features, ",\n")+`]}`), 0o600))
	return in, filepath.Join(dir, "new", "fine.geojson")
}

func readAll(t *testing.T, path string) (out []*geojson.Object, raw []map[string]any) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	s := geojson.NewScanner(f)
	for s.Scan() {
		o, err := geojson.Parse(s.Bytes(), geojson.Options{Strict: true})
		require.NoError(t, err)
		var m map[string]any
		require.NoError(t, json.Unmarshal(s.Bytes(), &m))
		out, raw = append(out, o), append(raw, m)
	}
	require.NoError(t, s.Err())
	return out, raw
}

func value(o *geojson.Object, name string) float64 {
	for _, m := range o.Measurements {
		if m.Name == name {
			return m.Value
		}
	}
	return -1
}

const (
	id1 = "0e2b7a52-4a4b-4ad2-9a5e-0123456789ab"
	id2 = "0e2b7a52-4a4b-4ad2-9a5e-0123456789ac"
)

// TestRun refines every kind of object there is.
func TestRun(t *testing.T) {
	s := discs(1000, 900, disc{100, 100, 20}, disc{200, 100, 20}, disc{300, 100, 20}, disc{400, 100, 20}, disc{500, 100, 20}, disc{600, 450, 180}, disc{30, 5, 20}, disc{700, 100, 20})
	in, out := write(t,
		feature(box(70, 75, 125, 130), `,"id":"`+id1+`","other":[1,2]`, `"objectType":"detection","name":"a","color":[1,2,3],"classification":{"name":"Tumor","color":[9,8,7]},"measurements":{"mine":7,"Predicted IoU":0.1},"metadata":{"k":"v"}`),
		feature(`{"type":"Polygon","isEllipse":true,"coordinates":[`+ring(170, 70, 230, 130)+`],"plane":{"c":-1,"z":2,"t":0}}`, `,"id":"`+id2+`"`, `"classification":{"names":["Tumor","Positive"]},"measurements":[{"name":"mine","value":3}]`),
		feature(`{"type":"Point","coordinates":[305,95]}`, "", `"name":"p"`),
		feature(`{"type":"MultiPoint","coordinates":[[400,100],[800,700],[500,100]]}`, `,"id":"`+id1[:35]+`d"`, `"name":"ps"`),
		feature(box(0, 0, 1000, 900), "", `"name":"all"`), // most of it is white: the middle is the large disc
		feature(box(430, 280, 770, 620), "", `"name":"large"`),
		feature(box(-20, -20, 55, 28), "", `"name":"edge"`),
		feature(`{"type":"LineString","coordinates":[[0,0],[9,9]]}`, "", `"name":"line"`),
		feature(box(2000, 0, 2010, 10), "", `"name":"off"`),
		feature(box(75, 75, 125, 125), "", `"name":"locked","isLocked":true`),
		feature(box(800, 700, 850, 750), "", `"name":"white"`),
		feature(box(660, 60, 740, 140), `,"nucleusGeometry":`+box(675, 75, 725, 125), `"objectType":"cell","name":"cell"`),
		feature("null", "", `"name":"none"`),
	)
	m := &model{}
	res, err := refine.Run(t.Context(), s, in, out, m.predict, refine.Options{Window: 512, CoarseIoU: 0.25})
	require.NoError(t, err)
	assert.NoFileExists(t, out+refine.JournalSuffix)
	assert.Equal(t, res.Windows, m.windows, "each window is looked at once")
	assert.Equal(t, 15, res.Objects)
	assert.Equal(t, 8, res.Refined)
	assert.Equal(t, "8 of 15 objects refined, 1 left alone: locked, 2 left alone: without an outline or point, 1 left alone: beside the slide, 2 left alone: nothing found, 1 left alone: too unlike the coarse outline", res.Describe())

	got, raw := readAll(t, out)
	require.Len(t, got, 15, "two points of three are objects of their own, the third is what is left")
	const area = 400 * 3.14159
	by := map[string]*geojson.Object{}
	for _, o := range got {
		by[o.Name] = o
	}
	o := got[0]
	assert.Equal(t, id1, o.ID)
	assert.Equal(t, geojson.Detection, o.Type)
	assert.Equal(t, "Tumor", o.Class)
	assert.InEpsilon(t, area, planar.Area(o.Geometry), 0.02)
	assert.InDelta(t, area, value(o, geojson.MeasureAreaPixels), 25)
	assert.InDelta(t, area/16, value(o, geojson.MeasureAreaMicrons), 2)
	assert.InDelta(t, 0.9, value(o, geojson.MeasurePredictedIoU), 1e-6, "replaced")
	assert.InDelta(t, 0.8, value(o, geojson.MeasureStability), 1e-6)
	assert.InDelta(t, area/(55*55), value(o, geojson.MeasureCoarseIoU), 0.01)
	assert.Equal(t, 0.25, value(o, geojson.MeasureScale))
	assert.InEpsilon(t, 2*3.14159*20*0.25, value(o, geojson.MeasurePerimeter), 0.05)
	assert.Greater(t, value(o, geojson.MeasureCircularity), 0.9)
	assert.Equal(t, 7.0, value(o, "mine"))
	assert.Equal(t, []any{1.0, 2.0}, raw[0]["other"])
	assert.Equal(t, []any{1.0, 2.0, 3.0}, raw[0]["properties"].(map[string]any)["color"])
	assert.Equal(t, map[string]any{"k": "v", "slidesam": "refined"}, raw[0]["properties"].(map[string]any)["metadata"])

	o = got[1]
	assert.Equal(t, id2, o.ID)
	assert.Equal(t, "Tumor: Positive", o.Class)
	assert.InEpsilon(t, area, planar.Area(o.Geometry), 0.02)
	assert.NotContains(t, raw[1]["geometry"], "isEllipse", "QuPath would make an ellipse of it")
	assert.Equal(t, map[string]any{"c": -1.0, "z": 2.0, "t": 0.0}, raw[1]["geometry"].(map[string]any)["plane"])
	assert.InDelta(t, 3.14159*400/(3.14159*900), value(o, geojson.MeasureCoarseIoU), 0.02)
	assert.Equal(t, 3.0, value(o, "mine"))

	assert.InEpsilon(t, area, planar.Area(by["p"].Geometry), 0.02)
	assert.Equal(t, -1.0, value(by["p"], geojson.MeasureCoarseIoU))

	assert.InEpsilon(t, area, planar.Area(got[3].Geometry), 0.02)
	assert.InEpsilon(t, area, planar.Area(got[4].Geometry), 0.02)
	assert.NotEqual(t, got[3].ID, got[4].ID)
	assert.Equal(t, orb.MultiPoint{{800, 700}}, got[5].Geometry)
	assert.Equal(t, id1[:35]+"d", got[5].ID)
	assert.Equal(t, "left alone: nothing found", raw[5]["properties"].(map[string]any)["metadata"].(map[string]any)["slidesam"])

	assert.Equal(t, 1000.0*900, planar.Area(by["all"].Geometry), "left alone")
	assert.InEpsilon(t, 180*180*3.14159, planar.Area(by["large"].Geometry), 0.02)
	assert.Equal(t, 0.5, value(by["large"], geojson.MeasureScale), "seen at half the resolution")
	assert.Less(t, planar.Area(by["edge"].Geometry), area*0.8)
	assert.Greater(t, planar.Area(by["edge"].Geometry), area*0.5)
	assert.Equal(t, orb.LineString{{0, 0}, {9, 9}}, by["line"].Geometry)
	assert.Equal(t, 2500.0, planar.Area(by["locked"].Geometry))
	assert.Equal(t, 6400.0, planar.Area(by["cell"].Geometry), "the cell stays")
	assert.InEpsilon(t, area, planar.Area(by["cell"].Nucleus), 0.02)
	assert.NotContains(t, raw[11]["properties"], "metadata", "a locked object is as it was")
}

func TestChoice(t *testing.T) {
	s := discs(1000, 400, disc{100, 100, 20}, disc{600, 100, 20}, disc{700, 100, 20})
	features := []string{
		feature(box(75, 75, 125, 125), "", `"name":"a","classification":{"name":"Tumor: Positive"}`),
		feature(box(575, 75, 625, 125), "", `"name":"b","classification":{"name":"Tumor"}`),
		feature(box(675, 75, 725, 125), "", `"name":"c","classification":{"name":"Stroma"}`),
		feature(box(500, 0, 900, 400), `,"id":"`+id1+`"`, `"name":"core"`),
	}
	for _, tt := range []struct {
		o    refine.Options
		want string
	}{
		{refine.Options{Classes: []string{"Tumor"}}, "2 of 4 objects refined, 2 left alone: of another class"},
		{refine.Options{Classes: []string{"Positive", "Stroma"}}, "2 of 4 objects refined, 2 left alone: of another class"},
		{refine.Options{Within: "core"}, "2 of 4 objects refined, 1 left alone: outside the annotation, 1 left alone: the annotation itself"},
		{refine.Options{Within: id1, Classes: []string{"Stroma"}}, "1 of 4 objects refined, 2 left alone: of another class, 1 left alone: the annotation itself"},
		{refine.Options{Classes: []string{"Stroma"}, PredIoU: 0.95}, "0 of 4 objects refined, 3 left alone: of another class, 1 left alone: predicted IoU too low"},
		{refine.Options{Classes: []string{"Stroma"}, Stability: 0.85}, "0 of 4 objects refined, 3 left alone: of another class, 1 left alone: stability too low"},
		{refine.Options{Classes: []string{"Stroma"}, CoarseIoU: 0.6}, "0 of 4 objects refined, 3 left alone: of another class, 1 left alone: too unlike the coarse outline"},
	} {
		in, out := write(t, features...)
		tt.o.Window = 256
		res, err := refine.Run(t.Context(), s, in, out, (&model{}).predict, tt.o)
		require.NoError(t, err)
		assert.Equal(t, tt.want, res.Describe())
	}
}

// TestResume stops a run at its second window, tears the journal, and goes on:
// the result is that of a run at one go.
func TestResume(t *testing.T) {
	var ds []disc
	var features []string
	for i := range 40 {
		x, y := float64(60+i%8*240), float64(60+i/8*230)
		ds = append(ds, disc{x, y, 15})
		features = append(features, feature(box(x-20, y-22, x+21, y+20), "", fmt.Sprintf(`"name":"%d"`, i)))
	}
	s := discs(2000, 1200, ds...)
	in, whole := write(t, features...)
	o := refine.Options{Window: 256}
	_, err := refine.Run(t.Context(), s, in, whole, (&model{}).predict, o)
	require.NoError(t, err)
	want, err := os.ReadFile(whole)
	require.NoError(t, err)

	for name, tear := range map[string]func(b []byte) []byte{
		"whole": func(b []byte) []byte { return b }, "torn": func(b []byte) []byte { return b[:len(b)-7] }, "rest": func(b []byte) []byte { return append(b, "page 1 20 x"...) },
		"altered": func(b []byte) []byte { b[len(b)-20] ^= 1; return b }, "head": func(b []byte) []byte { return b[:9] }, "empty": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "fine.geojson")
			ctx, stop := context.WithCancel(t.Context())
			first := &model{stop: func(n int) error {
				if n == 3 {
					stop()
					return ctx.Err()
				}
				return nil
			}}
			_, err := refine.Run(ctx, s, in, out, first.predict, o)
			require.ErrorIs(t, err, context.Canceled)
			assert.NoFileExists(t, out)
			b, err := os.ReadFile(out + refine.JournalSuffix)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(out+refine.JournalSuffix, tear(b), 0o600))

			_, err = refine.Run(t.Context(), s, in, out, first.predict, refine.Options{Window: 256, CoarseIoU: 0.1})
			if name != "head" && name != "empty" {
				require.ErrorIs(t, err, refine.ErrOtherRun)
			}
			seen := []int{}
			o := o
			o.Progress = func(p refine.Progress) { seen = append(seen, p.Seen) }
			rest := &model{}
			if name == "head" || name == "empty" {
				require.NoError(t, os.WriteFile(out+refine.JournalSuffix, tear(b), 0o600))
			}
			res, err := refine.Run(t.Context(), s, in, out, rest.predict, o)
			require.NoError(t, err)
			got, err := os.ReadFile(out)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(got))
			assert.Equal(t, res.Windows-res.Resumed, rest.windows)
			resumed := map[string]int{"whole": 2, "torn": 1, "rest": 2, "altered": 1}[name]
			assert.Equal(t, resumed, res.Resumed)
			assert.Equal(t, resumed, seen[0])
			assert.Equal(t, res.Windows, seen[len(seen)-1])
		})
	}
}

func TestErrors(t *testing.T) {
	s := discs(300, 300, disc{100, 100, 20})
	one := feature(box(75, 75, 125, 125), "", `"name":"a"`)
	in, out := write(t, one)
	m := &model{}
	o := refine.Options{Window: 256}
	_, err := refine.Run(t.Context(), s, in, in, m.predict, o)
	assert.ErrorContains(t, err, "would be overwritten")
	_, err = refine.Run(t.Context(), s, in, out, m.predict, refine.Options{Window: 256, Within: "nothing"})
	assert.ErrorContains(t, err, `is called "nothing"`)
	_, err = refine.Run(t.Context(), s, in, out, m.predict, refine.Options{Window: 256, MPP: 0.01})
	assert.ErrorContains(t, err, "want a quarter")
	_, err = refine.Run(t.Context(), s, filepath.Dir(in), out, m.predict, o)
	assert.ErrorContains(t, err, "a folder, want a file")
	bad, _ := write(t, one, `{"type":"Feature","geometry":{"type":"Point","coordinates":[1]}}`)
	_, err = refine.Run(t.Context(), s, bad, out, m.predict, o)
	assert.ErrorIs(t, err, geojson.ErrFormat)
	assert.ErrorContains(t, err, bad+": feature 1")
	broken := errors.New("broken")
	_, err = refine.Run(t.Context(), s, in, out, func(context.Context, *image.RGBA, float64, []refine.Prompt) ([]refine.Answer, error) {
		return nil, broken
	}, o)
	assert.ErrorIs(t, err, broken)
	_, err = refine.Run(t.Context(), wsi.FromImage(image.NewRGBA(image.Rect(0, 0, 9, 9)), 0, 0), in, out+"2", m.predict, refine.Options{Window: 256, MPP: 0.5})
	assert.ErrorIs(t, err, wsi.ErrNoMPP)

	// A slide of unknown resolution is looked at as it is, and reduced for large
	// objects; there are no areas in micrometres.
	pic := discs(2000, 2000, disc{1000, 1000, 300})
	img := image.NewRGBA(image.Rect(0, 0, 2000, 2000))
	require.NoError(t, pic.ReadRegion(t.Context(), 0, image.Point{}, img))
	in, out = write(t, feature(box(600, 650, 1400, 1350), "", `"name":"a"`))
	res, err := refine.Run(t.Context(), wsi.FromImage(img, 0, 0), in, out, m.predict, o)
	require.NoError(t, err)
	assert.Equal(t, 1, res.Refined)
	got, _ := readAll(t, out)
	assert.InEpsilon(t, 300*300*3.14159, planar.Area(got[0].Geometry), 0.02)
	assert.Equal(t, -1.0, value(got[0], geojson.MeasureAreaMicrons))
	assert.InEpsilon(t, 300*300*3.14159, value(got[0], geojson.MeasureAreaPixels), 0.02)
}
