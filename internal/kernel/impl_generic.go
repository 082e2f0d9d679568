package kernel

import "math"

// generic is the portable implementation. Products are rounded before they
// are added (no fused multiply-add), so that it gives the same bits on every
// machine.
var generic = impl{
	name: "generic",
	mr:   4, nr: 4, half: 2, cols: 256,
	tile: [2][]tileFunc{
		{tileGeneric(1, 2), tileGeneric(2, 2), tileGeneric(3, 2), tile4x2Generic},
		{tileGeneric(1, 4), tileGeneric(2, 4), tileGeneric(3, 4), tile4x4Generic},
	},
	transposeRows: [4]func([]float32, int, []float32, int, int){
		transpose1Generic, transpose2Generic, transpose3Generic, transpose4Generic},
	strip:      stripOf(tile4x4Generic, 4),
	stack:      stackOf(tile4x4Generic, 4),
	winogradIn: winogradInGeneric, winogradOut: winogradOutGeneric,
	depthwise: depthwiseGeneric, scaleShift: scaleShiftGeneric, channelSums: channelSumsGeneric,
	prefetch:  prefetchGeneric,
	biasMax:   biasMaxGeneric,
	maxRows:   maxRowsGeneric,
	expSum:    expSumGeneric,
	mulRows:   mulRowsGeneric,
	widen:     widenGeneric,
	narrow:    narrowGeneric,
	add:       addGeneric,
	mul:       mulGeneric,
	scale:     scaleGeneric,
	blend:     blendGeneric,
	above:     aboveGeneric,
	relu:      reluGeneric,
	gelu:      geluGeneric,
	exp2:      exp2Generic,
	layerNorm: layerNormGeneric,
	normCols:  normColsGeneric,
	geluGrad:  geluGradGeneric, normGradX: normGradXGeneric, normGradParams: normGradParamsGeneric,
	lanes: 1, interpolate: interpolateGeneric,
	fma: fmaGeneric,
}

func transpose1Generic(dst []float32, ldd int, src []float32, _, n int) {
	for j, v := range src[:n] {
		dst[j*ldd] = v
	}
}

func transpose2Generic(dst []float32, ldd int, src []float32, lds, n int) {
	s0, s1 := src[:n], src[lds:][:n]
	for j := range n {
		d := dst[j*ldd:][:2]
		d[0], d[1] = s0[j], s1[j]
	}
}

func transpose3Generic(dst []float32, ldd int, src []float32, lds, n int) {
	s0, s1, s2 := src[:n], src[lds:][:n], src[2*lds:][:n]
	for j := range n {
		d := dst[j*ldd:][:3]
		d[0], d[1], d[2] = s0[j], s1[j], s2[j]
	}
}

func transpose4Generic(dst []float32, ldd int, src []float32, lds, n int) {
	s0, s1, s2, s3 := src[:n], src[lds:][:n], src[2*lds:][:n], src[3*lds:][:n]
	for j := range n {
		d := dst[j*ldd:][:4]
		d[0], d[1], d[2], d[3] = s0[j], s1[j], s2[j], s3[j]
	}
}

func prefetchGeneric([]float32, int, int, int) {}

func biasMaxGeneric(s, rw, rh, m []float32, rows, cols, w int) {
	m = m[:w]
	for y := range rows {
		h := rh[y*w:][:w]
		for x := range cols {
			row := s[(y*cols+x)*w:][:w]
			b := rw[x*w:][:w]
			for j, v := range row {
				v += b[j] + h[j]
				row[j] = v
				if !(v <= m[j]) {
					m[j] = v
				}
			}
		}
	}
}

func maxRowsGeneric(s, m []float32, n, w int) {
	m = m[:w]
	for i := range n {
		for j, v := range s[i*w:][:w] {
			if !(v <= m[j]) {
				m[j] = v
			}
		}
	}
}

func expSumGeneric(s, m, l []float32, n, w int) {
	for j := range w {
		var sum float32
		mj := m[j]
		for i := j; i < n*w; i += w {
			e := exp2(s[i] - mj)
			s[i] = e
			sum += e
		}
		l[j] += sum
	}
}

func mulRowsGeneric(o, c []float32, n, w int) {
	c = c[:w]
	for i := range n {
		row := o[i*w:][:w]
		for j := range row {
			row[j] *= c[j]
		}
	}
}

func mulGeneric(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] * b[i]
	}
}

func addGeneric(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

func scaleGeneric(dst, x []float32, a float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] = x[i] * a
	}
}

// blendGeneric rounds both products: the same bits everywhere.
func blendGeneric(dst, a, b []float32, wa, wb float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = float32(a[i]*wa) + float32(b[i]*wb)
	}
}

func interpolateGeneric(dst, src []float32, i0, i1 []int32, w0, w1 []float32) {
	i0, i1, w0, w1 = i0[:len(dst)], i1[:len(dst)], w0[:len(dst)], w1[:len(dst)]
	for i := range dst {
		dst[i] = float32(src[i0[i]]*w0[i]) + float32(src[i1[i]]*w1[i])
	}
}

func aboveGeneric(dst []uint64, x []float32, limit float32) {
	bit := func(v float32) uint64 {
		if v > limit {
			return 1
		}
		return 0
	}
	for i := range dst {
		part := x[64*i:][:64]
		var w uint64
		for len(part) > 0 {
			// Eight at a time, so that the shifts are constants.
			p := part[:8:8]
			w = w>>8 | (bit(p[0])|bit(p[1])<<1|bit(p[2])<<2|bit(p[3])<<3|bit(p[4])<<4|bit(p[5])<<5|bit(p[6])<<6|bit(p[7])<<7)<<56
			part = part[8:]
		}
		dst[i] = w
	}
}

func reluGeneric(dst, x []float32) {
	x = x[:len(dst)]
	for i := range dst {
		v := x[i]
		if v < 0 {
			v = 0
		}
		dst[i] = v
	}
}

func geluGeneric(dst, x []float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] = gelu32(x[i])
	}
}

func exp2Generic(dst, x []float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] = exp2(x[i])
	}
}

// layerNormGeneric sums in float64, which makes both statistics right to the
// last bit of float32 for any c.
func layerNormGeneric(dst, x, gamma, beta []float32, rows, c int, eps float32) {
	gamma, beta = gamma[:c], beta[:c]
	for r := range rows {
		in, out := x[r*c:][:c], dst[r*c:][:c]
		var sum float64
		for _, v := range in {
			sum += float64(v)
		}
		mean := sum / float64(c)
		var sq float64
		for _, v := range in {
			d := float64(v) - mean
			sq += float64(d * d)
		}
		inv := float32(1 / math.Sqrt(sq/float64(c)+float64(eps)))
		mu := float32(mean)
		for j, v := range in {
			out[j] = float32(float32((v-mu)*inv)*gamma[j]) + beta[j]
		}
	}
}

// normColsGeneric sums in float64, as layerNormGeneric does, and keeps the
// mean in float64.
func normColsGeneric(o, gamma, beta []float32, n, w int, eps float32) {
	for j := range w {
		var sum float64
		for i := j; i < n*w; i += w {
			sum += float64(o[i])
		}
		mean := sum / float64(n)
		var sq float64
		for i := j; i < n*w; i += w {
			d := float64(o[i]) - mean
			sq += float64(d * d)
		}
		inv := float32(1 / math.Sqrt(sq/float64(n)+float64(eps)))
		for r, i := 0, j; r < n; r, i = r+1, i+w {
			o[i] = float32(float32(float32(float64(o[i])-mean)*inv)*gamma[r]) + beta[r]
		}
	}
}
