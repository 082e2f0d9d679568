package kernel

// Conv3x3GradX sets dx [h*w, cin] to the gradient of the picture through
// [Conv3x3], for dy [h*w, cout] and the weight [cout, 9*cin] that is not
// packed. dx must not overlap the others.
func Conv3x3GradX(dx, dy, weight []float32, h, w, cin, cout int) {
	need("conv grad: weight", len(weight), 9*cin*cout)
	// A convolution with the taps turned round and the channels swapped.
	turned := make([]float32, 9*cin*cout)
	Parallel(cin, func(i int) {
		for tap := range 9 {
			for o := range cout {
				turned[(i*9+8-tap)*cout+o] = weight[(o*9+tap)*cin+i]
			}
		}
	})
	Conv3x3(dx, dy, h, w, Pack(turned, cin, 9*cout), Epilogue{})
}

// Conv3x3GradW sets dw [cout, 9*cin] to the gradient of the weight of
// [Conv3x3], for x [h*w, cin] and dy [h*w, cout].
func Conv3x3GradW(dw, dy, x []float32, h, w, cin, cout int) {
	need("conv grad: x", len(x), h*w*cin)
	s := convShape{h: h, w: w, c: cin}
	gradW(active, dw, dy, h*w, cout, 9*cin, func(tmp []float32, r0, n int) []float32 {
		s.gather(tmp, x, r0, n, 0, 9*cin)
		return tmp
	})
}

// FromQuarters moves the quarters of the rows z [h*w, 4*c], in the order (y,
// x), to the 2 x 2 pixels of each cell: y [2h*2w, c].
func FromQuarters(y, z []float32, h, w, c int) {
	quarters(y, z, h, w, c, func(pixel, quarter []float32) { copy(pixel, quarter) })
}

// ToQuarters undoes [FromQuarters].
func ToQuarters(z, y []float32, h, w, c int) {
	quarters(y, z, h, w, c, func(pixel, quarter []float32) { copy(quarter, pixel) })
}

func quarters(y, z []float32, h, w, c int, move func(pixel, quarter []float32)) {
	need("quarters: y", len(y), 4*h*w*c)
	need("quarters: z", len(z), 4*h*w*c)
	Parallel(h, func(i int) {
		for j := range w {
			for r := range 2 {
				// Two quarters lie side by side in both.
				move(y[((2*i+r)*2*w+2*j)*c:][:2*c], z[((i*w+j)*4+2*r)*c:][:2*c])
			}
		}
	})
}
