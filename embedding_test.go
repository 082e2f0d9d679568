package sam_test

import (
	"bytes"
	"context"
	"image"
	"image/draw"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/tensortest"
)

func TestEmbeddingFiles(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 1)
	e, err := m.Embed(ctx, picture())
	require.NoError(t, err)
	want, err := m.PredictBatch(ctx, e, prompts(nil), sam.PredictOptions{})
	require.NoError(t, err)
	dir := t.TempDir()
	for name, half := range map[string]bool{"float32": false, "float16": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			require.NoError(t, e.Save(path, half))
			got, err := m.LoadEmbedding(path)
			require.NoError(t, err)
			assert.Equal(t, e.PictureSize(), got.PictureSize())
			assert.Equal(t, e.Fingerprint(), got.Fingerprint())
			require.NoError(t, got.Of(picture()))
			other := image.NewRGBA(picture().Bounds())
			draw.Draw(other, other.Rect, picture(), other.Rect.Min, draw.Src)
			require.NoError(t, got.Of(other), "another type of image")
			other.Pix[5] ^= 1
			assert.ErrorIs(t, got.Of(other), sam.ErrOtherPicture)
			assert.ErrorIs(t, got.Of(other.SubImage(image.Rect(0, 0, 20, 20))), sam.ErrOtherPicture)
			assert.ErrorContains(t, got.Of(nil), "no picture given")
			a, _ := e.Tensor()
			b, shape := got.Tensor()
			assert.Equal(t, [3]int{32, 16, 16}, shape)
			ps, err := m.PredictBatch(ctx, got, prompts(nil), sam.PredictOptions{})
			require.NoError(t, err)
			if half {
				tensortest.Close(t, a, b, 1e-7, 1.0/2048) // float16 has 11 bits
				return
			}
			assert.Equal(t, a, b)
			for i := range want {
				equalPrediction(t, want[i], ps[i])
			}
		})
	}
	full, err := os.Stat(filepath.Join(dir, "float32"))
	require.NoError(t, err)
	short, err := os.Stat(filepath.Join(dir, "float16"))
	require.NoError(t, err)
	assert.Equal(t, int64(2*32*16*16), full.Size()-short.Size())
}

func TestEmbeddingFileErrors(t *testing.T) {
	m := tinyModel(t, 1)
	e, err := m.Embed(context.Background(), picture())
	require.NoError(t, err)
	var buf bytes.Buffer
	n, err := e.WriteTo(&buf)
	require.NoError(t, err)
	assert.Equal(t, int64(buf.Len()), n)
	whole := buf.Bytes()

	_, err = m.ReadEmbedding(bytes.NewReader(whole[:len(whole)-5]))
	assert.ErrorIs(t, err, sam.ErrEmbeddingFile)
	flipped := bytes.Clone(whole)
	flipped[1000] ^= 4
	_, err = m.ReadEmbedding(bytes.NewReader(flipped))
	assert.ErrorIs(t, err, sam.ErrEmbeddingFile)
	_, err = tinyModel(t, 2).ReadEmbedding(bytes.NewReader(whole))
	assert.ErrorIs(t, err, sam.ErrOtherModel)
	_, err = m.LoadEmbedding(filepath.Join(t.TempDir(), "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)

	missing := filepath.Join(t.TempDir(), "folder", "e")
	assert.ErrorContains(t, e.Save(missing, false), "sam: save embedding "+missing+": ")
	assert.NoFileExists(t, missing)

	damaged := filepath.Join(t.TempDir(), "damaged")
	require.NoError(t, os.WriteFile(damaged, flipped, 0o600))
	_, err = m.LoadEmbedding(damaged)
	assert.ErrorIs(t, err, sam.ErrEmbeddingFile)
	assert.ErrorContains(t, err, "sam: read embedding "+damaged+": ")
}
