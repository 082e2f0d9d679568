package kernel

import "math"

// LayerNormGradX sets dx [rows, c] to the gradient of x through [LayerNorm]
// for the gradient dy of its result. dx may be dy, but must not overlap the
// others otherwise.
func LayerNormGradX(dx, dy, x, gamma []float32, rows, c int, eps float32) {
	layerNormGradX(active, dx, dy, x, gamma, rows, c, eps)
}

func layerNormGradX(im *impl, dx, dy, x, gamma []float32, rows, c int, eps float32) {
	need("layer norm grad: dx", len(dx), rows*c)
	need("layer norm grad: dy", len(dy), rows*c)
	need("layer norm grad: x", len(x), rows*c)
	need("layer norm grad: gamma", len(gamma), c)
	if rows <= 0 || c <= 0 {
		return
	}
	step := max(1, chunk/c)
	Parallel((rows+step-1)/step, func(i int) {
		r := i * step
		im.normGradX(dx[r*c:], dy[r*c:], x[r*c:], gamma, min(step, rows-r), c, eps)
	})
}

// normRows is how many rows are summed before the sums go into float64.
const normRows = 64

// LayerNormGradParams sets dgamma and dbeta [c] to the gradients of the scale
// and the shift of [LayerNorm]. Sums of many rows are in float64.
func LayerNormGradParams(dgamma, dbeta, dy, x []float32, rows, c int, eps float32) {
	layerNormGradParams(active, dgamma, dbeta, dy, x, rows, c, eps)
}

func layerNormGradParams(im *impl, dgamma, dbeta, dy, x []float32, rows, c int, eps float32) {
	need("layer norm grad: dgamma", len(dgamma), c)
	need("layer norm grad: dbeta", len(dbeta), c)
	need("layer norm grad: dy", len(dy), rows*c)
	need("layer norm grad: x", len(x), rows*c)
	groups, step := groupsOf(rows)
	sums := make([]float64, groups*2*c)
	Parallel(groups, func(g int) {
		sum := sums[g*2*c:][:2*c]
		part := make([]float32, 2*c)
		for r, end := g*step, min((g+1)*step, rows); r < end; r += normRows {
			clear(part)
			im.normGradParams(part[:c], part[c:], dy[r*c:], x[r*c:], min(normRows, end-r), c, eps)
			for j, v := range part {
				sum[j] += float64(v)
			}
		}
	})
	for j := range c {
		var g, b float64
		for i := 0; i < len(sums); i += 2 * c {
			g += sums[i+j]
			b += sums[i+c+j]
		}
		dgamma[j], dbeta[j] = float32(g), float32(b)
	}
}

// rowStats returns the mean of a row and its inverse deviation.
func rowStats(x []float32, eps float32) (mean, inv float32) {
	var sum, sq float64
	for _, v := range x {
		sum += float64(v)
	}
	m := sum / float64(len(x))
	for _, v := range x {
		d := float64(v) - m
		sq += float64(d * d)
	}
	return float32(m), float32(1 / math.Sqrt(sq/float64(len(x))+float64(eps)))
}

// normGradXGeneric sets dx to inv*(g·dy - mean(g·dy) - n*mean(g·dy·n)), n the
// normalised values.
func normGradXGeneric(dx, dy, x, gamma []float32, rows, c int, eps float32) {
	gamma = gamma[:c]
	for r := range rows {
		x, dy, dx := x[r*c:][:c], dy[r*c:][:c], dx[r*c:][:c]
		mean, inv := rowStats(x, eps)
		var slope, product float64
		for j, g := range gamma {
			v := float32(g * dy[j])
			slope += float64(v)
			product += float64(v) * float64(x[j]-mean)
		}
		a, b := float32(slope/float64(c)), float32(product/float64(c)*float64(inv)*float64(inv))
		for j, g := range gamma {
			dx[j] = inv * (float32(g*dy[j]) - a - float32(b*(x[j]-mean)))
		}
	}
}

// normGradParamsGeneric adds what rows say to dgamma and dbeta.
func normGradParamsGeneric(dgamma, dbeta, dy, x []float32, rows, c int, eps float32) {
	dgamma, dbeta = dgamma[:c], dbeta[:c]
	for r := range rows {
		x, dy := x[r*c:][:c], dy[r*c:][:c]
		mean, inv := rowStats(x, eps)
		for j, v := range dy {
			dgamma[j] += float32(v * float32((x[j]-mean)*inv))
			dbeta[j] += v
		}
	}
}
