package fewshot_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/fewshot"
)

// TestFind: the bundled decoder on synthetic nuclei, of which a part is not
// annotated.
func TestFind(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes seconds")
	}
	m, err := sam.BundledInstances()
	require.NoError(t, err)
	set, err := fewshot.Load(t.Context(), "one", fewshot.SyntheticFields(fewshot.HE, fewshot.FirstSlide, 1, 512))
	require.NoError(t, err)
	p := set.Pictures[0]
	all, err := fewshot.Find(t.Context(), m, set)
	require.NoError(t, err)
	c := all.Pooled()
	assert.Greater(t, c.TP, 20)
	objects := map[int32]bool{}
	for i, id := range p.Truth.Pix {
		if objects[id] = true; i%p.Truth.W >= p.Truth.W/2 {
			p.Truth.Pix[i] = 0 // the right half was not annotated
		}
	}
	assert.Equal(t, len(objects)-1, c.TP+c.FN)
	none, err := fewshot.Find(t.Context(), m, set)
	require.NoError(t, err)
	p.Known, err = sam.NewMask(sam.Size{H: p.Truth.H, W: p.Truth.W}, func(x, _ int) bool { return x < p.Truth.W/2 })
	require.NoError(t, err)
	half, err := fewshot.Find(t.Context(), m, set)
	require.NoError(t, err)
	assert.Greater(t, none.Pooled().FP, half.Pooled().FP+c.TP/4, "what was found where nothing is known does not count")
	assert.Less(t, half.Pooled().TP, c.TP)
	fields, err := set.Fields()
	require.NoError(t, err)
	assert.Same(t, p.Known, fields[0].Known)
	shows, err := fewshot.FoundGallery(set, none, half, 3)
	require.NoError(t, err)
	require.Len(t, shows, 1)
	assert.NotEqual(t, shows[0].Before, shows[0].After)
}

func TestCompareFound(t *testing.T) {
	before := &fewshot.Found{Data: "test", Counts: []eval.Counts{{TP: 1, FP: 1, FN: 1, SumIoU: 0.6}, {TP: 0, FN: 2}}}
	after := &fewshot.Found{Data: "test", Counts: []eval.Counts{{TP: 2, SumIoU: 1.6}, {TP: 1, FN: 1, SumIoU: 0.9}}}
	c, err := fewshot.CompareFound(before, after, 1)
	require.NoError(t, err)
	assert.Equal(t, []string{"2", "4", "0.333", "0.857", "0.200", "0.714", "+0.550 (+0.500 to +0.600)"}, c.Row())
	_, err = fewshot.CompareFound(before, &fewshot.Found{}, 1)
	assert.ErrorContains(t, err, "2 and 0 pictures")
}

func TestAt(t *testing.T) {
	set := &fewshot.Set{Pictures: []*eval.Picture{{MPP: 1}, {MPP: 2}, {MPP: 3}}}
	got := set.At("held back", []int{2, 0})
	assert.Equal(t, "held back", got.Name())
	require.Equal(t, 2, got.Len())
	assert.Equal(t, []float64{3, 1}, []float64{got.Pictures[0].MPP, got.Pictures[1].MPP})
}

func ExampleWriteFound() {
	before := &fewshot.Found{Data: "held back", Counts: []eval.Counts{{TP: 6, FP: 3, FN: 4, SumIoU: 4.2}, {TP: 5, FP: 4, FN: 5, SumIoU: 3.4}}}
	after := &fewshot.Found{Data: "held back", Counts: []eval.Counts{{TP: 8, FP: 1, FN: 2, SumIoU: 6.2}, {TP: 8, FP: 2, FN: 2, SumIoU: 6.1}}}
	c, err := fewshot.CompareFound(before, after, 1)
	if err != nil {
		panic(err)
	}
	if err := fewshot.WriteFound(os.Stdout, []fewshot.FoundChange{c}); err != nil {
		panic(err)
	}
	// Output:
	// pictures  objects  F1 at IoU 0.5             PQ                        gain in PQ
	//        data                            before  after  before  after         of a picture, 95 %
	//   held back         2       20          0.579  0.821   0.400  0.631  +0.231 (+0.211 to +0.252)
}
