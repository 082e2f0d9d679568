package golden

import (
	"fmt"
	"math"
)

// projections is how many products a digest has beside the length.
const projections = 8

// DigestLen is the number of values of a digest.
const DigestLen = 1 + projections

// Values are n counter-based values of unit variance: digests.values.
func Values(name string, n int, seed uint64) []float32 {
	out := Uniform(n, Hash(seed^NameHash(name)))
	for i := range out {
		out[i] *= float32(math.Sqrt(3))
	}
	return out
}

// Digest is a tensor's length and its products with fixed vectors:
// digests.digest.
func Digest(name string, v []float32) []float64 {
	out := make([]float64, DigestLen)
	for _, x := range v {
		out[0] += float64(x) * float64(x)
	}
	out[0] = math.Sqrt(out[0])
	for k := range projections {
		key := Hash(uint64(k) ^ NameHash(name))
		for i, x := range v {
			u := Hash(key+uint64(i)) >> 40
			out[1+k] += float64(x) * float64(float32(2*int64(u)-1<<24)/(1<<24))
		}
	}
	return out
}

// CheckDigest compares a tensor with the digest of a reference: within tol of
// the tensor's length, and rounding in any case. Tensors whose gradient is
// nothing but that, such as the bias of the keys, which softmax takes out again,
// have no length to speak of.
func CheckDigest(name string, want, v []float32, tol, rounding float64) error {
	got := Digest(name, v)
	if len(want) != len(got) {
		return fmt.Errorf("%s: a digest of %d values, want %d", name, len(want), len(got))
	}
	for i, w := range want {
		if d := math.Abs(got[i] - float64(w)); !(d <= tol*float64(want[0])+rounding) {
			return fmt.Errorf("%s: value %d is %g, want %g: %g of the length %g", name, i, got[i], w, d/float64(want[0]), want[0])
		}
	}
	return nil
}
