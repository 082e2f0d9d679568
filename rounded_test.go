package sam_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/weights"
)

// distance is that of two embeddings, as a part of the first one's size.
func distance(a, b *sam.Embedding) float64 {
	x, _ := a.Tensor()
	y, _ := b.Tensor()
	var d, n float64
	for i, v := range x {
		d += float64(v-y[i]) * float64(v-y[i])
		n += float64(v) * float64(v)
	}
	return math.Sqrt(d / n)
}

// saveTiny writes a tiny model's weights to a file.
func saveTiny(t *testing.T, seed uint64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tiny.safetensors")
	require.NoError(t, weights.Random(sam.Specs(tiny()), seed).Save(t.Context(), path, weights.ConvertOptions{}))
	return path
}

// TestRounded: close to fp32 and never taken for it; a loaded model is the one
// that On makes, in less memory.
func TestRounded(t *testing.T) {
	ctx, path := t.Context(), saveTiny(t, 1)
	m, err := sam.Load(path)
	require.NoError(t, err)
	for _, tt := range []struct {
		device      string
		p           sam.Precision
		least, most float64 // distance
	}{
		// Rounding is not nothing, and to 8 bits, of one block of three, little.
		{sam.CPU, sam.INT8, 1e-5, 0.02},
		{sam.Auto, sam.INT8, 1e-5, 0.02},
		{sam.Auto, sam.FP16Weights, 1e-6, 2e-3},
	} {
		q, err := m.On(tt.device, tt.p)
		require.NoError(t, err)
		assert.Equal(t, sam.CPU, q.Device().Name)
		assert.NotEqual(t, m.Fingerprint(), q.Fingerprint())
		e, err := m.Embed(ctx, picture())
		require.NoError(t, err)
		e8, err := q.Embed(ctx, picture())
		require.NoError(t, err)
		d := distance(e, e8)
		assert.Greater(t, d, tt.least)
		assert.Less(t, d, tt.most)
		_, err = m.Predict(ctx, e8, sam.Prompt{}, sam.PredictOptions{})
		assert.Error(t, err, "an embedding of the other precision")
		_, err = q.Predict(ctx, e8, sam.Prompt{}, sam.PredictOptions{})
		assert.NoError(t, err)
		assert.NotEqual(t, q.Fingerprint(), q.Mirrored().Fingerprint())

		same, err := q.On(sam.CPU, sam.FP32)
		require.NoError(t, err)
		assert.Equal(t, m.Fingerprint(), same.Fingerprint())
		back, err := same.Embed(ctx, picture())
		require.NoError(t, err)
		assert.Zero(t, distance(e, back))

		l, err := sam.LoadIn(path, tt.p)
		require.NoError(t, err)
		assert.Equal(t, q.Fingerprint(), l.Fingerprint())
		el, err := l.Embed(ctx, picture())
		require.NoError(t, err)
		assert.Zero(t, distance(e8, el))
		fresh, err := sam.Load(path)
		require.NoError(t, err)
		assert.Less(t, l.Bytes(), fresh.Bytes())
	}
}

// TestRoundedFaults: weights that are rounded are not taken for those of the
// file.
func TestRoundedFaults(t *testing.T) {
	path := saveTiny(t, 2)
	l, err := sam.LoadIn(path, sam.INT8)
	require.NoError(t, err)
	_, err = l.On(sam.CPU, sam.FP32)
	assert.EqualError(t, err, "sam: on cpu in fp32: the weights were loaded in int8: load the file anew")
	_, err = l.On(sam.CPU, sam.INT8)
	assert.NoError(t, err)
	_, err = l.On("cuda:0", sam.INT8)
	assert.ErrorContains(t, err, "sam: on cuda:0 in int8: cuda: not available: only the CPU computes in int8")
	_, err = l.Graph(sam.ImageEncoder)
	assert.ErrorContains(t, err, "loaded in int8")
	_, err = sam.LoadIn(path, sam.BF16)
	assert.ErrorContains(t, err, "the CPU computes in fp32, int8 and fp16weights")

	tinyViT, err := sam.NewRandom(sam.MobileSAM(), 1)
	require.NoError(t, err)
	_, err = tinyViT.On(sam.CPU, sam.INT8)
	require.ErrorIs(t, err, sam.ErrNoDevice)
	assert.ErrorContains(t, err, "has no int8 form")
}

func TestPrecisionText(t *testing.T) {
	for _, p := range []sam.Precision{sam.FP32, sam.TF32, sam.FP16, sam.BF16, sam.INT8, sam.FP16Weights} {
		name, err := p.MarshalText()
		require.NoError(t, err)
		var back sam.Precision
		require.NoError(t, back.UnmarshalText(name))
		assert.Equal(t, p, back)
	}
	var p sam.Precision
	assert.EqualError(t, p.UnmarshalText([]byte("int4")), `sam: precision "int4": want fp32, int8 or fp16weights, or on a GPU tf32, fp16 or bf16`)
}
