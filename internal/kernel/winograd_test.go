package kernel

import (
	"fmt"
	"math"
	"runtime"
	"testing"
)

// winogradCase is a convolution of the parts' channels, of which each map has
// extra ones that are not read.
type winogradCase struct {
	h, w, out    int
	parts        []int
	scaled, bias bool
	relu         bool
}

func (k winogradCase) String() string {
	return fmt.Sprintf("%dx%d/in=%v/out=%d/scaled=%v/bias=%v/relu=%v", k.h, k.w, k.parts, k.out, k.scaled, k.bias, k.relu)
}

// make returns the convolution, its weight, and what it is in float64.
func (k winogradCase) make() (c Winograd, weight []float32, want []float64) {
	r := newRand(k.h, k.w, k.out)
	const extra = 3
	c = Winograd{H: k.h, W: k.w, Out: k.out, ReLU: k.relu}
	cin := 0
	var channel []func(p int) float64 // at pixel p
	for i, n := range k.parts {
		ld := n + extra
		x := random(r, k.h*k.w*ld)
		for j := range n {
			channel = append(channel, func(p int) float64 { return float64(x[p*ld+i+j]) })
		}
		c.Parts = append(c.Parts, ConvPart{guarded(x, i)[i:], ld, n})
		cin += n
	}
	if k.scaled {
		c.Scale, c.Shift = random(r, cin), random(r, cin)
	}
	if k.bias {
		c.Bias = random(r, k.out)
	}
	weight = random(r, k.out*cin*9)
	want = make([]float64, k.h*k.w*k.out)
	for i := range want {
		o, y, x := i%k.out, i/k.out/k.w, i/k.out%k.w
		if k.bias {
			want[i] = float64(c.Bias[o])
		}
		for tap := range 9 {
			sy, sx := y+tap/3-1, x+tap%3-1
			if sy < 0 || sy >= k.h || sx < 0 || sx >= k.w {
				continue
			}
			for j, at := range channel {
				v := at(sy*k.w + sx)
				if k.scaled {
					v = v*float64(c.Scale[j]) + float64(c.Shift[j])
				}
				want[i] += v * float64(weight[(o*cin+j)*9+tap])
			}
		}
		if k.relu {
			want[i] = max(0, want[i])
		}
	}
	return c, weight, want
}

// TestWinograd compares with the sum of products in float64: all sizes to 9 x 9,
// where no tile is whole, one is, and several are; inner lengths of several
// blocks; channels that no vector fills; maps of several blocks of tiles.
func TestWinograd(t *testing.T) {
	var cases []winogradCase
	for h := 1; h <= 9; h++ {
		for w := 1; w <= 9; w++ {
			cases = append(cases, winogradCase{h: h, w: w, out: 1 + (h+w)%3, parts: []int{1 + w%4}, bias: h%2 == 0})
		}
	}
	for n := 1; n <= 40; n++ {
		cases = append(cases, winogradCase{h: 6, w: 7, out: n, parts: []int{41 - n}, scaled: n%2 == 0, relu: n%3 == 0})
	}
	cases = append(cases,
		winogradCase{h: 1, w: 101, out: 5, parts: []int{9}, bias: true},
		winogradCase{h: 101, w: 2, out: 5, parts: []int{9}, bias: true},
		winogradCase{h: 30, w: 41, out: 24, parts: []int{16, 8}, scaled: true, bias: true, relu: true},
		winogradCase{h: 29, w: 30, out: 33, parts: []int{5, 11, 3}, scaled: true, bias: true},
		winogradCase{h: 8, w: 9, out: 70, parts: []int{400}, scaled: true, bias: true, relu: true},
		winogradCase{h: 13, w: 17, out: 20, parts: []int{256, 130}, bias: true},
	)
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, channels := range []int{2, 1024} {
			if n := winogradBlock(channels); n%im.mr != 0 {
				t.Fatalf("%d tiles are no whole panels of %d rows", n, im.mr)
			}
		}
		for _, k := range cases {
			c, weight, want := k.make()
			cin := len(weight) / 9 / k.out
			dst := newCanary(len(want), 5)
			c.run(im, dst.out, packWinograd(im, weight, k.out, cin))
			t.Run(k.String(), func(t *testing.T) {
				dst.check(t, 5, nil)
				closeTo(t, want, dst.out, 6*sumTolerance(9*cin), 1e-6) // rounding twice as large on average: see winogradA
			})
		}
	})
}

// TestWinogradRounding holds what the points were chosen for: the distance from
// float64 is, on average, less than four times that of the direct sum, which
// is added up in blocks. The points 0, ±1 and ±2 are at more than six times.
func TestWinogradRounding(t *testing.T) {
	k := winogradCase{h: 32, w: 32, out: 16, parts: []int{128}}
	c, weight, want := k.make()
	eachImpl(t, func(t *testing.T, im *impl) {
		rms := func(got []float32) float64 {
			var sum float64
			for i, v := range got {
				d := float64(v) - want[i]
				sum += d * d
			}
			return math.Sqrt(sum / float64(len(got)))
		}
		got := make([]float32, len(want))
		c.run(im, got, packWinograd(im, weight, 16, 128))
		less := rms(got)
		x := make([]float32, 32*32*128)
		copyRows(x, 128, c.Parts[0].X, c.Parts[0].Ld, 32*32, 128)
		last := make([]float32, len(weight))
		for o := range 16 {
			for i := range 128 {
				for tap := range 9 {
					last[(o*9+tap)*128+i] = weight[(o*128+i)*9+tap]
				}
			}
		}
		Conv3x3(got, x, 32, 32, pack(im, last, 16, 9*128, 9*128, false), Epilogue{})
		direct := rms(got)
		t.Logf("root mean square distance %.3g, of the sum of products %.3g", less, direct)
		if !(less < 4*direct) {
			t.Errorf("%g is more than 4 times %g", less, direct)
		}
	})
}

// TestWinogradProcs holds that results do not depend on the number of cores,
// and that a NaN of the map is one of the result.
func TestWinogradProcs(t *testing.T) {
	k := winogradCase{h: 40, w: 43, out: 20, parts: []int{12, 7}, scaled: true, bias: true, relu: true}
	c, weight, want := k.make()
	packed := PackWinograd(weight, 20, 19)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var results [2][]float32
	for i, procs := range []int{1, 5} {
		runtime.GOMAXPROCS(procs)
		results[i] = make([]float32, len(want))
		c.Run(results[i], packed)
	}
	sameBits(t, results[0], results[1])
	c.Parts[1].X[(11*43+5)*c.Parts[1].Ld] = float32(math.NaN())
	c.Run(results[0], packed)
	for i, v := range results[0] {
		if y, x := i/20/43, i/20%43; abs(y-11) <= 1 && abs(x-5) <= 1 && v == v {
			t.Fatalf("pixel %d, %d of channel %d is %v beside a NaN", y, x, i%20, v)
		}
	}
}

func abs(n int) int { return max(n, -n) }

func BenchmarkConv3x3(b *testing.B) {
	for _, s := range []struct{ side, in, out int }{
		{64, 256, 512}, {64, 512, 512}, {128, 512, 512}, {128, 512, 256}, {256, 256, 128}, {256, 256, 256},
		{512, 64, 64}, {512, 128, 128}, {1024, 64, 64}, {1024, 128, 64},
		{256, 8, 8}, {256, 16, 16}, {256, 32, 16}, {256, 32, 32}, {256, 48, 24},
	} {
		x, w := make([]float32, s.side*s.side*s.in), random(newRand(1), s.out*s.in*9)
		for i := range x {
			x[i] = float32(i % 7)
		}
		dst := make([]float32, s.side*s.side*s.out)
		rate := func(b *testing.B) {
			b.ReportMetric(float64(b.N)*float64(s.side*s.side)*float64(s.in*s.out*18)/1e9/b.Elapsed().Seconds(), "GFLOP/s")
		}
		name := fmt.Sprintf("side=%d/in=%d/out=%d", s.side, s.in, s.out)
		b.Run("how=direct/"+name, func(b *testing.B) {
			p := Pack(w, s.out, 9*s.in)
			for b.Loop() {
				Conv3x3(dst, x, s.side, s.side, p, Epilogue{})
			}
			rate(b)
		})
		b.Run("how=winograd/"+name, func(b *testing.B) {
			p := PackWinograd(w, s.out, s.in)
			c := Winograd{H: s.side, W: s.side, Out: s.out, Parts: []ConvPart{{x, s.in, s.in}}}
			for b.Loop() {
				c.Run(dst, p)
			}
			rate(b)
		})
	}
}
