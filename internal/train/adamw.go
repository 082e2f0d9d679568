package train

import (
	"math"

	"github.com/slidesam/sam/internal/kernel"
)

// AdamWOptions are the optimiser's settings. The zero value is torch's.
type AdamWOptions struct {
	Rate  float64 // learning rate; 0: 1e-3
	Beta1 float64 // 0: 0.9
	Beta2 float64 // 0: 0.999
	Eps   float64 // 0: 1e-8
	Decay float64 // weight decay; 0: 0.01, negative: none
}

func (o AdamWOptions) full() AdamWOptions {
	set := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.Rate, 1e-3)
	set(&o.Beta1, 0.9)
	set(&o.Beta2, 0.999)
	set(&o.Eps, 1e-8)
	set(&o.Decay, 0.01)
	o.Decay = max(o.Decay, 0)
	return o
}

// AdamW is Adam with weight decay apart from the gradient.
//
// Source: torch.optim.AdamW (single_tensor_adamw), whose order of operations it
// follows.
type AdamW struct {
	o AdamWOptions
	// Steps is how many steps were taken.
	Steps int
	// M and V are the means of the gradients and of their squares.
	M, V [][]float32
}

// NewAdamW returns an optimiser for arrays of these sizes.
func NewAdamW(o AdamWOptions, sizes []int) *AdamW {
	a := &AdamW{o: o.full()}
	for _, n := range sizes {
		a.M, a.V = append(a.M, make([]float32, n)), append(a.V, make([]float32, n))
	}
	return a
}

// Step changes the weights by their gradients. factor scales the learning rate.
func (a *AdamW) Step(weights, grads [][]float32, factor float64) {
	a.Steps++
	o := a.o
	rate := o.Rate * factor
	shrink := float32(1 - rate*o.Decay)
	step := float32(rate / (1 - math.Pow(o.Beta1, float64(a.Steps))))
	root := float32(math.Sqrt(1 - math.Pow(o.Beta2, float64(a.Steps))))
	b1, b2, eps := float32(1-o.Beta1), float32(o.Beta2), float32(o.Eps)
	rest := float32(1 - o.Beta2)
	for i := range weights {
		const chunk = 1 << 14
		n := len(weights[i])
		kernel.Parallel((n+chunk-1)/chunk, func(c int) {
			lo, hi := c*chunk, min((c+1)*chunk, n)
			w, g, m, v := weights[i][lo:hi], grads[i][lo:hi], a.M[i][lo:hi], a.V[i][lo:hi]
			for j, d := range g {
				m[j] += float32(b1 * (d - m[j]))
				v[j] = float32(v[j]*b2) + float32(rest*float32(d*d))
				den := float32(math.Sqrt(float64(v[j])))/root + eps
				w[j] = float32(w[j]*shrink) - float32(step*(m[j]/den))
			}
		})
	}
}

// Norm is the length of all gradients as one vector.
func Norm(grads [][]float32) float64 {
	var total float64
	for _, g := range grads {
		const chunk = 1 << 15
		parts := make([]float64, (len(g)+chunk-1)/chunk)
		kernel.Parallel(len(parts), func(c int) {
			var s float64
			for _, v := range g[c*chunk : min((c+1)*chunk, len(g))] {
				s += float64(v) * float64(v)
			}
			parts[c] = s
		})
		for _, s := range parts {
			total += s
		}
	}
	return math.Sqrt(total)
}

// Clip scales the gradients so that their length is at most limit, and returns
// the length that they had. No limit: 0.
//
// Source: torch.nn.utils.clip_grad_norm_.
func Clip(grads [][]float32, limit float64) float64 {
	norm := Norm(grads)
	if c := limit / (norm + 1e-6); limit > 0 && c < 1 {
		for _, g := range grads {
			for i := range g {
				g[i] *= float32(c)
			}
		}
	}
	return norm
}
