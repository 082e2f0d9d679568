package kernel

import "math"

// The constants of the exponential. Between exp2Lo and exp2Hi, 2^n is a normal
// number.
const (
	exp2Lo   = -125
	exp2Hi   = 127
	exp2C1   = 0.6931471824645996
	exp2C2   = 0.24022647738456726
	exp2C3   = 0.055503323674201965
	exp2C4   = 0.00961843691766262
	exp2C5   = 0.0013398875016719103
	exp2C6   = 0.00015353361959569156
	exp2Bias = 12582912 // 1.5 * 2^23: adding it rounds to an integer

	log2e = 1.44269504088896341
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

// exp2 returns 2^x with a relative error below 1.5e-7, 1 for 0, and NaN for
// NaN. Arguments are held to [exp2Lo, exp2Hi].
//
// x = n + r with |r| <= 1/2; 2^r is 1 + r q(r) with q of degree 5, fitted for
// the least relative error (2e-9).
func exp2(x float32) float32 {
	if x < exp2Lo {
		x = exp2Lo
	}
	if x > exp2Hi {
		x = exp2Hi
	}
	n := x + exp2Bias - exp2Bias
	r := x - n
	p := float32(exp2C6)
	p = float32(p*r) + exp2C5
	p = float32(p*r) + exp2C4
	p = float32(p*r) + exp2C3
	p = float32(p*r) + exp2C2
	p = float32(p*r) + exp2C1
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
	e := exp2(float32(t*t) * (-log2e / 2))
	return top - float32(float32(t*e)*p)
}
