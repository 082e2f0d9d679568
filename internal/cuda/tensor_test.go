//go:build gpu && cgo && linux

package cuda

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

// rounded returns x as the precision's products see it.
func rounded(p Precision, x []float32) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		switch p {
		case BF16:
			v = math.Float32frombits(uint32(bf16(v)) << 16)
		case FP16:
			v = fromF16(f16(v))
		case TF32:
			v = math.Float32frombits((math.Float32bits(v) + 0x1000) &^ 0x1fff)
		}
		out[i] = v
	}
	return out
}

func fromF16(h uint16) float32 {
	exp, frac := int(h>>10&31), float64(h&1023)
	v := math.Ldexp(1024+frac, exp-25)
	switch {
	case exp == 0:
		v = math.Ldexp(frac, -24)
	case exp == 31 && frac == 0:
		v = math.Inf(1)
	case exp == 31:
		v = math.NaN()
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return float32(v)
}

func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		v := fromF16(uint16(h))
		if v != v {
			continue
		}
		assert.Equal(t, uint16(h), f16(v), v)
		if next := fromF16(uint16(h + 1)); h&0x7fff < 0x7bff {
			even := uint16(h + h&1)
			assert.Equal(t, even, f16((v+next)/2), "halfway above %v", v)
		}
	}
	for v, want := range map[float32]uint16{65519: 0x7bff, 65520: 0x7c00, -1e30: 0xfc00, 1e-9: 0} {
		assert.Equal(t, want, f16(v), v)
	}
	for u, want := range map[uint32]uint16{0x3f808000: 0x3f80, 0x3f818000: 0x3f82, 0x3f808001: 0x3f81, 0xff800000: 0xff80} {
		assert.Equal(t, want, bf16(math.Float32frombits(u)), "%x", u)
	}
	assert.Equal(t, uint16(0x7fff), bf16(float32(math.NaN())))
	assert.Equal(t, []int32{0x40003f80, 0x3f80}, halves([]float32{1, 2, 1}, bf16))
}

// tensorDevice skips on cards before Ampere.
func tensorDevice(t *testing.T) *Device {
	d := openOrSkip(t)
	if d.info.Capability < tensorCapability {
		t.Skip("no kernels on tensor cores before Ampere")
	}
	return d
}

// weightArg is a weight as the precision's kernels read it.
func weightArg(p Precision, w []float32) any {
	switch p {
	case BF16:
		return halves(w, bf16)
	case FP16:
		return halves(w, f16)
	}
	return w
}

// The products are compared with loops over the rounded values: what is left
// is the rounding of fp32 sums.
func TestTensorLinear(t *testing.T) {
	d := tensorDevice(t)
	for _, p := range []Precision{TF32, FP16, BF16} {
		for _, tt := range []struct{ m, n, k, act, rows int }{{1, 1, 8, actNone, 0}, {130, 77, 72, actGELU, 130}, {65, 129, 200, actReLU, 13}} {
			t.Run(fmt.Sprintf("%v/%+v", p, tt), func(t *testing.T) {
				a, w, bias := random(1, tt.m*tt.k), random(2, tt.n*tt.k), random(3, tt.n)
				l := p.tensor("tensor_linear").launch(tt.m, tt.n)
				l.args = []any{a, weightArg(p, w), bias, nil, tt.m, tt.n, tt.k, tt.act, max(tt.rows, 1)}
				out := nan(tt.m * tt.n)
				var add []float32
				if tt.rows > 0 {
					add = random(4, tt.rows*tt.n)
					l.args[3] = add
				}
				if tt.rows == tt.m {
					out, l.args[3] = add, inPlace{}
				}
				want := productLoop(rounded(p, a), rounded(p, w), bias, add, tt.m, tt.n, tt.k, tt.act)
				compare(t, want, runKernel(t, d, l, out), exact)
			})
		}
	}
}

func TestTensorConv(t *testing.T) {
	d := tensorDevice(t)
	for _, p := range []Precision{TF32, FP16, BF16} {
		for _, c := range []conv{{2, 8, 9, 8, 70, 3, 1, 1}, {1, 13, 11, 24, 3, 3, 1, 1}, {1, 32, 36, 8, 20, 4, 4, 0}} {
			t.Run(fmt.Sprintf("%v/%+v", p, c), func(t *testing.T) {
				oh, ow := c.result()
				x, w := random(1, c.maps*c.h*c.w*c.in), random(2, c.out*c.size*c.size*c.in)
				bias, add := random(3, c.out), random(4, oh*ow*c.out)
				l := c.launch(p, x, weightArg(p, w), bias, add, actGELU, oh*ow)
				want := convLoop(c, rounded(p, x), rounded(p, w), bias, add)
				compare(t, want, runKernel(t, d, l, nan(len(want))), exact)
			})
		}
	}
}

// Queries, keys and values are rounded beforehand; the weights of the softmax
// are rounded in the kernel, by half a unit in the last of 8 or 11 bits.
func TestTensorRelPosAttention(t *testing.T) {
	d := tensorDevice(t)
	for _, p := range []Precision{FP16, BF16} {
		for _, s := range relPosCases {
			if s.hd > 80 {
				continue
			}
			t.Run(fmt.Sprintf("%v/%+v", p, s), func(t *testing.T) {
				qkv, relh, relw, pad := s.inputs()
				qkv, pad = rounded(p, qkv), rounded(p, pad)
				want := s.loop(qkv, relh, relw, pad)
				l := relPosLaunch(p, qkv, relh, relw, pad, s.h, s.w, s.window, s.heads, s.hd)
				tol := map[Precision]float64{FP16: 5e-4, BF16: 4e-3}[p]
				compare(t, want, runKernel(t, d, l, nan(len(want))), tol)
			})
		}
	}
}
