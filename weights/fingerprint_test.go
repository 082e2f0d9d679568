package weights_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// TestFingerprintFormats: the same weights give the same fingerprint whatever
// the file. ExampleCheckpoint_Fingerprint holds its value, which must not change
// from release to release: saved embeddings carry it.
func TestFingerprintFormats(t *testing.T) {
	var want [16]byte
	for i, file := range []string{"original.pth", "original_torch113.pth", "nested.pth", "trainer.pt", "medsam.pth",
		"medsam_ddp.pth", "hf.bin", "hf.safetensors", "original.npz", "compressed.npz"} {
		got, err := open(t, file).Fingerprint()
		require.NoError(t, err)
		if i == 0 {
			want = got
		}
		assert.Equal(t, want, got, file)
	}
	ref := open(t, "original.pth")
	got, err := weights.Random(specsOf(t, ref), seed).Fingerprint()
	require.NoError(t, err)
	assert.Equal(t, want, got)
	for _, file := range []string{"lora.pt", "bfloat16.safetensors"} {
		got, err := open(t, file).Fingerprint()
		require.NoError(t, err)
		assert.NotEqual(t, want, got, file)
	}
}

// TestFingerprintSensitive: any change of a name, a shape or a bit shows.
func TestFingerprintSensitive(t *testing.T) {
	seen := map[[16]byte]string{}
	add := func(what string, tensors map[string]weights.TensorData) {
		got, err := weights.FromTensors(tensors).Fingerprint()
		require.NoError(t, err)
		assert.Empty(t, seen[got], what)
		seen[got] = what
	}
	base := func() map[string]weights.TensorData {
		return map[string]weights.TensorData{"a": data(3, 7), "b": data(16)}
	}
	add("base", base())
	for i := range 21 {
		for bit := range 30 { // not the top of the exponent: no infinities
			m := base()
			m["a"].Data[i] = math.Float32frombits(math.Float32bits(m["a"].Data[i]) ^ 1<<bit)
			add("bit", m)
		}
	}
	for _, shape := range [][]int{{7, 3}, {21}, {1, 21}, {3, 7, 1}} {
		m := base()
		m["a"] = weights.TensorData{Shape: shape, Data: m["a"].Data}
		add("shape", m)
	}
	m := base()
	m["c"] = m["b"]
	add("one more", m)
	delete(m, "b")
	add("renamed", m)
	add("fewer", map[string]weights.TensorData{"a": data(3, 7)})
	add("none", nil)

	m = base()
	m["pixel_mean"] = data(3) // ignored, as Bind ignores it
	got, err := weights.FromTensors(m).Fingerprint()
	require.NoError(t, err)
	assert.Equal(t, "base", seen[got])
}

func TestFingerprintNaN(t *testing.T) {
	_, err := open(t, "nan.pth").Fingerprint()
	require.ErrorIs(t, err, weights.ErrNotFinite)
	require.EqualError(t, err, "weights: fingerprint: read mask_decoder.iou_token.weight: element 2 of [2 2] is NaN: not a finite weight")
}

func ExampleCheckpoint_Fingerprint() {
	c, err := weights.Open("testdata/hf.safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	sum, err := c.Fingerprint()
	fmt.Printf("%x %v\n", sum, err)
	// Output:
	// 56a55b49f498ab27530a03b54af28492 <nil>
}
