package weights_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/nlpodyssey/safetensors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

func TestDTypeAndLayoutStrings(t *testing.T) {
	for d, want := range map[weights.DType]struct {
		name string
		size int
	}{
		weights.Float32: {"float32", 4}, weights.Float64: {"float64", 8}, weights.Float16: {"float16", 2},
		weights.BFloat16: {"bfloat16", 2}, weights.Int64: {"int64", 8}, weights.Int32: {"int32", 4},
		weights.Int16: {"int16", 2}, weights.Int8: {"int8", 1}, weights.Uint8: {"uint8", 1},
		weights.Bool: {"bool", 1}, weights.Bool + 1: {"DType(10)", 0},
	} {
		assert.Equal(t, want.name, d.String())
		assert.Equal(t, want.size, d.Size())
	}
	for l, want := range map[weights.Layout]string{
		weights.Original: "original", weights.Trainer: "micro-sam trainer", weights.MedSAM: "MedSAM training",
		weights.HuggingFace: "Hugging Face", weights.LoRA: "micro-sam LoRA", weights.Adapters: "adapters", weights.Adapters + 1: "Layout(6)",
	} {
		assert.Equal(t, want, l.String())
	}
}

// halfValue computes a half's value as IEEE 754 defines it.
func halfValue(h uint16) float64 {
	sign := 1.0
	if h&0x8000 != 0 {
		sign = -1
	}
	exp, man := int(h>>10&0x1f), float64(h&0x3ff)
	if exp == 0 {
		return sign * math.Ldexp(man, -24)
	}
	return sign * math.Ldexp(1024+man, exp-25)
}

// TestHalfEvery reads and writes every finite half.
func TestHalfEvery(t *testing.T) {
	var b []byte
	var want []float32
	for h := range 1 << 16 {
		if h>>10&0x1f == 0x1f {
			continue
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(h))
		want = append(want, float32(halfValue(uint16(h))))
	}
	c := openPath(t, writeSafetensors(t, map[string]safetensors.TensorView{
		"mask_decoder.a": stView(t, safetensors.F16, []uint64{uint64(len(want))}, b...)}))
	got := values(t, c, "mask_decoder.a")
	require.Equal(t, len(want), len(got))
	for i := range want {
		require.Equal(t, math.Float32bits(want[i]), math.Float32bits(got[i]), "%d", i)
	}

	dst := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, c.Save(t.Context(), dst, weights.ConvertOptions{DType: weights.Float16}))
	out, err := os.ReadFile(dst)
	require.NoError(t, err)
	assert.Equal(t, b, out[len(out)-len(b):])
}

// TestHalfRounding compares with the nearest of the two halves around a value,
// found by bisection, the even one on a tie.
func TestHalfRounding(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var x []float32
	for h := range uint16(0x7bff) { // halfway points are ties
		lo, hi := halfValue(h), halfValue(h+1)
		x = append(x, float32((lo+hi)/2), -float32((lo+hi)/2))
		for range 2 {
			x = append(x, float32(lo+(hi-lo)*rng.Float64()))
		}
		x = append(x, math.Nextafter32(float32((lo+hi)/2), 0), math.Nextafter32(float32((lo+hi)/2), 1e6))
	}
	x = append(x, math.SmallestNonzeroFloat32, 65519, -65519, 65504)
	c := weights.FromTensors(map[string]weights.TensorData{"mask_decoder.a": {Shape: []int{len(x)}, Data: x}})
	dst := filepath.Join(t.TempDir(), "x.npz")
	require.NoError(t, c.Save(t.Context(), dst, weights.ConvertOptions{DType: weights.Float16}))
	got := values(t, openPath(t, dst), "mask_decoder.a")
	for i, v := range x {
		abs := math.Abs(float64(v))
		lo, hi := uint16(0), uint16(0x7bff)
		for hi-lo > 1 {
			if mid := (lo + hi) / 2; halfValue(mid) <= abs {
				lo = mid
			} else {
				hi = mid
			}
		}
		want := halfValue(lo)
		below, above := abs-halfValue(lo), halfValue(hi)-abs
		if above < below || above == below && hi%2 == 0 {
			want = halfValue(hi)
		}
		require.Equal(t, float32(math.Copysign(want, float64(v))), got[i], "%v", v)
	}
}

func ExampleOpen() {
	c, err := weights.Open("testdata/trainer.pt")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	t, err := c.Tensor("image_encoder.blocks.0.attn.qkv.weight")
	if err != nil {
		fmt.Println(err)
		return
	}
	x, err := t.Float32s()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Layout(), len(c.Names()), t.Shape, t.DType)
	fmt.Printf("%.4f\n", x[:3])
	t.Release()
	// Output:
	// micro-sam trainer 124 [24 8] float32
	// [0.5989 0.3476 -0.1759]
}

func ExampleOpen_refused() {
	_, err := weights.Open("testdata/sam2.pt")
	fmt.Println(err)
	// Output:
	// weights: open testdata/sam2.pt: a SAM 2 (or later) checkpoint, or one made of it such as MedSAM2, which is another architecture: use a SAM checkpoint such as sam_vit_b_01ec64.pth
}

func ExampleFromTensors() {
	c := weights.FromTensors(map[string]weights.TensorData{
		"mask_decoder.iou_token.weight": {Shape: []int{1, 2}, Data: []float32{0.5, -1}},
	})
	fmt.Println(c.Names())
	fmt.Println(c.Shape("mask_decoder.iou_token.weight"))
	// Output:
	// [mask_decoder.iou_token.weight]
	// [1 2] true
}

func ExampleSpecs() {
	var net struct {
		Norm struct {
			Weight weights.Param `weight:"weight"`
			Bias   weights.Param `weight:"bias,optional"`
		} `weight:"blocks.0.norm1"`
	}
	net.Norm.Weight.Shape = []int{8}
	fmt.Println(weights.Specs(&net))
	// Output:
	// [{blocks.0.norm1.weight [8]}]
}
