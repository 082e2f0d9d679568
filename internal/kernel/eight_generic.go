package kernel

import "math"

var generic8 = eightBit{
	name: "generic", mr: 4, nr: 4,
	tile:       wordTile4x4Generic,
	absMax:     absMaxGeneric,
	quantise:   quantiseGeneric,
	dequantise: dequantiseGeneric,
	transpose:  transposeWordsGeneric,
}

// wordTile4x4Generic is the tile of 4 rows and 4 columns, as tiles of 2 rows
// and 2 columns.
func wordTile4x4Generic(k int, a, b []uint32, c []int32, ldc int) {
	for i := 0; i < 4; i += 2 {
		for j := 0; j < 4; j += 2 {
			var s00, s01, s10, s11 int32
			a, b := a[i:], b[j:]
			for p := range k {
				x, y := (*[2]uint32)(a[4*p:]), (*[2]uint32)(b[4*p:])
				x0, z0, y0, y1 := x[0], x[1], y[0], y[1]
				for range 4 {
					l, m, u, v := int32(int8(x0)), int32(int8(z0)), int32(y0&255), int32(y1&255)
					s00 += l * u
					s01 += l * v
					s10 += m * u
					s11 += m * v
					x0, z0, y0, y1 = x0>>8, z0>>8, y0>>8, y1>>8
				}
			}
			up, low := c[i*ldc+j:][:2], c[(i+1)*ldc+j:][:2]
			up[0], up[1] = up[0]+s00, up[1]+s01
			low[0], low[1] = low[0]+s10, low[1]+s11
		}
	}
}

const magnitude = 0x7fffffff // bits of a float32 without the sign

func absMaxGeneric(x []float32) uint32 {
	var top uint32
	for _, v := range x {
		top = max(top, math.Float32bits(v)&magnitude)
	}
	return top
}

// rounded is the integer nearest to x*scale, ties to even.
func rounded(x, scale float32) int32 {
	return int32(math.RoundToEven(float64(float32(x * scale))))
}

func quantiseGeneric(dst []uint32, x []float32, scale float32) (sum int32) {
	clear(dst)
	for i, v := range x {
		q := rounded(v, scale)
		sum += q
		dst[i/4] |= uint32(q) & 0xff << (i % 4 * 8)
	}
	return sum
}

func dequantiseGeneric(dst []float32, sums []int32, start int32, scales, bias []float32, scale float32) {
	for i := range dst {
		dst[i] = float32(float32(float32(sums[i]+start)*scales[i])*scale) + bias[i]
	}
}

func transposeWordsGeneric(dst, src []uint32, lds, n int) {
	for i := range 4 {
		for j, v := range src[i*lds:][:n] {
			dst[4*j+i] = v
		}
	}
}
