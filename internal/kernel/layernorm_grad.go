package kernel

import "math"

// LayerNormGradX sets dx [rows, c] to the gradient of x through [LayerNorm]
// for the gradient dy of its result. dx may be dy, but must not overlap the
// others otherwise.
func LayerNormGradX(dx, dy, x, gamma []float32, rows, c int, eps float32) {
	need("layer norm grad: dx", len(dx), rows*c)
	normGrad(dy, x, rows, c, eps, func(_, r int, mean, inv float64, dy, x []float32) {
		var sum, dot float64
		for j, g := range gamma[:c] {
			v := float64(g * dy[j])
			sum += v
			dot += v * float64(x[j])
		}
		n := float64(c)
		// dot over the normalised values, both as means.
		dot = (dot - mean*sum) * inv / n
		sum /= n
		a, b := float32(inv), float32(dot*inv*inv)
		m, s := float32(mean), float32(sum*inv)
		out := dx[r*c:][:c]
		for j, g := range gamma[:c] {
			out[j] = float32(a*float32(g*dy[j])) - s - float32(b*(x[j]-m))
		}
	})
}

// LayerNormGradParams sets dgamma and dbeta [c] to the gradients of the scale
// and the shift of [LayerNorm]. They are summed in float64.
func LayerNormGradParams(dgamma, dbeta, dy, x []float32, rows, c int, eps float32) {
	need("layer norm grad: dgamma", len(dgamma), c)
	need("layer norm grad: dbeta", len(dbeta), c)
	var sums [gradGroups][]float64
	for i := range sums {
		sums[i] = make([]float64, 2*c)
	}
	normGrad(dy, x, rows, c, eps, func(group, _ int, mean, inv float64, dy, x []float32) {
		g, b := sums[group][:c], sums[group][c:][:c]
		m, s := float32(mean), float32(inv)
		for j, v := range dy {
			g[j] += float64(v * float32((x[j]-m)*s))
			b[j] += float64(v)
		}
	})
	for j := range c {
		var g, b float64
		for i := range sums {
			g += sums[i][j]
			b += sums[i][c+j]
		}
		dgamma[j], dbeta[j] = float32(g), float32(b)
	}
}

// normGrad calls f for each row, with its mean and inverse deviation. Rows of
// one group follow each other on one goroutine.
func normGrad(dy, x []float32, rows, c int, eps float32, f func(group, row int, mean, inv float64, dy, x []float32)) {
	need("layer norm grad: dy", len(dy), rows*c)
	need("layer norm grad: x", len(x), rows*c)
	groups, step := groupsOf(rows)
	Parallel(groups, func(g int) {
		for r := g * step; r < min((g+1)*step, rows); r++ {
			row := x[r*c:][:c]
			var sum float64
			for _, v := range row {
				sum += float64(v)
			}
			mean := sum / float64(c)
			var sq float64
			for _, v := range row {
				d := float64(v) - mean
				sq += float64(d * d)
			}
			f(g, r, mean, 1/math.Sqrt(sq/float64(c)+float64(eps)), dy[r*c:][:c], row)
		}
	})
}
