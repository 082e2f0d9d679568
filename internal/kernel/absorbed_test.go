package kernel

import (
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// absorbedSizes are maps of a part of a panel, of several blocks, and of more
// blocks than groups; channels that do and do not fill panels.
var absorbedSizes = []Absorbed{
	{Cells: 3, Channels: 5, Heads: 2, HeadDim: 2, Tokens: 1},
	{Cells: 40, Channels: 16, Heads: 2, HeadDim: 4, Tokens: 7},
	{Cells: 300, Channels: 33, Heads: 3, HeadDim: 3, Tokens: 5},
	{Cells: 1500, Channels: 24, Heads: 4, HeadDim: 5, Tokens: 9},
}

// tokenToImage64 is TokenToImage of x, positions and reads.
func (a *Absorbed) tokenToImage64(x, positions, reads []float64) []float64 {
	out := make([]float64, a.rows()*a.Channels)
	for r := range a.rows() {
		w := make([]float64, a.Cells)
		var sum float64
		for i := range w {
			var dot float64
			for c := range a.Channels {
				dot += reads[r*a.Channels+c] * (x[i*a.Channels+c] + positions[i*a.Channels+c])
			}
			w[i] = math.Exp(dot / math.Sqrt(float64(a.HeadDim)))
			sum += w[i]
		}
		for i, v := range w {
			for c := range a.Channels {
				out[r*a.Channels+c] += v / sum * x[i*a.Channels+c]
			}
		}
	}
	return out
}

// imageToToken64 is ImageToToken of x, positions, keys, known and values.
func (a *Absorbed) imageToToken64(x, positions, keys, known, values []float64) []float64 {
	n, out := a.Channels, append([]float64(nil), x...)
	for i := range a.Cells {
		for h := range a.Heads {
			w := make([]float64, a.Tokens)
			var sum float64
			for t := range w {
				r := h*a.Tokens + t
				dot := known[r]
				for c := range n {
					dot += keys[r*n+c] * (x[i*n+c] + positions[i*n+c])
				}
				w[t] = math.Exp(dot / math.Sqrt(float64(a.HeadDim)))
				sum += w[t]
			}
			for t, v := range w {
				for c := range n {
					out[i*n+c] += v / sum * values[(h*a.Tokens+t)*n+c]
				}
			}
		}
	}
	return out
}

// sampled compares some elements of a gradient with central differences of f.
func sampled(t *testing.T, name string, f func(x [][]float64) []float64, x [][]float32, at int, g, got []float32) {
	t.Helper()
	in := make([][]float64, len(x))
	for i := range x {
		in[i] = wide(x[i])
	}
	step := 1 + len(in[at])/19
	var want []float64
	var some []float32
	const h = 1e-4
	for i := len(in[at]) % step; i < len(in[at]); i += step {
		v := in[at][i]
		in[at][i] = v + h
		up := f(in)
		in[at][i] = v - h
		down := f(in)
		in[at][i] = v
		var sum float64
		for k := range up {
			sum += (up[k] - down[k]) / (2 * h) * float64(g[k])
		}
		want, some = append(want, sum), append(some, got[i])
	}
	t.Run(name, func(t *testing.T) { closeToSlope(t, want, some) })
}

func TestAbsorbedTokenToImage(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, a := range absorbedSizes {
			t.Run(fmt.Sprint(a), func(t *testing.T) {
				n, m := a.Cells*a.Channels, a.rows()*a.Channels
				r := newRand(a.Cells, a.Channels, a.Tokens)
				in := [][]float32{random(r, n), random(r, n), random(r, m)}
				weights, found := newCanary(a.tokenToImageLen(im), 1), newCanary(m, 2)
				a.tokenToImage(im, found.out, weights.out, guarded(in[0], 1), guarded(in[1], 2), guarded(in[2], 3))
				f := func(x [][]float64) []float64 { return a.tokenToImage64(x[0], x[1], x[2]) }
				closeTo(t, f([][]float64{wide(in[0]), wide(in[1]), wide(in[2])}), found.out, 1e-5, 1e-5)
				found.check(t, 2, nil)
				weights.check(t, 1, nil)
				dy, dx, dreads := random(r, m), newCanary(n, 1), newCanary(m, 3)
				a.tokenToImageGrad(im, dx.out, dreads.out, guarded(dy, 1), in[0], in[1], in[2], found.out, weights.out)
				sampled(t, "x", f, in, 0, dy, dx.out)
				sampled(t, "reads", f, in, 2, dy, dreads.out)
				dx.check(t, 1, nil)
				dreads.check(t, 3, nil)
			})
		}
	})
}

func TestAbsorbedImageToToken(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, a := range absorbedSizes {
			t.Run(fmt.Sprint(a), func(t *testing.T) {
				n, m := a.Cells*a.Channels, a.rows()*a.Channels
				r := newRand(a.Cells, a.Channels, a.Tokens)
				in := [][]float32{random(r, n), random(r, n), random(r, m), random(r, a.rows()), random(r, m)}
				weights, next := newCanary(a.imageToTokenLen(im), 1), newCanary(n, 2)
				a.imageToToken(im, next.out, weights.out, guarded(in[0], 1), guarded(in[1], 2), guarded(in[2], 3), guarded(in[3], 1), guarded(in[4], 2))
				f := func(x [][]float64) []float64 { return a.imageToToken64(x[0], x[1], x[2], x[3], x[4]) }
				var in64 [][]float64
				for _, x := range in {
					in64 = append(in64, wide(x))
				}
				closeTo(t, f(in64), next.out, 1e-5, 1e-5)
				next.check(t, 2, nil)
				weights.check(t, 1, nil)
				dy := random(r, n)
				dx, dkeys, dknown, dvalues := newCanary(n, 1), newCanary(m, 2), newCanary(a.rows(), 3), newCanary(m, 4)
				a.imageToTokenGrad(im, dx.out, dkeys.out, dknown.out, dvalues.out, guarded(dy, 1), in[0], in[1], in[2], in[4], weights.out)
				for i := range dx.out { // x itself goes on
					dx.out[i] += dy[i]
				}
				sampled(t, "x", f, in, 0, dy, dx.out)
				sampled(t, "keys", f, in, 2, dy, dkeys.out)
				sampled(t, "known", f, in, 3, dy, dknown.out)
				sampled(t, "values", f, in, 4, dy, dvalues.out)
				for i, c := range []canary{dx, dkeys, dknown, dvalues} {
					c.check(t, i+1, nil)
				}
			})
		}
	})
}

func TestAbsorbedHeads(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, a := range absorbedSizes {
			for _, c := range []int{1, a.Channels} {
				t.Run(fmt.Sprint(a, c), func(t *testing.T) {
					d, m := a.Heads*a.HeadDim, a.rows()*c
					r := newRand(d, c, a.Tokens)
					x, w, y, bias, add := random(r, a.Tokens*d), random(r, d*c), random(r, m), random(r, d), random(r, a.Tokens*d)
					absorbed, dw := make([]float64, m), make([]float64, d*c)
					per, plain := make([]float64, a.Tokens*d), make([]float64, a.Tokens*d)
					for h := range a.Heads {
						for n := range a.Tokens {
							for e := h * a.HeadDim; e < (h+1)*a.HeadDim; e++ {
								for k := range c {
									row := (h*a.Tokens+n)*c + k
									absorbed[row] += float64(x[n*d+e]) * float64(w[e*c+k])
									plain[n*d+e] += float64(y[row]) * float64(w[e*c+k])
									dw[e*c+k] += float64(x[n*d+e]) * float64(y[row])
								}
								per[n*d+e] = plain[n*d+e] + float64(bias[e]) + float64(add[n*d+e])
							}
						}
					}
					gotA, gotW, gotP, gotPlain := newCanary(m, 1), newCanary(d*c, 2), newCanary(a.Tokens*d, 3), newCanary(a.Tokens*d, 1)
					a.absorb(im, gotA.out, guarded(x, 1), guarded(w, 2), c)
					a.absorbGrad(im, gotW.out, guarded(x, 1), guarded(y, 2), c)
					a.perHead(im, gotP.out, guarded(y, 1), guarded(w, 2), guarded(bias, 3), guarded(add, 1), c)
					a.perHead(im, gotPlain.out, guarded(y, 1), guarded(w, 2), nil, nil, c)
					for i, g := range []struct {
						want []float64
						got  canary
					}{{absorbed, gotA}, {dw, gotW}, {per, gotP}, {plain, gotPlain}} {
						closeTo(t, g.want, g.got.out, 1e-5, 1e-5)
						g.got.check(t, []int{1, 2, 3, 1}[i], nil)
					}
				})
			}
		}
	})
}

// TestAbsorbedBits holds that the bits do not depend on the number of
// goroutines.
func TestAbsorbedBits(t *testing.T) {
	a := absorbedSizes[3]
	n, m := a.Cells*a.Channels, a.rows()*a.Channels
	r := newRand(1)
	x, p, reads, dy, dmap := random(r, n), random(r, n), random(r, m), random(r, m), random(r, n)
	known := random(r, a.rows())
	all := func() (out []float32) {
		w, found, dx, dreads := make([]float32, a.TokenToImageLen()), make([]float32, m), make([]float32, n), make([]float32, m)
		a.TokenToImage(found, w, x, p, reads)
		a.TokenToImageGrad(dx, dreads, dy, x, p, reads, found, w)
		out = append(append(append(out, found...), dx...), dreads...)
		w, next := make([]float32, a.ImageToTokenLen()), make([]float32, n)
		a.ImageToToken(next, w, x, p, reads, known, dy)
		dkeys, dknown, dvalues := make([]float32, m), make([]float32, a.rows()), make([]float32, m)
		a.ImageToTokenGrad(dx, dkeys, dknown, dvalues, dmap, x, p, reads, dy, w)
		return append(append(append(append(append(out, next...), dx...), dkeys...), dknown...), dvalues...)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var want []float32
	for _, procs := range []int{1, 2, 5} {
		runtime.GOMAXPROCS(procs)
		if got := all(); want == nil {
			want = got
		} else {
			require.Equal(t, want, got)
		}
	}
}
