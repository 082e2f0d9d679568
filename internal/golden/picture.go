package golden

import (
	"hash/fnv"
	"image"
)

// splitmix64 is the hash all counter-based values come from.
func splitmix64(z uint64) uint64 {
	z += 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// PictureRGB returns the counter-based picture of a seed, [H, W, 3].
//
// Channel c of a pixel is (3*coarse + fine + 2) >> 2, where coarse and fine
// are bilinear integer noise on lattices of 32 and 8 pixels. Lattice point
// (gx, gy) of the lattice of 2^s pixels has the value
//
//	splitmix64(splitmix64(seed) + (c<<60 | s<<56 | gy<<28 | gx)) >> 56
//
// and a pixel between four of them their weighted sum >> 2s.
func PictureRGB(s Size, seed uint64) []uint8 {
	out := make([]uint8, s.H*s.W*3)
	for c := range 3 {
		for i, v := range channel(s, seed, c) {
			out[3*i+c] = v
		}
	}
	return out
}

// Picture returns PictureRGB as an opaque image.
func Picture(s Size, seed uint64) *image.NRGBA { return Image(s, PictureRGB(s, seed)) }

// Image returns rgb, [H, W, 3], as an opaque image.
func Image(s Size, rgb []uint8) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, s.W, s.H))
	for i := 0; i < s.H*s.W; i++ {
		copy(m.Pix[4*i:], rgb[3*i:3*i+3])
		m.Pix[4*i+3] = 255
	}
	return m
}

// NoiseRGB returns a picture without any smoothness, [H, W, 3]: value i is
// splitmix64(seed + i) >> 56.
func NoiseRGB(s Size, seed uint64) []uint8 {
	out := make([]uint8, s.H*s.W*3)
	for i := range out {
		out[i] = uint8(splitmix64(seed+uint64(i)) >> 56)
	}
	return out
}

// MaskLogits returns the counter-based mask prompt of a seed, [H, W]: channel
// 0 of the picture, less 128, over 8. Values lie in [-16, 16).
func MaskLogits(s Size, seed uint64) []float32 {
	out := make([]float32, s.H*s.W)
	for i, v := range channel(s, seed, 0) {
		out[i] = float32(int(v)-128) / 8
	}
	return out
}

// Uniform returns n values in [-1, 1): value i is (2u - 2^24) / 2^24 with
// u = splitmix64(key + i) >> 40. It is the rule of the counter-based weights.
func Uniform(n int, key uint64) []float32 {
	out := make([]float32, n)
	for i := range out {
		u := splitmix64(key+uint64(i)) >> 40
		out[i] = float32(2*int64(u)-(1<<24)) / (1 << 24)
	}
	return out
}

// channel returns channel c of the picture, [H, W].
func channel(s Size, seed uint64, c int) []uint8 {
	coarse := octave(s, seed, c, 5)
	fine := octave(s, seed, c, 3)
	out := make([]uint8, s.H*s.W)
	for i := range out {
		out[i] = uint8((3*int(coarse[i]) + int(fine[i]) + 2) >> 2)
	}
	return out
}

// octave returns bilinear integer noise on a lattice of 2^s pixels, [H, W].
func octave(size Size, seed uint64, c, s int) []uint8 {
	key := splitmix64(seed)
	lw := size.W>>s + 2
	lattice := make([]int, (size.H>>s+2)*lw)
	for i := range lattice {
		gy, gx := i/lw, i%lw
		lattice[i] = int(splitmix64(key+(uint64(c)<<60|uint64(s)<<56|uint64(gy)<<28|uint64(gx))) >> 56)
	}
	n := 1 << s
	out := make([]uint8, size.H*size.W)
	for y := range size.H {
		top, fy := (y>>s)*lw, y&(n-1)
		bottom := top + lw
		for x := range size.W {
			gx, fx := x>>s, x&(n-1)
			a := lattice[top+gx]*(n-fx) + lattice[top+gx+1]*fx
			b := lattice[bottom+gx]*(n-fx) + lattice[bottom+gx+1]*fx
			out[y*size.W+x] = uint8((a*(n-fy) + b*fy) >> (2 * s))
		}
	}
	return out
}

// Hash is splitmix64 of one integer, which the counter-based values follow
// from: counter.hash64.
func Hash(z uint64) uint64 { return splitmix64(z) }

// NameHash is the 64-bit FNV-1a hash of a name: counter.fnv1a64.
func NameHash(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return h.Sum64()
}
