package jpeg2000

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestImplementations says what is tested, and fails where a gate should run the
// assembly and cannot.
func TestImplementations(t *testing.T) {
	t.Logf("in use: %s of %d", impl.name, len(implementations()))
	require.Equal(t, impl.name, implementations()[0].name)
	if lack := missing(); len(lack) > 0 && os.Getenv("CI") == "true" && !strings.Contains(os.Getenv("GODEBUG"), "cpu.") {
		t.Fatalf("this CPU cannot run %v", lack)
	}
}

// canary stands around outputs.
const canary = 0x7fabcdef

// ints are n random values at an offset of a longer slice, canaries around them.
func ints(r *rand.Rand, n, off int) (all, in []int32) {
	all = make([]int32, n+off+16)
	for i := range all {
		all[i] = canary
	}
	in = all[off : off+n]
	for i := range in {
		in[i] = int32(r.Uint32()) >> (r.UintN(4) * 8)
	}
	return all, in
}

func reals(r *rand.Rand, n, off int) (all, in []int32) {
	special := []float32{127.5, -128.5, 0.5, 1.5, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 3e9, -3e9, 2147483520}
	all, in = ints(r, n, off)
	for i := range in {
		v := float32(r.NormFloat64() * 120)
		if r.UintN(8) == 0 {
			v = special[r.IntN(len(special))]
		}
		in[i] = int32(math.Float32bits(v))
	}
	return all, in
}

// kernelTests call one kernel on rows a, b and c; out has len(a) values, or twice
// as many for interleave.
var kernelTests = []struct {
	name  string
	float bool
	twice bool
	call  func(k *kernels, out, a, b, c []int32)
}{
	{"low53", false, false, func(k *kernels, out, a, b, c []int32) { k.low53(out, a, b, c) }},
	{"low53 in place", false, false, func(k *kernels, out, a, b, c []int32) { copy(out, a); k.low53(out, out, b, c) }},
	{"high53", false, false, func(k *kernels, out, a, b, c []int32) { k.high53(out, a, b, c) }},
	{"high53 of one row", false, false, func(k *kernels, out, a, b, _ []int32) { k.high53(out, a, b, b) }},
	{"lift97", true, false, func(k *kernels, out, a, b, c []int32) {
		k.lift97(floats(out), floats(a), floats(b), floats(c), alpha97)
	}},
	{"lift97 in place", true, false, func(k *kernels, out, a, b, c []int32) {
		copy(out, a)
		k.lift97(floats(out), floats(out), floats(b), floats(c), delta97)
	}},
	{"interleave", false, true, func(k *kernels, out, a, b, _ []int32) { k.interleave(out, a, b) }},
	{"interleave odd", false, true, func(k *kernels, out, a, b, _ []int32) { k.interleave(out[:max(len(out)-1, 0)], a, b) }},
	{"whole", false, false, func(k *kernels, out, a, _, _ []int32) { k.whole(out, words(a)) }},
	{"real", false, false, func(k *kernels, out, a, _, _ []int32) { k.real(floats(out), words(a), 0.37) }},
	{"rgbaICT", true, false, func(k *kernels, out, a, b, c []int32) { k.rgbaICT(octets(out), floats(a), floats(b), floats(c)) }},
	{"rgbaRCT", false, false, func(k *kernels, out, a, b, c []int32) { k.rgbaRCT(octets(out), a, b, c) }},
	{"rgbaFloat", true, false, func(k *kernels, out, a, b, c []int32) { k.rgbaFloat(octets(out), floats(a), floats(b), floats(c)) }},
	{"rgbaInt", false, false, func(k *kernels, out, a, b, c []int32) { k.rgbaInt(octets(out), a, b, c) }},
}

// TestKernels: all implementations give the same bits, at all lengths through
// three blocks and eight offsets, and write nowhere else.
func TestKernels(t *testing.T) {
	for _, k := range implementations() {
		for _, tt := range kernelTests {
			t.Run(fmt.Sprintf("%s/%s", k.name, tt.name), func(t *testing.T) {
				r := rand.New(rand.NewPCG(1, 2))
				for n := range 3*16 + 2 {
					for off := range 8 {
						make := ints
						if tt.float {
							make = reals
						}
						_, a := make(r, n, off)
						_, b := make(r, n, (off+3)%8)
						_, c := make(r, n, (off+5)%8)
						size := n
						if tt.twice {
							size = 2 * n
						}
						got, out := ints(r, size, off)
						want := append([]int32(nil), got...)
						tt.call(k, out, a, b, c)
						tt.call(&generic, want[off:off+size], a, b, c)
						if tt.float && !strings.HasPrefix(tt.name, "rgba") {
							sameNaN(got)
							sameNaN(want)
						}
						require.Equal(t, want, got, "%d values at offset %d", n, off)
					}
				}
			})
		}
	}
}

// sameNaN makes all NaN the same: which one comes out of two is the machine's
// choice.
func sameNaN(x []int32) {
	for i, v := range floats(x) {
		if v != v {
			x[i] = -1
		}
	}
}

// TestKernelValues holds the reference to values worked out by hand.
func TestKernelValues(t *testing.T) {
	for _, k := range implementations() {
		out := []int32{0}
		k.low53(out, []int32{10}, []int32{-3}, []int32{0})
		assert.Equal(t, int32(11), out[0]) // 10 - floor(-1/4)
		k.high53(out, []int32{10}, []int32{-3}, []int32{0})
		assert.Equal(t, int32(8), out[0]) // 10 + floor(-3/2)
		k.whole(out, []uint32{1<<31 | 7})
		assert.Equal(t, int32(-3), out[0])
		pix := make([]byte, 4)
		k.rgbaRCT(pix, []int32{0}, []int32{-20}, []int32{8}) // G = 0 - (-12>>2) = 3
		assert.Equal(t, []byte{128 + 11, 128 + 3, 128 - 17, 255}, pix)
		k.rgbaICT(pix, []float32{10}, []float32{0}, []float32{50})
		assert.Equal(t, []byte{128 + 80, 128 - 26, 128 + 10, 255}, pix) // 10+70.1, 10-35.7
		k.rgbaFloat(pix, []float32{0.5}, []float32{1.5}, []float32{-128.6})
		assert.Equal(t, []byte{128, 130, 0, 255}, pix)
	}
}

func words(x []int32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

func octets(x []int32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
