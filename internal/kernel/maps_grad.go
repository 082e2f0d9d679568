package kernel

// Bilinear2xGrad sets dx [h*w, c] to the gradient of the map through
// [Bilinear2x], for dy [2h*2w, c]. dx must not overlap dy.
func Bilinear2xGrad(dx, dy []float32, h, w, c int) {
	need("bilinear grad: dx", len(dx), h*w*c)
	need("bilinear grad: dy", len(dy), 4*h*w*c)
	n := 2 * w * c
	Parallel(h, func(y int) {
		s := arenas.get()
		s.reset(n + 2*c)
		row, tmp := s.take(n), s.take(c)
		// A pixel gave 3/4 to the two nearest to it and 1/4 to those beside them;
		// at the edge it stood for what lies beyond as well.
		at := func(i int) []float32 { return dy[min(max(i, 0), 2*h-1)*n:][:n] }
		active.blend(row, at(2*y-1), at(2*y), 0.25, 0.75)
		for k := 0; k < n; k += c {
			active.blend(tmp, at(2*y + 1)[k:k+c], at(2*y + 2)[k:k+c], 0.75, 0.25)
			active.add(row[k:k+c], row[k:k+c], tmp)
		}
		col := func(i int) []float32 { return row[min(max(i, 0), 2*w-1)*c:][:c] }
		for x := range w {
			d := dx[(y*w+x)*c:][:c]
			active.blend(d, col(2*x-1), col(2*x), 0.25, 0.75)
			active.blend(tmp, col(2*x+1), col(2*x+2), 0.75, 0.25)
			active.add(d, d, tmp)
		}
		arenas.put(s)
	})
}

// ChannelSums sets sum and dot to the sums over each column of dy [rows, c]
// and of dy times x less mean, x [rows, c]. Sums are in float64, and their
// order is that of [ChannelStats].
func ChannelSums(sum, dot []float64, dy, x []float32, mean []float64, rows, c int) {
	need("channel sums: dy", len(dy), rows*c)
	need("channel sums: x", len(x), rows*c)
	parts := (rows + channelRows - 1) / channelRows
	sums := make([]float64, 2*c*parts)
	Parallel(parts, func(i int) {
		s, d := sums[2*c*i:][:c], sums[2*c*i+c:][:c]
		for r := i * channelRows; r < min((i+1)*channelRows, rows); r++ {
			xs := x[r*c:][:c]
			for k, v := range dy[r*c:][:c] {
				f := float64(v)
				s[k] += f
				d[k] += float64(f * (float64(xs[k]) - mean[k]))
			}
		}
	})
	clear(sum[:c])
	clear(dot[:c])
	for i := range parts {
		for k := range c {
			sum[k] += sums[2*c*i+k]
			dot[k] += sums[2*c*i+c+k]
		}
	}
}

// ChannelSlope sets each row of dx [rows, c] to dy's times a, plus x's less
// mean times b, plus shift, each [c]. dx may be dy or x, but must not overlap
// them otherwise.
func ChannelSlope(dx, dy, x, a, b, mean, shift []float32, rows, c int) {
	need("channel slope: dx", len(dx), rows*c)
	need("channel slope: dy", len(dy), rows*c)
	need("channel slope: x", len(x), rows*c)
	a, b, mean, shift = a[:c], b[:c], mean[:c], shift[:c]
	step := max(1, chunk/c)
	Parallel((rows+step-1)/step, func(i int) {
		for r := i * step; r < min((i+1)*step, rows); r++ {
			d, s, v := dx[r*c:][:c], dy[r*c:][:c], x[r*c:][:c]
			for k := range d {
				d[k] = float32(s[k]*a[k]) + float32((v[k]-mean[k])*b[k]) + shift[k]
			}
		}
	})
}

// SigmoidGrad sets dx[i] = dy[i]*y[i]*(1-y[i]), the gradient through
// [Sigmoid], of which y is the result. dx may be dy or y, but must not overlap
// them otherwise.
func SigmoidGrad(dx, dy, y []float32) {
	need("sigmoid grad: dy", len(dy), len(dx))
	need("sigmoid grad: y", len(y), len(dx))
	Parallel((len(dx)+chunk-1)/chunk, func(i int) {
		for k := i * chunk; k < min((i+1)*chunk, len(dx)); k++ {
			dx[k] = float32(dy[k] * float32(y[k]*(1-y[k])))
		}
	})
}
