package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// eachImpl runs f as a subtest for every implementation that this machine
// can run.
func eachImpl(t *testing.T, f func(t *testing.T, im *impl)) {
	t.Helper()
	for _, im := range impls() {
		t.Run("impl="+im.name, func(t *testing.T) { f(t, im) })
	}
}

func random(r *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
	return s
}

func newRand(seed ...int) *rand.Rand {
	var s [32]byte
	copy(s[:], fmt.Sprint(seed))
	return rand.New(rand.NewChaCha8(s))
}

// guarded returns a slice of n elements that starts off elements into its
// buffer, with NaN on both sides: an input that is read past its ends spoils
// the result.
func guarded(x []float32, off int) []float32 {
	nan := float32(math.NaN())
	buf := make([]float32, off+len(x)+64)
	for i := range buf {
		buf[i] = nan
	}
	copy(buf[off:], x)
	return buf[off : off+len(x) : off+len(x)]
}

// canary is an output buffer whose surroundings are checked.
type canary struct {
	buf []float32
	out []float32
}

const canaryValue = 12345.678

func newCanary(n, off int) canary {
	buf := make([]float32, off+n+64)
	for i := range buf {
		buf[i] = canaryValue
	}
	return canary{buf, buf[off : off+n : off+n]}
}

// check reports writes outside the output. Elements of the output for which
// keep returns true must be untouched too.
func (c canary) check(t *testing.T, off int, keep func(i int) bool) {
	t.Helper()
	for i, v := range c.buf {
		in := i >= off && i < off+len(c.out)
		if (!in || keep != nil && keep(i-off)) && v != canaryValue {
			t.Fatalf("element %d of an output of %d was overwritten with %v", i-off, len(c.out), v)
		}
	}
}

// closeTo compares with a float64 reference: |got-want| <= abs + rel*|want|.
func closeTo(t *testing.T, want []float64, got []float32, abs, rel float64) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d elements, want %d", len(got), len(want))
	}
	worst, at := 0.0, -1
	for i, w := range want {
		over := math.Abs(float64(got[i])-w) - abs - rel*math.Abs(w)
		if !(over <= 0) && (at < 0 || !(over <= worst)) {
			worst, at = over, i
		}
	}
	if at >= 0 {
		t.Fatalf("worst at %d: %v, want %v: gap %g, allowed %g", at, got[at], want[at],
			math.Abs(float64(got[at])-want[at]), abs+rel*math.Abs(want[at]))
	}
}

// sameBits reports the first element in which two results differ.
func sameBits(t *testing.T, want, got []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
			t.Fatalf("element %d: %v, want the same bits as %v", i, got[i], want[i])
		}
	}
}
