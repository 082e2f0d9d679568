package sam_test

import (
	"context"
	"image"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

// tinyDecoder fits the tiny model.
func tinyDecoder() instance.Config {
	return instance.Config{Grid: 16, Embed: 32, Features: [4]int{32, 16, 8, 4}, Out: 3}
}

// tensors returns random weights under a prefix, those whose names rename
// gives an empty one left out.
func tensors(t *testing.T, specs []weights.Spec, seed uint64, rename func(string) string) map[string]weights.TensorData {
	t.Helper()
	ck := weights.Random(specs, seed)
	out := map[string]weights.TensorData{}
	for _, s := range specs {
		if name := rename(s.Name); name != "" {
			x, err := ck.Tensor(s.Name)
			require.NoError(t, err)
			v, err := x.Float32s()
			require.NoError(t, err)
			out[name] = weights.TensorData{Shape: s.Shape, Data: v}
		}
	}
	return out
}

func under(prefix string) func(string) string {
	return func(name string) string { return prefix + name }
}

func saved(t *testing.T, all ...map[string]weights.TensorData) string {
	t.Helper()
	m := map[string]weights.TensorData{}
	for _, a := range all {
		maps.Copy(m, a)
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, weights.FromTensors(m).Save(t.Context(), path, weights.ConvertOptions{}))
	return path
}

// tinyInstances is the tiny model with a random decoder, from one file.
func tinyInstances(t *testing.T, c instance.Config) *sam.InstanceModel {
	t.Helper()
	m, err := sam.LoadInstances(saved(t,
		tensors(t, sam.Specs(tiny()), 4, under("model_state.sam.")), tensors(t, instance.Specs(c), 5, under("decoder_state."))))
	require.NoError(t, err)
	return m
}

// TestLoadInstances loads the same weights from each kind of file.
func TestLoadInstances(t *testing.T) {
	one := tinyInstances(t, tinyDecoder())
	model := saved(t, tensors(t, sam.Specs(tiny()), 4, under("")))
	dec := saved(t, tensors(t, instance.Specs(tinyDecoder()), 5, under("")))
	two, err := sam.LoadInstances(model, dec)
	require.NoError(t, err)
	training, err := sam.LoadInstances(saved(t,
		tensors(t, sam.Specs(tiny()), 4, func(n string) string {
			if rest, ok := cut(n, "image_encoder."); ok {
				return "model_state.encoder." + rest
			}
			return ""
		}), tensors(t, instance.Specs(tinyDecoder()), 5, under("model_state."))))
	require.NoError(t, err)
	want, err := one.Predict(t.Context(), picture(), sam.InstanceOptions{})
	require.NoError(t, err)
	for _, m := range []*sam.InstanceModel{two, training} {
		got, err := m.Predict(t.Context(), picture(), sam.InstanceOptions{})
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	assert.Equal(t, one.Fingerprint(), two.Fingerprint())
	_, err = two.Model()
	require.NoError(t, err)
	_, err = training.Model()
	require.ErrorIs(t, err, sam.ErrNoPrompts)

	_, err = sam.LoadInstances(model)
	assert.ErrorContains(t, err, "no instance decoder")
	_, err = sam.LoadInstances()
	assert.ErrorContains(t, err, "0 files, want one or two")
	wide := tinyDecoder()
	wide.Embed = 64
	_, err = sam.LoadInstances(model, saved(t, tensors(t, instance.Specs(wide), 5, under(""))))
	assert.ErrorContains(t, err, "decoder for embeddings of 64 channels, the model's have 32")
}

func cut(s, prefix string) (string, bool) {
	if len(s) > len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):], true
	}
	return s, false
}

// TestAsIs holds what is spread and what is not: a picture of less contrast has
// the same maps as long as it is spread.
func TestAsIs(t *testing.T) {
	m := tinyInstances(t, tinyDecoder())
	full, pale := image.NewRGBA(image.Rect(0, 0, 40, 30)), image.NewRGBA(image.Rect(0, 0, 40, 30))
	for i := range full.Pix {
		v := byte(i / 4 % 4) // of 0, 1, 2 and 3
		full.Pix[i], pale.Pix[i] = v*85, 100+v*10
		if i%4 == 3 {
			full.Pix[i], pale.Pix[i] = 255, 255
		}
	}
	maps := func(img image.Image, o sam.InstanceOptions) []float32 {
		p, err := m.Predict(t.Context(), img, o)
		require.NoError(t, err)
		return p.Foreground
	}
	plain := sam.InstanceOptions{AsIs: true}
	assert.Equal(t, maps(full, sam.InstanceOptions{}), maps(pale, sam.InstanceOptions{}))
	assert.Equal(t, maps(full, sam.InstanceOptions{}), maps(full, plain))
	assert.NotEqual(t, maps(pale, sam.InstanceOptions{}), maps(pale, plain))
}

// TestBundledInstances loads the bundled decoder both ways, and holds it to
// what its card promises: neither options nor what else is in a picture change
// its statistics, and colours stay as they are.
func TestBundledInstances(t *testing.T) {
	m, err := sam.BundledInstances()
	require.NoError(t, err)
	files, err := sam.LoadInstances("weights/bundled/model.safetensors", "weights/bundled/instances.safetensors")
	require.NoError(t, err)
	require.Equal(t, m.Fingerprint(), files.Fingerprint())
	img := bundled.Picture()
	want, err := m.Predict(t.Context(), img, sam.InstanceOptions{RunningStats: true, AsIs: true})
	require.NoError(t, err)
	got, err := files.Predict(t.Context(), img, sam.InstanceOptions{})
	require.NoError(t, err)
	for _, maps := range [][2][]float32{{want.Foreground, got.Foreground}, {want.Centre, got.Centre}, {want.Boundary, got.Boundary}} {
		assert.True(t, slices.Equal(maps[0], maps[1])) // Equal would print a million numbers
	}

	truth := bundled.Truth()
	found, err := got.Regions(t.Context(), sam.InstanceOptions{})
	require.NoError(t, err)
	hits := map[int32]bool{}
	for _, r := range found {
		of := map[int32]int{}
		for y := r.Mask.Bounds().Min.Y; y < r.Mask.Bounds().Max.Y; y++ {
			for x := r.Mask.Bounds().Min.X; x < r.Mask.Bounds().Max.X; x++ {
				if r.Mask.At(x, y) {
					of[truth.Nuclei[y*truth.W+x]]++
				}
			}
		}
		for k, n := range of {
			if k > 0 && 2*n > r.Mask.Area() {
				hits[k] = true
			}
		}
	}
	t.Logf("%d objects, %d of %d nuclei", len(found), len(hits), truth.N)
	assert.Greater(t, len(hits), truth.N*3/4)
	assert.Less(t, len(found), truth.N*5/4)
	for _, r := range found {
		assert.GreaterOrEqual(t, r.Mask.Area(), 25)
	}
	large, err := got.Regions(t.Context(), sam.InstanceOptions{MinSize: 600})
	require.NoError(t, err)
	assert.Less(t, len(large), len(found)/2)
}

func TestInstances(t *testing.T) {
	m := tinyInstances(t, tinyDecoder())
	// Random maps lie around a half.
	o := sam.InstanceOptions{ForegroundThreshold: 0.45, CentreThreshold: 0.6, BoundaryThreshold: 0.6}
	all, err := m.Segment(t.Context(), picture(), o)
	require.NoError(t, err)
	require.Greater(t, len(all), 2)
	var union *sam.Mask
	for _, r := range all {
		assert.True(t, r.Mask.At(int(r.Point.X), int(r.Point.Y)))
		assert.Equal(t, sam.Size{H: 90, W: 150}, r.Mask.Size())
		assert.GreaterOrEqual(t, r.IoUPred, float32(0.4))
		if union == nil {
			union = r.Mask
			continue
		}
		require.Zero(t, union.Intersection(r.Mask))
		union, err = union.Union(r.Mask)
		require.NoError(t, err)
	}
	running, err := m.Predict(t.Context(), picture(), sam.InstanceOptions{RunningStats: true})
	require.NoError(t, err)
	batch, err := m.Predict(t.Context(), picture(), sam.InstanceOptions{})
	require.NoError(t, err)
	assert.NotEqual(t, running.Foreground, batch.Foreground)

	_, err = m.Segment(t.Context(), picture(), sam.InstanceOptions{MinSize: -1})
	assert.ErrorContains(t, err, "sam: segment instances: instance: least size")
	_, err = m.Segment(t.Context(), nil, o)
	assert.ErrorContains(t, err, "no picture given")
	_, _, err = m.Classes(t.Context(), picture(), o)
	assert.ErrorContains(t, err, "a decoder of 3 maps, not of classes")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Segment(cancelled, picture(), o)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestClasses(t *testing.T) {
	c := tinyDecoder()
	c.Out = 6
	m := tinyInstances(t, c)
	classes, size, err := m.Classes(t.Context(), picture(), sam.InstanceOptions{RunningStats: true})
	require.NoError(t, err)
	assert.Equal(t, sam.Size{H: 90, W: 150}, size)
	seen := map[uint8]bool{}
	for _, k := range classes {
		seen[k] = true
	}
	assert.Greater(t, len(seen), 1)
	_, err = m.Segment(t.Context(), picture(), sam.InstanceOptions{})
	assert.ErrorContains(t, err, "a decoder of 6 classes")
}

// TestSegmentPrompted: objects do not overlap, are large enough, and are what
// the model says at a point of a seed.
func TestSegmentPrompted(t *testing.T) {
	m := tinyInstances(t, tinyDecoder())
	o := sam.InstanceOptions{ForegroundThreshold: 0.45, CentreThreshold: 0.6, BoundaryThreshold: 0.6, MinSize: 9}
	all, err := m.SegmentPrompted(t.Context(), picture(), o)
	require.NoError(t, err)
	require.NotEmpty(t, all)
	total := 0
	seen, err := sam.NewMask(sam.Size{H: 90, W: 150}, func(int, int) bool { return false })
	require.NoError(t, err)
	for _, r := range all {
		assert.GreaterOrEqual(t, r.Mask.Area(), 9)
		assert.GreaterOrEqual(t, r.Prompt, 0)
		total += r.Mask.Area()
		seen, err = seen.Union(r.Mask)
		require.NoError(t, err)
	}
	assert.Equal(t, total, seen.Area(), "overlap")
	again, err := m.SegmentPrompted(t.Context(), picture(), o)
	require.NoError(t, err)
	assert.Equal(t, all, again)
	none, err := m.SegmentPrompted(t.Context(), picture(), sam.InstanceOptions{ForegroundThreshold: 1.5})
	require.NoError(t, err)
	assert.Empty(t, none)
}

// TestInstancesOnSlide runs both ways over a slide in tiles.
func TestInstancesOnSlide(t *testing.T) {
	m := tinyInstances(t, tinyDecoder())
	s, err := sam.NewSlide(truthPyramid{}, 0.5)
	require.NoError(t, err)
	for _, prompted := range []bool{false, true} {
		f := m.Finder(sam.InstanceOptions{ForegroundThreshold: 0.45, CentreThreshold: 0.6, BoundaryThreshold: 0.6, MinSize: 9}, prompted)
		r, err := sam.SegmentSlide(t.Context(), s, t.TempDir(), f, sam.SegmentOptions{Tile: 128, Halo: 16, AllTiles: true, Disjoint: true, Region: image.Rect(0, 0, 200, 120)})
		require.NoError(t, err)
		assert.True(t, r.Merged)
		assert.Positive(t, r.Objects)
	}
}

// cellposeFile is a small Cellpose-SAM with random weights.
func cellposeFile(t *testing.T) string {
	t.Helper()
	c := vit.Config{ImageSize: 64, Patch: 8, Width: 32, Depth: 2, Heads: 2, HeadDim: 16, MLP: 64, Window: 14, Global: []int{1}, Out: 16}
	specs := append(weights.Specs(&struct {
		E *vit.Params `weight:"encoder"`
	}{vit.NewParams(c)}), weights.Spec{Name: "out.weight", Shape: []int{192, 16, 1, 1}}, weights.Spec{Name: "out.bias", Shape: []int{192}})
	eye := make([]float32, 192*192)
	for i := range 192 {
		eye[i*193] = 1
	}
	return saved(t, tensors(t, specs, 9, under("")), map[string]weights.TensorData{"W2": {Shape: []int{192, 3, 8, 8}, Data: eye}})
}

// TestCellpose finds cells in a picture and over a slide in tiles.
func TestCellpose(t *testing.T) {
	path := cellposeFile(t)
	m, err := sam.LoadCellpose(path)
	require.NoError(t, err)
	assert.Contains(t, m.Licence(), "CC-BY-NC")
	// Random flows meet nowhere in particular.
	o := sam.CellposeOptions{CellThreshold: -3, FlowThreshold: -1, MinSize: 5}
	all, err := m.Segment(t.Context(), picture(), o)
	require.NoError(t, err)
	require.Greater(t, len(all), 2)
	var union *sam.Mask
	for _, r := range all {
		assert.True(t, r.Mask.At(int(r.Point.X), int(r.Point.Y)))
		assert.Equal(t, sam.Size{H: 90, W: 150}, r.Mask.Size())
		assert.GreaterOrEqual(t, r.Mask.Area(), 5)
		if union == nil {
			union = r.Mask
			continue
		}
		require.Zero(t, union.Intersection(r.Mask))
		union, err = union.Union(r.Mask)
		require.NoError(t, err)
	}
	few, err := m.Segment(t.Context(), picture(), sam.CellposeOptions{CellThreshold: -3, FlowThreshold: 0.05})
	require.NoError(t, err)
	assert.Less(t, len(few), len(all))
	assert.NotEqual(t, m.Finder(o).Name, m.Finder(sam.CellposeOptions{}).Name)
	assert.Equal(t, m.Finder(sam.CellposeOptions{}).Name, m.Finder(sam.CellposeOptions{MinSize: 15}).Name)

	s, err := sam.NewSlide(truthPyramid{}, 0.5)
	require.NoError(t, err)
	r, err := sam.SegmentSlide(t.Context(), s, t.TempDir(), m.Finder(o), sam.SegmentOptions{Tile: 128, Halo: 16, AllTiles: true, Disjoint: true, Region: image.Rect(0, 0, 200, 120)})
	require.NoError(t, err)
	assert.True(t, r.Merged)
	assert.Positive(t, r.Objects)

	_, err = m.Segment(t.Context(), nil, o)
	assert.ErrorContains(t, err, "sam: segment cells: not a usable picture: no picture given")
	_, err = sam.LoadCellpose(saved(t, tensors(t, sam.Specs(tiny()), 4, under(""))))
	assert.ErrorContains(t, err, "no Cellpose-SAM model")
	_, err = sam.Load(path)
	assert.ErrorContains(t, err, "no Segment Anything model")
}
