package weights_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

const (
	indexFile = "model.safetensors.index.json"
	part1     = "model-00001-of-00002.safetensors"
	part2     = "model-00002-of-00002.safetensors"
)

// inParts writes the tensors of testdata/hf.safetensors as two files and their
// index, as save_pretrained does, and returns the index as it is written.
func inParts(t testing.TB, dir string) map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/hf.safetensors")
	require.NoError(t, err)
	parts, at := [2]map[string]weights.TensorData{{}, {}}, map[string]string{}
	raw, err := weights.OpenRaw(b)
	require.NoError(t, err)
	for i, name := range raw.Names() {
		x, err := raw.Tensor(name)
		require.NoError(t, err)
		v, err := x.Float32s()
		require.NoError(t, err)
		parts[i%2][name] = weights.TensorData{Shape: x.Shape, Data: v}
		at[name] = [2]string{part1, part2}[i%2]
	}
	for i, file := range []string{part1, part2} {
		require.NoError(t, weights.FromTensors(parts[i]).Save(t.Context(), filepath.Join(dir, file), weights.ConvertOptions{}))
	}
	writeIndex(t, dir, at)
	return at
}

func writeIndex(t testing.TB, dir string, at map[string]string) {
	t.Helper()
	b, err := json.MarshalIndent(map[string]any{"metadata": map[string]any{"total_size": 1234}, "weight_map": at}, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, indexFile), b, 0o600))
}

// TestOpenParts: a model in two files is the one in one file.
func TestOpenParts(t *testing.T) {
	dir := t.TempDir()
	inParts(t, dir)
	c, err := weights.Open(filepath.Join(dir, indexFile))
	require.NoError(t, err)
	whole := open(t, "hf.safetensors")
	assert.Equal(t, weights.HuggingFace, c.Layout())
	assert.Equal(t, whole.Names(), c.Names())
	a, err := whole.Fingerprint()
	require.NoError(t, err)
	b, err := c.Fingerprint()
	require.NoError(t, err)
	assert.Equal(t, a, b)
	require.NoError(t, c.Unchanged())
	require.NoError(t, os.Truncate(filepath.Join(dir, part2), 100))
	require.ErrorIs(t, c.Unchanged(), weights.ErrChanged)
	require.NoError(t, c.Close())
	x, err := c.Tensor(c.Names()[0])
	require.NoError(t, err)
	_, err = x.Float32s()
	assert.ErrorIs(t, err, weights.ErrClosed)
}

func TestOpenPartsErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, dir string, at map[string]string)
		want   string
	}{
		{"missing part", func(t *testing.T, dir string, _ map[string]string) {
			require.NoError(t, os.Remove(filepath.Join(dir, part2)))
		}, part2 + ", a part of the model that the index names, is missing: download it"},
		{"damaged part", func(t *testing.T, dir string, _ map[string]string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, part2), 100))
		}, "part " + part2 + ": safetensors header"},
		{"tensor not in its part", func(t *testing.T, dir string, at map[string]string) {
			at["mask_decoder.extra"] = part1
			writeIndex(t, dir, at)
		}, "mask_decoder.extra: missing in the part " + part1},
		{"tensor not in the index", func(t *testing.T, dir string, at map[string]string) {
			delete(at, "vision_encoder.pos_embed")
			writeIndex(t, dir, at)
		}, "vision_encoder.pos_embed: in the part "},
		{"tensor elsewhere", func(t *testing.T, dir string, at map[string]string) {
			for _, file := range []string{part1, part2} {
				if at["vision_encoder.pos_embed"] != file {
					at["vision_encoder.pos_embed"] = file
					break
				}
			}
			writeIndex(t, dir, at)
		}, "but the index has it in "},
		{"tensor in two parts", func(t *testing.T, dir string, at map[string]string) {
			require.NoError(t, os.Remove(filepath.Join(dir, part2)))
			b, err := os.ReadFile(filepath.Join(dir, part1))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, part2), b, 0o600))
		}, "but the index has it in " + part1},
		{"named twice", func(t *testing.T, dir string, _ map[string]string) {
			text := `{"weight_map": {"a": "` + part1 + `", "a": "` + part2 + `"}}`
			require.NoError(t, os.WriteFile(filepath.Join(dir, indexFile), []byte(text), 0o600))
		}, `index: two tensors named "a"`},
		{"another folder", func(t *testing.T, dir string, at map[string]string) {
			at["a"] = "../" + part1
			writeIndex(t, dir, at)
		}, "want the name of one beside the index"},
		{"empty", func(t *testing.T, dir string, _ map[string]string) { writeIndex(t, dir, nil) }, "index: weight_map is no object"},
		{"not JSON", func(t *testing.T, dir string, _ map[string]string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, indexFile), []byte(`{"weight_map": {"a": 1`), 0o600))
		}, "index: unexpected end of JSON input"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.change(t, dir, inParts(t, dir))
			_, err := weights.Open(filepath.Join(dir, indexFile))
			require.ErrorIs(t, err, weights.ErrFormat)
			assert.ErrorContains(t, err, tt.want)
		})
	}
	dir := t.TempDir()
	inParts(t, dir)
	_, err := weights.Open(filepath.Join(dir, part2))
	assert.ErrorContains(t, err, "part 00002 of 00002 of a model in several files: open its index, "+indexFile)
	b, err := os.ReadFile(filepath.Join(dir, indexFile))
	require.NoError(t, err)
	_, err = weights.OpenBytes(b)
	assert.ErrorContains(t, err, "open it where the files lie")
}

// FuzzOpenParts puts any index beside two files.
func FuzzOpenParts(f *testing.F) {
	dir := f.TempDir()
	at := inParts(f, dir)
	b, err := json.Marshal(map[string]any{"weight_map": at})
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte(`{"weight_map": {"mask_decoder.a": "` + part1 + `"}}`))
	f.Add([]byte(`{"weight_map": {"a": "` + indexFile + `"}}`))
	f.Add([]byte(`{"weight_map": ` + strings.Repeat(`[`, 100)))
	f.Add([]byte(`{"weight_map": {"a": ".", "b": ".."}}`))
	n := 0
	f.Fuzz(func(t *testing.T, index []byte) {
		n++
		path := filepath.Join(dir, strconv.Itoa(n)+".json")
		require.NoError(t, os.WriteFile(path, index, 0o600))
		defer os.Remove(path)
		c, err := weights.Open(path)
		if err != nil {
			require.ErrorIs(t, err, weights.ErrFormat)
			return
		}
		require.NoError(t, c.Close())
	})
}
