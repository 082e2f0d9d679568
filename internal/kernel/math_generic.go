package kernel

import "math"

// The constants of the exponential. expLo and expHi are the ends of the range
// in which 2^n is a normal number.
const (
	expLo   = -87.33654
	expHi   = 88.37626
	log2e   = 1.44269504088896341
	ln2Hi   = 0.693359375 // few bits: n*ln2Hi is exact
	ln2Lo   = -2.12194440e-4
	expC2   = 0.4999999403953552
	expC3   = 0.1666651964187622
	expC4   = 0.04166839271783829
	expC5   = 0.008368780836462975
	expC6   = 0.0013814467238262296
	expBias = 12582912 // 1.5 * 2^23: adding it rounds to an integer
)

// The constants of GELU: 0.5*erfc(t/sqrt 2) is exp(-t^2/2) times a polynomial
// without constant term in u = 1/(1 + geluP*t).
const (
	geluMax = 13 // from here on the subtrahend is below 1e-36
	geluP   = 0.2800000011920929
	geluC1  = 0.11710906028747559
	geluC2  = 0.06379105895757675
	geluC3  = 0.27818337082862854
	geluC4  = -0.24851928651332855
	geluC5  = 0.3969908654689789
	geluC6  = -0.10755511373281479
)

// exp32 returns e^x with a relative error below 2e-7, 1 for 0, and NaN for
// NaN. Arguments are held to [expLo, expHi]: below, the result is 2^-126 and
// not smaller.
//
// x = n ln2 + r with |r| <= ln2/2; e^r is 1 + r + r^2 q(r) with q of degree 4,
// fitted for the least relative error (3e-9).
func exp32(x float32) float32 {
	if x < expLo {
		x = expLo
	}
	if x > expHi {
		x = expHi
	}
	n := float32(float32(x*log2e)+expBias) - expBias
	r := x - float32(n*ln2Hi)
	r -= float32(n * ln2Lo)
	p := float32(expC6)
	p = float32(p*r) + expC5
	p = float32(p*r) + expC4
	p = float32(p*r) + expC3
	p = float32(p*r) + expC2
	p = float32(p*r) + 1
	p = float32(p*r) + 1
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

// gelu32 returns x*Phi(x), Phi the normal distribution function: the exact
// (erf) form of GELU. It is max(x, 0) - t*Phi(-t) with t = |x|, so that
// nothing cancels; the subtrahend has an absolute error below 1e-7.
func gelu32(x float32) float32 {
	t := x
	if t < 0 {
		t = -t
	}
	if t > geluMax {
		t = geluMax
	}
	top := x
	if top < 0 {
		top = 0
	}
	u := 1 / (1 + float32(geluP*t))
	p := float32(geluC6)
	p = float32(p*u) + geluC5
	p = float32(p*u) + geluC4
	p = float32(p*u) + geluC3
	p = float32(p*u) + geluC2
	p = float32(p*u) + geluC1
	p *= u
	e := exp32(float32(t*t) * -0.5)
	return top - float32(float32(t*e)*p)
}
