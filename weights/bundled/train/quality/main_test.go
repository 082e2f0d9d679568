package main

import (
	"context"
	"image"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

func grid(rows ...string) ([]bool, int, int) {
	var m []bool
	for _, r := range rows {
		for _, c := range r {
			m = append(m, c == '#')
		}
	}
	return m, len(rows[0]), len(rows)
}

func TestObjects(t *testing.T) {
	m, w, h := grid(
		"###...#",
		"###..##",
		"####...",
		"....#..",
	)
	lab := components(m, w, h)
	obj := find(lab, w, h, 2)
	require.Len(t, obj, 2, "the lone pixel touches at a corner only")
	assert.Equal(t, image.Rect(0, 0, 4, 3), obj[0].box)
	assert.Equal(t, image.Rect(5, 0, 7, 2), obj[1].box)
	assert.Len(t, obj[0].pix, 10)
	assert.Equal(t, sam.Point{X: 1.5, Y: 1.5, Label: sam.Foreground}, obj[0].centre())
	k, err := sam.NewMask(sam.Size{H: h, W: w}, func(x, y int) bool { return x < 2 && y < 3 })
	require.NoError(t, err)
	// Of its box of 4 x 3 the ellipse leaves out the corners; of the other 8 the object lacks one.
	assert.InDelta(t, 2*7.0/18, obj[0].ellipse(), 1e-12)
	d, iou := obj[0].agree(k)
	assert.InDelta(t, 12.0/16, d, 1e-12)
	assert.InDelta(t, 6.0/10, iou, 1e-12)
}

func TestSpread(t *testing.T) {
	obj := make([]*object, 10)
	for i := range obj {
		obj[i] = &object{w: i}
	}
	assert.Len(t, spread(obj, 20), 10)
	got := spread(obj, 3)
	assert.Equal(t, []int{0, 3, 6}, []int{got[0].w, got[1].w, got[2].w})
}

func TestWindows(t *testing.T) {
	b := image.Rect(5, 7, 105, 107) // objects count from the picture's first pixel
	at := func(x0, y0, x1, y1 int) *object { return &object{box: image.Rect(x0, y0, x1, y1)} }
	whole := windows(b, 0, []*object{at(0, 0, 9, 9)})
	require.Len(t, whole, 1)
	assert.Equal(t, b, whole[0].Rectangle)
	assert.Len(t, whole[0].obj, 1)
	assert.Len(t, windows(b, 100, nil), 1)

	corner, left, last := at(0, 0, 9, 9), at(0, 40, 9, 49), at(70, 80, 100, 100)
	got := windows(b, 64, []*object{corner, left, last})
	require.Len(t, got, 4, "36 of 100 pixels are left: one step of at most 48")
	assert.Equal(t, image.Rect(5, 7, 69, 71), got[0].Rectangle)
	assert.Equal(t, image.Rect(41, 43, 105, 107), got[3].Rectangle)
	assert.Equal(t, []*object{corner, left}, got[0].obj, "left is 15 from the first's border, 4 from the lower one's")
	assert.Equal(t, []*object{last}, got[3].obj)
	assert.Equal(t, []int{0, 25, 50, 75}, starts(115, 40))
}

func TestDice(t *testing.T) {
	a, _, _ := grid("##..")
	b, _, _ := grid(".##.")
	assert.Equal(t, 0.5, dice(a, b))
	assert.Equal(t, 1.0, dice(a, a))
	assert.Equal(t, 0.0, dice(make([]bool, 4), make([]bool, 4)))
}

// The whole path, on one slide and few objects: the card's figures come from
// many more.
func TestBundledSegments(t *testing.T) {
	m, err := load("bundled")
	require.NoError(t, err)
	s, err := objects(context.Background(), m, kinds["nuclei"], 1, 1, 6)
	require.NoError(t, err)
	assert.Equal(t, 6, s.n)
	assert.Greater(t, s.whole.box, 0.8, "the card's mean is 0.93")
	assert.GreaterOrEqual(t, s.local.box, s.whole.box, "a tight box holds all of its object")
	t.Log(s)
	other, err := objects(context.Background(), m, kinds["nuclei"], 1, 501, 6)
	require.NoError(t, err)
	assert.NotEqual(t, s.ellipse, other.ellipse, "another slide, other nuclei")
	assert.ErrorContains(t, run("", sam.FP32, "", "", []string{"cells"}, 1, 1, 1, 0, 0, false), `kind "cells", want nuclei, glands or tumour`)
}

// Points by stain and the instance decoder through slides and their files, on
// one slide: the card's figures come from more.
func TestUnprompted(t *testing.T) {
	all, err := methods(nil, 1)
	require.NoError(t, err)
	img, truth := middle(4, 0.25)
	require.NotNil(t, img)
	part, ok := img.SubImage(image.Rect(0, 0, 320, 320)).(*image.RGBA)
	require.True(t, ok)
	lab := make([]int32, 320*320)
	for i := range lab {
		lab[i] = truth.Nuclei[i/320*truth.W+i%320]
	}
	var a agreement
	for _, m := range all[:2] { // apg has hundreds of points
		a, err = m.measure(t.Context(), part, lab, 30, "slide", t.TempDir())
		require.NoError(t, err)
		t.Log(m.name, a)
		assert.Greater(t, a.TP+a.FN, 10)
		assert.Greater(t, a.F1(eval.EmptyNaN), 0.5)
		assert.Less(t, a.PQ(eval.EmptyNaN), a.F1(eval.EmptyNaN))
	}
	assert.ErrorContains(t, unprompted(t.Context(), nil, "boxes", "", "", 1, 1, 1), `method "boxes"`)
	coarse, err := methods(nil, 2)
	require.NoError(t, err)
	b, err := coarse[0].measure(t.Context(), part, lab, 30, "slide", t.TempDir())
	require.NoError(t, err)
	t.Log("half as fine", b)
	assert.Equal(t, a.TP+a.FN, b.TP+b.FN, "searched, and compared, as fine")
	assert.Greater(t, b.F1(eval.EmptyNaN), 0.4)

	var s sums
	s.add(agreement{Counts: eval.Counts{TP: 3, FP: 1, FN: 0, SumIoU: 2.4}, aji: eval.Aggregated{Inter: 5, Total: 10}})
	s.add(agreement{Counts: eval.Counts{TP: 0, FP: 0, FN: 2}, aji: eval.Aggregated{Total: 10}})
	assert.Equal(t, "2 pictures: F1 0.429, PQ 0.343, AJI 0.250; pooled: true 5, found 4, recall 0.600, precision 0.750, F1 0.667, PQ 0.533, AJI 0.250", s.String())
}

func TestMissingFiles(t *testing.T) {
	_, err := load("none.safetensors")
	assert.Error(t, err)
	_, _, err = readPair("none.jpg", "none.jpg")
	assert.Error(t, err)
}
