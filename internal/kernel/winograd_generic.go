package kernel

// winogradInGeneric brings the 6 x 6 pixels of each of n channels, scaled and
// shifted, to 36 values, tap apart:
//
//	dst[(6*i+j)*tap+c] = sum over y, x of B[i][y] * B[j][x] * (src[y*row+x*px+c]*scale[c] + shift[c])
//
// where row i of B holds the coefficients of the product of (X - q) over the
// other points q, and the last row that over all. Without scale (nil) pixels
// stay as they are. tmp has room for 36 vectors.
func winogradInGeneric(dst []float32, tap int, src []float32, row, px int, scale, shift, _ []float32, n int) {
	for c := range n {
		by, plus := float32(1), float32(0)
		if scale != nil {
			by, plus = scale[c], shift[c]
		}
		var cols [winogradSide][winogradSide]float32 // by column
		for x := range winogradSide {
			var d [winogradSide]float32
			for y := range d {
				d[y] = float32(src[y*row+x*px+c]*by) + plus
			}
			cols[x] = winogradSix(d)
		}
		for i := range winogradSide {
			var d [winogradSide]float32
			for x := range d {
				d[x] = cols[x][i]
			}
			for j, v := range winogradSix(d) {
				dst[(winogradSide*i+j)*tap+c] = v
			}
		}
	}
}

func winogradSix(d [winogradSide]float32) [winogradSide]float32 {
	const a, b = winogradA, winogradB
	const a2, b2 = a * a, b * b
	evenA, oddA := d[4]-float32(b2*d[2]), float32(a*(d[3]-float32(b2*d[1])))
	evenB, oddB := d[4]-float32(a2*d[2]), float32(b*(d[3]-float32(a2*d[1])))
	return [winogradSide]float32{
		float32(a2*b2*d[0]) - float32((a2+b2)*d[2]) + d[4],
		evenA + oddA, evenA - oddA,
		evenB + oddB, evenB - oddB,
		float32(a2*b2*d[1]) - float32((a2+b2)*d[3]) + d[5],
	}
}

// winogradOutGeneric makes 4 x 4 pixels of each of n channels of 36 sums, tap
// apart:
//
//	dst[y*row+x*px+c] = max(floor, bias[c] + sum over i, j of A[y][i] * A[x][j] * src[(6*i+j)*tap+c])
//
// where A[y][i] is the y-th power of point i, and the point at infinity counts
// for the third power alone. tmp has room for 36 vectors.
func winogradOutGeneric(dst []float32, row, px int, src []float32, tap int, bias []float32, floor float32, _ []float32, n int) {
	for c := range n {
		var cols [winogradSide][winogradTile]float32 // by column
		for x := range cols {
			var m [winogradSide]float32
			for i := range m {
				m[i] = src[(winogradSide*i+x)*tap+c]
			}
			cols[x] = winogradFour(m)
		}
		for y := range winogradTile {
			var m [winogradSide]float32
			for x := range m {
				m[x] = cols[x][y]
			}
			for x, v := range winogradFour(m) {
				if v += bias[c]; v < floor {
					v = floor
				}
				dst[y*row+x*px+c] = v
			}
		}
	}
}

func winogradFour(m [winogradSide]float32) [winogradTile]float32 {
	const a, b = winogradA, winogradB
	s1, d1, s2, d2 := m[1]+m[2], m[1]-m[2], m[3]+m[4], m[3]-m[4]
	return [winogradTile]float32{
		m[0] + s1 + s2,
		float32(a*d1) + float32(b*d2),
		float32(a*a*s1) + float32(b*b*s2),
		float32(a*a*a*d1) + float32(b*b*b*d2) + m[5],
	}
}
