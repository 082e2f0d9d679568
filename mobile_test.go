package sam_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/tensortest"
	"github.com/slidesam/sam/weights"
)

// TestMobileSAM loads a file as MobileSAM's and micro-sam's vit_t, without
// being told what it is, and compares with MobileSAM's own predictor.
func TestMobileSAM(t *testing.T) {
	if testing.Short() {
		t.Skip("full size")
	}
	f, err := golden.Load("mobile_full")
	require.NoError(t, err)
	var meta struct {
		Size  golden.Size
		Seed  uint64
		Point [2]float64
		Torch string
	}
	require.NoError(t, f.Meta(&meta))
	cfg := sam.MobileSAM()
	specs := append(sam.Specs(cfg), weights.Spec{Name: "image_encoder.head.weight", Shape: []int{1000, 320}},
		weights.Spec{Name: "image_encoder.norm_head.weight", Shape: []int{320}}, weights.Spec{Name: "image_encoder.patch_embed.seq.0.bn.num_batches_tracked", Shape: []int{}})
	m, err := sam.Load(saved(t, tensors(t, specs, meta.Seed, under(""))))
	require.NoError(t, err)
	assert.Equal(t, cfg, m.Config())
	e, err := m.Embed(t.Context(), golden.Picture(meta.Size, meta.Seed))
	require.NoError(t, err)
	data, _ := e.Tensor()
	want, err := f.Float32s("embedding")
	require.NoError(t, err)
	got, err := want.Pick(data)
	require.NoError(t, err)
	assert.Less(t, tensortest.RelL2(want.Data, got), 1e-5)
	p, err := m.Predict(t.Context(), e, sam.Prompt{Points: []sam.Point{{X: meta.Point[0], Y: meta.Point[1], Label: sam.Foreground}}}, sam.PredictOptions{})
	require.NoError(t, err)
	iou, err := f.Float32s("iou")
	require.NoError(t, err)
	tensortest.Close(t, iou.Data, p.IoUPred, 1e-4, 0)
	masks, err := f.Masks("masks")
	require.NoError(t, err)
	for i, mask := range p.Masks {
		differ := 0
		stored := masks.Stored(i)
		for k, v := range stored {
			if v != mask.At(k%masks.W, k/masks.W*masks.RowStep) {
				differ++
			}
		}
		// Pixels whose logits are within a rounding of 0.
		assert.LessOrEqual(t, differ, 2, "mask %d: pixels of %d", i, len(stored))
		t.Logf("mask %d: %d pixels of %d differ", i, differ, len(stored))
	}
}

// TestMobileSAMState loads a file with the tensors that MobileSAM's own code
// makes, by name and shape: neither more nor fewer.
func TestMobileSAMState(t *testing.T) {
	f, err := golden.Load("mobile_state")
	require.NoError(t, err)
	var meta struct {
		Weights []string
		Shapes  [][]int
		Torch   string
	}
	require.NoError(t, f.Meta(&meta))
	require.Len(t, meta.Shapes, len(meta.Weights))
	var specs []weights.Spec
	has := map[string]bool{}
	for i, name := range meta.Weights {
		specs = append(specs, weights.Spec{Name: name, Shape: meta.Shapes[i]})
		has[name] = true
	}
	for _, s := range sam.Specs(sam.MobileSAM()) {
		assert.True(t, has[s.Name], "%s is not in MobileSAM", s.Name)
	}
	m, err := sam.Load(saved(t, tensors(t, specs, 1, under(""))))
	require.NoError(t, err)
	assert.Equal(t, sam.MobileSAM(), m.Config())
}

func TestMobileSAMConfig(t *testing.T) {
	c := sam.MobileSAM()
	require.NoError(t, c.Validate())
	c.Encoder.Out = 128
	assert.ErrorContains(t, c.Validate(), "for this TinyViT")
	c = sam.MobileSAM()
	c.TinyViT.Stages[2].Window = 0
	assert.ErrorContains(t, c.Validate(), "Stages[2].Window is 0")
}
