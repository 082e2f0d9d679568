package dataset_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval/dataset"
)

// TestCOCOWriter writes what COCO reads: the same pixels and classes.
func TestCOCOWriter(t *testing.T) {
	var out bytes.Buffer
	w := dataset.NewCOCOWriter(&out)
	size := sam.Size{H: 5, W: 6}
	ring, err := sam.NewMask(size, func(x, y int) bool { return x < 4 && y < 4 && (x != 1 || y != 2) })
	require.NoError(t, err)
	dot, err := sam.NewMask(size, func(x, y int) bool { return x == 5 && y == 4 })
	require.NoError(t, err)
	empty, err := sam.NewMask(size, func(int, int) bool { return false })
	require.NoError(t, err)
	assert.ErrorContains(t, w.Object(ring, "a", 1), "call Image first")
	require.NoError(t, w.Image("p.png", size))
	require.NoError(t, w.Object(ring, "gland", 0.75))
	require.NoError(t, w.Object(dot, "", 1))
	assert.ErrorContains(t, w.Object(empty, "a", 1), "a mask of 0 pixels")
	require.NoError(t, w.Image("q.png", sam.Size{H: 9, W: 9}))
	assert.ErrorContains(t, w.Object(dot, "a", 1), "want one on 9 x 9")
	require.NoError(t, w.Close())
	assert.Contains(t, out.String(), `"area":15,"bbox":[0,0,4,4],"iscrowd":0,"score":0.75`)

	dir := tree(t, map[string]any{"i/p.png": rgb(6, 5), "i/q.png": rgb(9, 9), "a.json": out.String()})
	s, err := dataset.COCO("c", dir+"/a.json", dir+"/i", 0)
	require.NoError(t, err)
	assert.Equal(t, []string{"gland", "object"}, s.Classes())
	p := load(t, s, 0)
	assert.Equal(t, []int32{
		1, 1, 1, 1, 0, 0,
		1, 1, 1, 1, 0, 0,
		1, 0, 1, 1, 0, 0,
		1, 1, 1, 1, 0, 0,
		0, 0, 0, 0, 0, 2,
	}, p.Truth.Pix)
	assert.Equal(t, map[int32]int{1: 0, 2: 1}, p.Class)
	assert.Zero(t, load(t, s, 1).Truth.Mask().Area())

	out.Reset()
	require.NoError(t, dataset.NewCOCOWriter(&out).Close())
	assert.JSONEq(t, `{"annotations":[],"images":[],"categories":[]}`, out.String())
	assert.ErrorContains(t, dataset.NewCOCOWriter(full{}).Image("a", size), "full")
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }
