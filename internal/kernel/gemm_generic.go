package kernel

// tile4x4Generic is the tile of 4 rows and 4 columns, as two tiles of 4 rows
// and 2 columns: eight sums stay in registers.
func tile4x4Generic(k int, a []float32, lda int, b, c []float32, ldc int, d []float32, ldd int) {
	for j := 0; j < 4; j += 2 {
		var s [8]float32
		p := 0
		if lda == 4 {
			p = sums4x2of4(&s, k, a, b[j:])
		}
		if p < k {
			sums4x2(&s, k-p, a[p*lda:], lda, b[p*4+j:], 4)
		}
		if d != nil {
			add4x2(&s, d[j:], ldd)
		}
		store4x2(&s, c[j:], ldc)
	}
}

func tile4x2Generic(k int, a []float32, lda int, b, c []float32, ldc int, d []float32, ldd int) {
	var s [8]float32
	sums4x2(&s, k, a, lda, b, 2)
	if d != nil {
		add4x2(&s, d, ldd)
	}
	store4x2(&s, c, ldc)
}

// sums4x2of4 adds up eight inner elements at a time, of a tile of four rows
// stored without gaps and two columns of a panel of four; it returns how many
// it has done. Fewer at a time would cost more in spilled sums and checked
// bounds; one check per round is left.
func sums4x2of4(s *[8]float32, k int, a, b []float32) int {
	s00, s01, s10, s11, s20, s21, s30, s31 := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	n := k &^ 7
	a, b = a[:4*n], b[:max(4*n-2, 0)]
	for p := 0; p <= len(a)-32 && p <= len(b)-30; p += 32 {
		x, y, z := a[p], b[p], b[p+1]
		s00, s01 = s00+float32(x*y), s01+float32(x*z)
		x = a[p+1]
		s10, s11 = s10+float32(x*y), s11+float32(x*z)
		x = a[p+2]
		s20, s21 = s20+float32(x*y), s21+float32(x*z)
		x = a[p+3]
		s30, s31 = s30+float32(x*y), s31+float32(x*z)

		x, y, z = a[p+4], b[p+4], b[p+5]
		s00, s01 = s00+float32(x*y), s01+float32(x*z)
		x = a[p+5]
		s10, s11 = s10+float32(x*y), s11+float32(x*z)
		x = a[p+6]
		s20, s21 = s20+float32(x*y), s21+float32(x*z)
		x = a[p+7]
		s30, s31 = s30+float32(x*y), s31+float32(x*z)

		x, y, z = a[p+8], b[p+8], b[p+9]
		s00, s01 = s00+float32(x*y), s01+float32(x*z)
		x = a[p+9]
		s10, s11 = s10+float32(x*y), s11+float32(x*z)
		x = a[p+10]
		s20, s21 = s20+float32(x*y), s21+float32(x*z)
		x = a[p+11]
		s30, s31 = s30+float32(x*y), s31+float32(x*z)

		x, y, z = a[p+12], b[p+12], b[p+13]
		s00, s01 = s00+float32(x*y), s01+float32(x*z)
		x = a[p+13]
		s10, s11 = s10+float32(x*y), s11+float32(x*z)
		x = a[p+14]
		s20, s21 = s20+float32(x*y), s21+float32(x*z)
		x = a[p+15]
		s30, s31 = s30+float32(x*y), s31+float32(x*z)

		x, y, z = a[p+16], b[p+16], b[p+17]
		s00, s01 = s00+float32(x*y), s01+float32(x*z)
		x = a[p+17]
		s10, s11 = s10+float32(x*y), s11+float32(x*z)
		x = a[p+18]
		s20, s21 = s20+float32(x*y), s21+float32(x*z)
		x = a[p+19]
		s30, s31 = s30+float32(x*y), s31+float32(x*z)

		x, y, z = a[p+20], b[p+20], b[p+21]
		s00, s01 = s00+float32(x*y), s01+float32(x*z)
		x = a[p+21]
		s10, s11 = s10+float32(x*y), s11+float32(x*z)
		x = a[p+22]
		s20, s21 = s20+float32(x*y), s21+float32(x*z)
		x = a[p+23]
		s30, s31 = s30+float32(x*y), s31+float32(x*z)

		x, y, z = a[p+24], b[p+24], b[p+25]
		s00, s01 = s00+float32(x*y), s01+float32(x*z)
		x = a[p+25]
		s10, s11 = s10+float32(x*y), s11+float32(x*z)
		x = a[p+26]
		s20, s21 = s20+float32(x*y), s21+float32(x*z)
		x = a[p+27]
		s30, s31 = s30+float32(x*y), s31+float32(x*z)

		x, y, z = a[p+28], b[p+28], b[p+29]
		s00, s01 = s00+float32(x*y), s01+float32(x*z)
		x = a[p+29]
		s10, s11 = s10+float32(x*y), s11+float32(x*z)
		x = a[p+30]
		s20, s21 = s20+float32(x*y), s21+float32(x*z)
		x = a[p+31]
		s30, s31 = s30+float32(x*y), s31+float32(x*z)
	}
	*s = [8]float32{s00, s01, s10, s11, s20, s21, s30, s31}
	return n
}

// sums4x2 is sums4x2of4 for any distance of the rows of a and b, one inner
// element at a time.
func sums4x2(s *[8]float32, k int, a []float32, lda int, b []float32, ldb int) {
	s00, s01, s10, s11, s20, s21, s30, s31 := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	for p := range k {
		x, y := (*[4]float32)(a[p*lda:]), (*[2]float32)(b[p*ldb:])
		s00 += float32(x[0] * y[0])
		s01 += float32(x[0] * y[1])
		s10 += float32(x[1] * y[0])
		s11 += float32(x[1] * y[1])
		s20 += float32(x[2] * y[0])
		s21 += float32(x[2] * y[1])
		s30 += float32(x[3] * y[0])
		s31 += float32(x[3] * y[1])
	}
	*s = [8]float32{s00, s01, s10, s11, s20, s21, s30, s31}
}

func add4x2(s *[8]float32, d []float32, ldd int) {
	for i := range 4 {
		row := (*[2]float32)(d[i*ldd:])
		s[2*i] += row[0]
		s[2*i+1] += row[1]
	}
}

func store4x2(s *[8]float32, c []float32, ldc int) {
	for i := range 4 {
		row := (*[2]float32)(c[i*ldc:])
		row[0], row[1] = s[2*i], s[2*i+1]
	}
}

// stripOf is a strip of tiles with panels of nr columns.
func stripOf(tile tileFunc, nr int) func(n, k int, a []float32, lda int, b, c []float32, ldc int, d []float32, ldd int) {
	return func(n, k int, a []float32, lda int, b, c []float32, ldc int, d []float32, ldd int) {
		for q := range n {
			var before []float32
			if d != nil {
				before = d[q*nr:]
			}
			tile(k, a, lda, b[q*k*nr:], c[q*nr:], ldc, before, ldd)
		}
	}
}

// stackOf is a stack of tiles of mr rows.
func stackOf(tile tileFunc, mr int) func(n, k int, a, b, c []float32, ldc int, d []float32, ldd int) {
	return func(n, k int, a, b, c []float32, ldc int, d []float32, ldd int) {
		for q := range n {
			var before []float32
			if d != nil {
				before = d[q*mr*ldd:]
			}
			tile(k, a[q*mr*k:], mr, b, c[q*mr*ldc:], ldc, before, ldd)
		}
	}
}

// tileGeneric returns the tile of r rows and w columns as a plain loop, for
// the rows left over.
func tileGeneric(r, w int) tileFunc {
	return func(k int, a []float32, lda int, b, c []float32, ldc int, d []float32, ldd int) {
		for i := range r {
			for j := range w {
				var s float32
				for p := range k {
					s += float32(a[p*lda+i] * b[p*w+j])
				}
				if d != nil {
					s += d[i*ldd+j]
				}
				c[i*ldc+j] = s
			}
		}
	}
}

// fmaGeneric keeps twelve sums in registers, enough to hide the latency of a
// multiplication and an addition: the rate that portable code can reach. The
// two are separate instructions.
func fmaGeneric(n int) int {
	s0, s1, s2, s3, s4, s5 := float32(1), float32(2), float32(3), float32(4), float32(5), float32(6)
	t0, t1, t2, t3, t4, t5 := float32(7), float32(8), float32(9), float32(10), float32(11), float32(12)
	x, y := float32(0.999), float32(0.001)
	for range n {
		s0 = float32(s0*x) + y
		s1 = float32(s1*x) + y
		s2 = float32(s2*x) + y
		s3 = float32(s3*x) + y
		s4 = float32(s4*x) + y
		s5 = float32(s5*x) + y
		t0 = float32(t0*x) + y
		t1 = float32(t1*x) + y
		t2 = float32(t2*x) + y
		t3 = float32(t3*x) + y
		t4 = float32(t4*x) + y
		t5 = float32(t5*x) + y
	}
	fmaSink.Store(uint32(s0 + s1 + s2 + s3 + s4 + s5 + t0 + t1 + t2 + t3 + t4 + t5))
	return n * 24
}
