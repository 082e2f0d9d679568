package kernel

import "testing"

// TestMapKernels: the kernels of maps give the same bits as the portable ones,
// for all lengths through three blocks, and touch nothing else.
func TestMapKernels(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for n := im.lanes; n <= 3*im.lanes; n += im.lanes {
			for off := range 8 {
				c := n + off // the distance of pixels
				r := newRand(n, off)
				in := func(n int) []float32 { return guarded(random(r, n), off) }
				row := 2*c + n // three pixels
				bias, w := in(n), in(8*c+n)
				a, b, e := in(row), in(row), in(row)
				got, want := newCanary(n, off), make([]float32, n)
				im.depthwise(got.out, bias, a, b, e, w, c, n)
				got.check(t, off, nil)
				depthwiseGeneric(want, bias, a, b, e, w, c, n)
				sameBits(t, want, got.out)

				const rows = 5
				size := (rows-1)*c + n
				x, scale, shift := in(size), in(n), in(n)
				got, want = newCanary(size, off), make([]float32, size)
				im.scaleShift(got.out, x, scale, shift, rows, c, n)
				got.check(t, off, func(i int) bool { return i%c >= n })
				scaleShiftGeneric(want, x, scale, shift, rows, c, n)
				for i := 0; i < size; i += c {
					sameBits(t, want[i:i+n], got.out[i:i+n])
				}
				im.scaleShift(x, x, scale, shift, rows, c, n) // in place
				for i := 0; i < size; i += c {
					sameBits(t, want[i:i+n], x[i:i+n])
				}

				x = in(size)
				sums := make([]float64, 4*n+2)
				for i := range sums {
					sums[i] = float64(i)
				}
				sums[2*n], sums[4*n+1] = canaryValue, canaryValue
				before := append([]float64(nil), sums...)
				im.channelSums(sums[:n:n], sums[n:2*n:2*n], x, c, rows, n)
				channelSumsGeneric(before[:n], before[n:2*n], x, c, rows, n)
				for i, v := range before {
					if v != sums[i] {
						t.Fatalf("sum %d of %d is %v, want %v", i, n, sums[i], v)
					}
				}
			}
		}
	})
}
