package kernel

// tile4x4Generic is the tile of 4 rows and 4 columns, as two tiles of 4 rows
// and 2 columns: eight sums stay in registers.
func tile4x4Generic(k int, a []float32, lda int, b, c []float32, ldc, acc int) {
	for j := 0; j < 4; j += 2 {
		tile4x2(k, a, lda, b[j:], 4, c[j:], ldc, acc)
	}
}

func tile4x2Generic(k int, a []float32, lda int, b, c []float32, ldc, acc int) {
	tile4x2(k, a, lda, b, 2, c, ldc, acc)
}

func tile4x2(k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc, acc int) {
	var s00, s01, s10, s11, s20, s21, s30, s31 float32
	for range k {
		b0, b1 := b[0], b[1]
		a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
		s00 += float32(a0 * b0)
		s01 += float32(a0 * b1)
		s10 += float32(a1 * b0)
		s11 += float32(a1 * b1)
		s20 += float32(a2 * b0)
		s21 += float32(a2 * b1)
		s30 += float32(a3 * b0)
		s31 += float32(a3 * b1)
		if len(a) <= lda || len(b) <= ldb {
			break
		}
		a, b = a[lda:], b[ldb:]
	}
	c0, c1, c2, c3 := c[:2], c[ldc:][:2], c[2*ldc:][:2], c[3*ldc:][:2]
	if acc != 0 {
		s00 += c0[0]
		s01 += c0[1]
		s10 += c1[0]
		s11 += c1[1]
		s20 += c2[0]
		s21 += c2[1]
		s30 += c3[0]
		s31 += c3[1]
	}
	c0[0], c0[1] = s00, s01
	c1[0], c1[1] = s10, s11
	c2[0], c2[1] = s20, s21
	c3[0], c3[1] = s30, s31
}

// tileGeneric returns the tile of r rows and w columns as a plain loop, for
// the rows left over.
func tileGeneric(r, w int) tileFunc {
	return func(k int, a []float32, lda int, b, c []float32, ldc, acc int) {
		for i := range r {
			for j := range w {
				var s float32
				for p := range k {
					s += float32(a[p*lda+i] * b[p*w+j])
				}
				if acc != 0 {
					s += c[i*ldc+j]
				}
				c[i*ldc+j] = s
			}
		}
	}
}

// fmaGeneric keeps eight sums in registers: the rate that portable code can
// reach. Multiplication and addition are separate instructions.
func fmaGeneric(n int) int {
	s0, s1, s2, s3, s4, s5, s6, s7 := float32(1), float32(2), float32(3), float32(4), float32(5), float32(6), float32(7), float32(8)
	x, y := float32(0.999), float32(0.001)
	for range n {
		s0 = float32(s0*x) + y
		s1 = float32(s1*x) + y
		s2 = float32(s2*x) + y
		s3 = float32(s3*x) + y
		s4 = float32(s4*x) + y
		s5 = float32(s5*x) + y
		s6 = float32(s6*x) + y
		s7 = float32(s7*x) + y
	}
	fmaSink.Store(uint32(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7))
	return n * 16
}
