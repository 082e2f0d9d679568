// Package half turns float32 values into IEEE 754 binary16 and back.
//
//	h := half.Bits(0.1)
//	v := half.Value(h) // 0.099975586
package half

import "math"

// Bits returns v as IEEE 754 binary16, rounded to nearest, ties to even.
// Magnitudes that round above 65504 become infinity, NaN stays NaN.
func Bits(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // NaN
		return sign | 0x7e00
	case b >= 0x477ff000: // 65520 and more
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14: a multiple of 2^-24, or 0
		// Adding 0.5 leaves the rounded multiple in the lowest bits.
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	// Round the 13 bits that fall away; a carry moves on into the exponent.
	b += 0x0fff + b>>13&1
	return sign | uint16(b>>13-(127-15)<<10)
}

// Value returns the value of IEEE 754 binary16 bits.
func Value(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, frac := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exp {
	case 0:
		v := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}
