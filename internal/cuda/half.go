//go:build gpu && cgo && linux

package cuda

import "math"

// bf16 rounds to 8 significant bits, to the nearest and ties to even.
func bf16(v float32) uint16 {
	u := math.Float32bits(v)
	if v != v {
		return 0x7fff
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

// f16 rounds to IEEE 754 half precision, to the nearest and ties to even;
// magnitudes from 65520 on become infinite.
func f16(v float32) uint16 {
	u := math.Float32bits(v)
	sign := uint16(u >> 16 & 0x8000)
	abs := u &^ (1 << 31)
	switch {
	case v != v:
		return sign | 0x7fff
	case abs >= 0x477ff000: // 65520
		return sign | 0x7c00
	case abs < 0x38800000: // subnormal: multiples of 2^-24
		return sign | uint16(math.RoundToEven(math.Abs(float64(v))*(1<<24)))
	}
	return sign | uint16((abs+0xfff+abs>>13&1)>>13-(127-15)<<10)
}

// halves packs rounded values two to an int32, the first in the lower half.
func halves(x []float32, round func(float32) uint16) []int32 {
	out := make([]int32, (len(x)+1)/2)
	for i, v := range x {
		out[i/2] |= int32(uint32(round(v)) << (i % 2 * 16))
	}
	return out
}
