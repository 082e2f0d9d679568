package wholeslide

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/wsi"
)

// charted is a slide whose colours are maps: discs that touch, in clumps and
// chains that run over many tiles.
func charted(seed uint64, w, h int) *wsi.Slide {
	r := rand.New(rand.NewPCG(seed, 21))
	pic := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		pic.SetRGBA(i%w, i/w, color.RGBA{byte(r.IntN(60)), 255, 255, 255})
	}
	at := image.Pt(r.IntN(w), r.IntN(h))
	for range w * h / 120 {
		if at = at.Add(image.Pt(r.IntN(29)-14, r.IntN(29)-14)); r.IntN(20) == 0 || !at.In(pic.Rect) {
			at = image.Pt(r.IntN(w), r.IntN(h))
		}
		rad := 3 + r.IntN(4)
		for y := at.Y - rad; y <= at.Y+rad; y++ {
			for x := at.X - rad; x <= at.X+rad; x++ {
				d := (x-at.X)*(x-at.X) + (y-at.Y)*(y-at.Y)
				if c := pic.RGBAAt(x, y); image.Pt(x, y).In(pic.Rect) && d <= rad*rad && 250*d/rad/rad < int(c.B) {
					v := byte(250 * d / rad / rad)
					pic.SetRGBA(x, y, color.RGBA{255 - v/2, v, v, 255})
				}
			}
		}
	}
	return wsi.FromImage(pic, 0.5, 0.5)
}

// readChart reads the maps from the colours, and has an opinion of its own in
// each tile, as a decoder has by the statistics of what it is shown.
func readChart(_ context.Context, img *image.RGBA, t Tile) (instance.Maps, error) {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	m := instance.Maps{H: h, W: w, Foreground: make([]float32, w*h), Centre: make([]float32, w*h), Boundary: make([]float32, w*h)}
	r := rand.New(rand.NewPCG(uint64(t.Index), 3))
	for i := range w * h {
		own := r.Float32() * 0.3
		c := img.RGBAAt(i%w, i/w)
		m.Foreground[i], m.Centre[i], m.Boundary[i] = float32(c.R)/255-own, float32(c.G)/255, float32(c.B)/255+own/4
	}
	return m, nil
}

func chartOptions() Options {
	o := instance.Defaults()
	o.MinSize = 12
	return Options{Scales: []Scale{{Maps: MapFinder{readChart, o}, Finder: json.RawMessage(`"chart"`), MinArea: 15, MaxArea: 4000}}, Tile: 128, Halo: 16}
}

// anyPlan draws a plan: slides of all sizes, regions and tissue of all kinds.
func anyPlan(t *testing.T, r *rand.Rand, slide func(w, h int) *wsi.Slide) (*Plan, *wsi.Slide) {
	t.Helper()
	w, h := 40+r.IntN(400), 40+r.IntN(400)
	o := chartOptions()
	o.Tile, o.Halo = 64+r.IntN(130), 1+r.IntN(16)
	if r.IntN(3) == 0 { // windows end where those of the next but one begin
		o.Tile, o.Halo = 64, 16
	}
	if r.IntN(2) == 0 {
		o.Region = image.Rect(r.IntN(w/2), r.IntN(h/2), w/2+1+r.IntN(w/2), h/2+1+r.IntN(h/2))
	}
	if r.IntN(3) > 0 {
		var err error
		o.Tissue, err = mask.New(mask.Size{H: 9, W: 9}, func(x, y int) bool { return r.IntN(3) == 0 })
		require.NoError(t, err)
	}
	s := slide(w, h)
	p, err := New(t.Context(), s, o)
	require.NoError(t, err)
	return p, s
}

// TestClaims has each pixel that a window shows belong to one tile.
func TestClaims(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		p, _ := anyPlan(t, r, func(w, h int) *wsi.Slide { return wsi.FromImage(image.NewRGBA(image.Rect(0, 0, w, h)), 0.5, 0.5) })
		q := p.scales[0]
		owner := make([]int, q.size.W*q.size.H) // index + 1
		shown := make([]bool, len(owner))
		for _, i := range q.tiles {
			tile := q.at(i)
			require.True(t, tile.Core.In(tile.Window))
			for y := tile.Window.Min.Y; y < tile.Window.Max.Y; y++ {
				for x := tile.Window.Min.X; x < tile.Window.Max.X; x++ {
					shown[y*q.size.W+x] = true
				}
			}
			for _, c := range q.claim(tile) {
				require.True(t, c.In(tile.Window) && !c.Empty())
				for y := c.Min.Y; y < c.Max.Y; y++ {
					for x := c.Min.X; x < c.Max.X; x++ {
						if owner[y*q.size.W+x] != 0 {
							t.Fatalf("(%d, %d) is claimed twice", x, y)
						}
						owner[y*q.size.W+x] = i + 1
					}
				}
			}
		}
		for k, was := range owner {
			got, ok := q.claimant(image.Pt(k%q.size.W, k/q.size.W))
			if ok != shown[k] || shown[k] != (was > 0) || ok && got.Index != was-1 {
				t.Fatalf("pixel %d, shown %t, is claimed by tile %d; the claimant is %d, %t", k, shown[k], was-1, got.Index, ok)
			}
		}
	}
}

// stitchedWhole is the map of a slide as a whole, put together without strips.
func stitchedWhole(t *testing.T, p *scalePlan, s *wsi.Slide) instance.Maps {
	t.Helper()
	n := p.size.W * p.size.H
	all := instance.Maps{H: p.size.H, W: p.size.W, Foreground: make([]float32, n), Centre: make([]float32, n), Boundary: make([]float32, n)}
	for i := range n {
		all.Centre[i], all.Boundary[i] = 1, 1
	}
	for _, i := range p.tiles {
		tile := p.at(i)
		img, err := readWindow(t.Context(), s, p, tile.Window)
		require.NoError(t, err)
		m, err := p.Maps.Find(t.Context(), img, tile)
		require.NoError(t, err)
		m = roundMaps(m)
		for _, c := range p.claim(tile) {
			for y := c.Min.Y; y < c.Max.Y; y++ {
				for x := c.Min.X; x < c.Max.X; x++ {
					to, from := y*p.size.W+x, (y-tile.Window.Min.Y)*m.W+x-tile.Window.Min.X
					all.Foreground[to], all.Centre[to], all.Boundary[to] = m.Foreground[from], m.Centre[from], m.Boundary[from]
				}
			}
		}
	}
	return all
}

// TestStitchedKeeps holds what the strips keep to the map as a whole: all values
// within the filters' reach of what may be foreground, in whosever share, and
// elsewhere those or background.
func TestStitchedKeeps(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	kept, left := 0, 0
	for range 12 {
		p, s := anyPlan(t, r, func(w, h int) *wsi.Slide { return charted(r.Uint64(), w, h) })
		q := p.scales[0]
		dir := t.TempDir()
		_, err := p.Run(t.Context(), s, dir, nil)
		require.NoError(t, err)
		all := stitchedWhole(t, q, s)
		n := q.Maps.Options.Reach()
		require.Equal(t, 8, n)
		hot := make([]bool, len(all.Foreground))
		for i, v := range all.Foreground {
			hot[i] = v > q.Maps.Options.ForegroundThreshold-1e-3
		}
		rows := newMapRows(q, dir, func(p *scalePlan, i int) (*tileContent, error) { return readTile(dir, p, i) })
		for y := range all.H {
			require.NoError(t, rows.next())
			for x := range all.W {
				near := false
				for v := max(y-n, 0); v <= min(y+n, all.H-1) && !near; v++ {
					near = slices.Contains(hot[v*all.W+max(x-n, 0):v*all.W+min(x+n+1, all.W)], true)
				}
				i := y*all.W + x
				got, want := [3]float32{rows.values[0][x], rows.values[1][x], rows.values[2][x]}, [3]float32{all.Foreground[i], all.Centre[i], all.Boundary[i]}
				switch {
				case got == want:
					kept++
				case near || got != [3]float32{0, 1, 1}:
					t.Fatalf("(%d, %d): %v, want %v", x, y, got, want)
				default:
					left++
				}
			}
		}
	}
	assert.Positive(t, kept)
	assert.Positive(t, left)
}

// TestStitchedEqualsOneTile compares the objects of runs in tiles with those of
// the same stitched map as one tile, pixel by pixel.
func TestStitchedEqualsOneTile(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	objects, counted := 0, 0
	for range 15 {
		p, s := anyPlan(t, r, func(w, h int) *wsi.Slide { return charted(r.Uint64(), w, h) })
		q := p.scales[0]
		dir := t.TempDir()
		seen := 0
		_, err := p.Run(t.Context(), s, dir, func(p Progress) { seen = p.Objects })
		require.NoError(t, err)
		counted += seen

		all, err := instance.Find(t.Context(), stitchedWhole(t, q, s), q.Maps.Options)
		require.NoError(t, err)
		var want []instance.Object
		for _, k := range all {
			if a := k.Mask.Area(); k.Deep.In(q.area) && a >= q.MinArea && a <= q.MaxArea {
				want = append(want, k)
			}
		}
		var got []found
		m := newScaleMerger(p, s, dir, func(_ int, f found) error {
			got = append(got, f)
			return nil
		})
		settled := 0
		for more := true; more; {
			before := len(got)
			more, err = m.advance(t.Context(), func(p *scalePlan, i int) (*tileContent, error) { return readTile(dir, p, i) })
			require.NoError(t, err)
			for _, f := range got[before:] {
				require.GreaterOrEqual(t, f.Mask.Bounds().Min.Y, settled)
			}
			settled = m.settled(0)
		}
		assert.Equal(t, q.size.H, settled)
		assert.Empty(t, m.lanes[0].stitch.doubts())
		assert.True(t, slices.IsSortedFunc(got, func(a, b found) int { return a.tile - b.tile }))
		require.Len(t, got, len(want))
		byPixel := map[image.Point]instance.Object{}
		for _, k := range want {
			byPixel[k.Deep] = k
		}
		for _, f := range got {
			k, ok := byPixel[image.Pt(int(f.Pt.X), int(f.Pt.Y))]
			require.True(t, ok)
			require.True(t, k.Mask.Equal(f.Mask))
			require.Equal(t, k.Foreground, f.IoUPred)
			require.Positive(t, f.stain.Haematoxylin+f.stain.Eosin)
		}
		objects += len(got)
	}
	assert.Greater(t, objects, 600)
	assert.InEpsilon(t, objects, counted, 0.1, "objects that tiles count by themselves")
}

// files are the outputs of a run's folder.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, f := range []string{GeoJSONFile, CSVFile, LabelsFile, OverlayFile, SummaryFile} {
		b, err := os.ReadFile(filepath.Join(dir, f))
		require.NoError(t, err)
		out[f] = string(b)
	}
	return out
}

// TestStitchedResume gives the same bytes after an interruption, after damage
// to what lies behind a tile's checksum, and by shards in folders of their own.
func TestStitchedResume(t *testing.T) {
	s := charted(5, 400, 300)
	planned := func(shard, shards int) *Plan {
		o := chartOptions()
		o.Shard, o.Shards = shard, shards
		p, err := New(t.Context(), s, o)
		require.NoError(t, err)
		return p
	}
	once := t.TempDir()
	p := planned(0, 1)
	seen := 0
	_, err := p.Run(t.Context(), s, once, func(p Progress) { seen = p.Objects })
	require.NoError(t, err)
	res, err := p.Merge(t.Context(), s, once)
	require.NoError(t, err)
	want := files(t, once)
	require.Greater(t, res.Objects, 100)
	assert.Equal(t, Tally{Masks: res.Objects + res.Tally.Size, Seen: res.Objects, Size: res.Tally.Size}, res.Tally)
	assert.InDelta(t, res.Objects, seen, float64(res.Objects)/4, "objects that tiles count by themselves")
	assert.Empty(t, res.Doubts)

	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	_, err = p.Run(ctx, s, dir, func(p Progress) {
		if p.Done == 5 {
			stop()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	_, err = p.Merge(t.Context(), s, dir)
	require.ErrorIs(t, err, ErrUnfinished)
	for i, harm := range []func([]byte) []byte{
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { b[len(b)-9] ^= 4; return b },
		func(b []byte) []byte { return append(b, 0) },
	} {
		name := tilePath(dir, p.scales[0], i)
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, harm(b), 0o666))
	}
	res, err = p.Run(t.Context(), s, dir, nil)
	require.NoError(t, err)
	assert.Equal(t, 2, res.Resumed, "of five tiles three were harmed")
	_, err = p.Merge(t.Context(), s, dir)
	require.NoError(t, err)
	assert.Equal(t, want, files(t, dir))

	merged := filepath.Join(t.TempDir(), "merged")
	for _, i := range []int{2, 0, 1} {
		dir := t.TempDir()
		_, err := planned(i, 3).Run(t.Context(), s, dir, nil)
		require.NoError(t, err)
		var b bytes.Buffer
		said, err := PackShard(dir, i, 3, &b)
		require.NoError(t, err)
		assert.Positive(t, said.Objects)
		_, err = UnpackShard(merged, &b)
		require.NoError(t, err)
	}
	_, err = p.Merge(t.Context(), s, merged)
	require.NoError(t, err)
	assert.Equal(t, want, files(t, merged))
}

// TestStitchedScales merges stitched maps of two resolutions, and a scale of
// maps beside one of a finder.
func TestStitchedScales(t *testing.T) {
	s := charted(6, 300, 300)
	o := chartOptions()
	o.Scales[0].MPP = 0.5
	coarse := o.Scales[0]
	coarse.MPP = 1
	for name, other := range map[string]Scale{
		"maps": coarse,
		"finder": {MPP: 1, Finder: json.RawMessage(`"none"`), Find: func(context.Context, *image.RGBA, Tile) ([]Object, Tally, error) {
			return nil, Tally{}, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			o.Scales = []Scale{o.Scales[0], other}
			p, err := New(t.Context(), s, o)
			require.NoError(t, err)
			dir := t.TempDir()
			_, err = p.Run(t.Context(), s, dir, nil)
			require.NoError(t, err)
			res, err := p.Merge(t.Context(), s, dir)
			require.NoError(t, err)
			assert.Greater(t, res.Scales[1].Objects, 100)
			assert.Equal(t, res.Objects, res.Scales[0].Objects+res.Scales[1].Objects)
			assert.Equal(t, name == "maps", res.Scales[0].Objects > 0)
		})
	}
}

func TestStitchedErrors(t *testing.T) {
	s := charted(7, 200, 200)
	o := chartOptions()
	o.Scales[0].Maps.Options.ForegroundThreshold = 0
	_, err := New(t.Context(), s, o)
	assert.ErrorContains(t, err, "threshold of 0 for foreground")
	o = chartOptions()
	o.Scales[0].Maps.Find = func(context.Context, *image.RGBA, Tile) (instance.Maps, error) {
		return instance.Maps{}, errors.New("no decoder")
	}
	p, err := New(t.Context(), s, o)
	require.NoError(t, err)
	_, err = p.Run(t.Context(), s, t.TempDir(), nil)
	assert.ErrorContains(t, err, "tile 0 at (0,0)-(128,128) of the slide at 0.5 micrometres per pixel: no decoder")
	for _, tt := range []struct {
		maps instance.Maps
		want string
	}{
		{instance.Maps{H: 128, W: 128}, "foreground: 0 values, want 16384"},
		{instance.Maps{H: 128, W: 128, Foreground: make([]float32, 128*128), Centre: make([]float32, 128*128), Boundary: slices.Repeat([]float32{float32(math.NaN())}, 128*128)}, "boundary"},
		{instance.Maps{H: 3, W: 3}, "maps of 3 x 3 pixels for a window of 128 x 128"},
	} {
		o.Scales[0].Maps.Find = func(context.Context, *image.RGBA, Tile) (instance.Maps, error) { return tt.maps, nil }
		p, err := New(t.Context(), s, o)
		require.NoError(t, err)
		_, err = p.Run(t.Context(), s, t.TempDir(), nil)
		assert.ErrorContains(t, err, tt.want)
	}
}

// FuzzStrip reads altered strips, and writes again what it could read.
func FuzzStrip(f *testing.F) {
	r := image.Rect(3, 5, 40, 30)
	f.Add(appendStrip(nil, image.Rect(0, 0, 37, 25), slices.Repeat([]bool{true, true, false}, 37*25/3+1), instance.Maps{
		H: 25, W: 37, Foreground: make([]float32, 37*25), Centre: make([]float32, 37*25), Boundary: make([]float32, 37*25),
	}))
	f.Add([]byte(strings.Repeat("\x00", 25)))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var packed bytes.Buffer
		z := zlib.NewWriter(&packed)
		_, _ = z.Write(raw)
		_ = z.Close()
		s, err := decodeStrip(packed.Bytes(), r)
		if err != nil {
			if !errors.Is(err, errStrip) {
				t.Fatal(err)
			}
			return
		}
		n := r.Dx() * r.Dy()
		m := instance.Maps{H: r.Dy(), W: r.Dx(), Foreground: make([]float32, n), Centre: make([]float32, n), Boundary: make([]float32, n)}
		live := make([]bool, n)
		for y, runs := range s.rows {
			for _, u := range runs {
				for x := u.x0; x < u.x1; x++ {
					i, k := y*m.W+x-r.Min.X, u.at+x-u.x0
					live[i] = true
					m.Foreground[i], m.Centre[i], m.Boundary[i] = stepValues[s.values[0][k]], stepValues[s.values[1][k]], stepValues[s.values[2][k]]
				}
			}
		}
		again := appendStrip(nil, r.Sub(r.Min), live, m)
		packed.Reset()
		z.Reset(&packed)
		_, _ = z.Write(again)
		_ = z.Close()
		back, err := decodeStrip(packed.Bytes(), r)
		if err != nil || fmt.Sprint(back.values) != fmt.Sprint(s.values) {
			t.Fatalf("%v: values changed on the way", err)
		}
		if _, err := decodeStrip(raw, r); err == nil && len(raw) < 8 {
			t.Fatal("a strip of nothing")
		}
	})
}
