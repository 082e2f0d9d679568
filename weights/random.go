package weights

import (
	"math"
	"slices"
	"strings"
)

// Random returns weights that a counter-based generator makes from seed, alike
// on every machine and in the Python reference, bit for bit. Specs gives the
// specs of a network; names are in Meta's naming.
//
// Element i (flat, row-major) of a tensor is
//
//	offset + scale*v(i), v(i) = (2u(i) - 2^24) / 2^24 in [-1, 1)
//	u(i) = splitmix64(splitmix64(seed ^ fnv1a64(name)) + i) >> 40
//
// with the product and the sum each rounded to float32. The scale keeps
// activations near 1: sqrt(3/fan-in) for matrices and convolutions.
//
// Nothing is held in memory: each Float32s makes the values anew.
func Random(specs []Spec, seed uint64) *Checkpoint {
	m := make(map[string]*Tensor, len(specs))
	for _, s := range specs {
		shape := slices.Clone(s.Shape)
		m[s.Name] = &Tensor{Name: s.Name, Shape: shape, src: newRandomSource(s.Name, shape, seed)}
	}
	return newCheckpoint(m, Original, nil)
}

type randomSource struct {
	key           uint64
	shape         []int
	scale, offset float32
}

func newRandomSource(name string, shape []int, seed uint64) randomSource {
	r := randomSource{key: splitmix64(seed ^ fnv1a64(name)), shape: shape}
	r.scale, r.offset = randomScale(name, shape)
	return r
}

func (r randomSource) float32s() ([]float32, error) {
	n, err := numel(r.shape)
	if err != nil {
		return nil, err
	}
	dst := make([]float32, n)
	for i := range dst {
		u := splitmix64(r.key+uint64(i)) >> 40
		v := float32(2*int32(u)-1<<24) / (1 << 24)
		// The conversions keep the compiler from fusing the two operations.
		dst[i] = r.offset + float32(v*r.scale)
	}
	return dst, nil
}

func (randomSource) release() {}

// randomScale returns the scale and offset of a tensor; the first rule that
// fits its name decides.
func randomScale(name string, shape []int) (scale, offset float32) {
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(name, p) })
	}
	switch {
	case has("positional_encoding_gaussian_matrix"):
		return float32(math.Sqrt(3)), 0
	case has("rel_pos_"):
		return 0.25, 0
	case has("attention_biases"):
		return 0.5, 0
	case strings.HasSuffix(name, "pos_embed"):
		return 0.5, 0
	case has("point_embeddings.", "not_a_point_embed", "no_mask_embed", "iou_token", "mask_tokens"):
		return 1, 0
	case len(shape) == 1 && (strings.HasSuffix(name, ".weight") || strings.HasSuffix(name, ".running_var")): // norms
		return 0.2, 1
	case len(shape) <= 1: // biases
		return 0.1, 0
	}
	fanIn := 1
	if has("output_upscaling.0.weight", "output_upscaling.3.weight") { // [in, out, 2, 2]
		fanIn = shape[0]
	} else {
		for _, d := range shape[1:] {
			fanIn *= d
		}
	}
	return float32(math.Sqrt(3 / float64(fanIn))), 0
}

// splitmix64 is the output function of Steele, Lea and Flood's SplitMix
// generator (OOPSLA 2014).
func splitmix64(z uint64) uint64 {
	z += 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// fnv1a64 is the 64-bit FNV-1a hash.
func fnv1a64(s string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return h
}
