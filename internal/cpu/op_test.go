package cpu_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/internal/tensortest"
)

// tol bounds the difference between float32 sums of fewer than 200 terms of
// size 1 taken in different orders.
const tol = 2e-5

func random(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 2*rng.Float32() - 1
	}
	return x
}

// array is one input of an op.
type array struct {
	data  []float32
	shape []int
}

func run(t testing.TB, o graph.Op, in ...array) []float32 {
	t.Helper()
	b := graph.NewBuilder()
	var nodes []*G.Node
	for i, a := range in {
		nodes = append(nodes, b.Constant(fmt.Sprint("in", i), a.data, a.shape...))
	}
	p, err := cpu.Compile(b, graph.CompileOptions{}, b.Apply(o, nodes...))
	require.NoError(t, err)
	require.NoError(t, p.Run(context.Background()))
	// The same with inputs that change between runs, none of them packed ahead.
	b = graph.NewBuilder()
	nodes = nil
	for i, a := range in {
		nodes = append(nodes, b.Input(fmt.Sprint("in", i), a.shape...))
	}
	q, err := cpu.Compile(b, graph.CompileOptions{}, b.Apply(o, nodes...))
	require.NoError(t, err)
	for i, a := range in {
		copy(q.Input(fmt.Sprint("in", i)), a.data)
	}
	require.NoError(t, q.Run(context.Background()))
	require.Equal(t, p.Output(0), q.Output(0))
	return p.Output(0)
}

// stock evaluates an expression of stock gorgonia ops.
func stock(t testing.TB, in []array, f func(n []*G.Node) *G.Node) []float32 {
	t.Helper()
	g := G.NewGraph()
	var nodes []*G.Node
	for i, a := range in {
		d := tensor.New(tensor.WithShape(a.shape...), tensor.WithBacking(append([]float32(nil), a.data...)))
		nodes = append(nodes, G.NewTensor(g, tensor.Float32, len(a.shape), G.WithName(fmt.Sprint("in", i)), G.WithShape(a.shape...), G.WithValue(d)))
	}
	var v G.Value
	G.Read(f(nodes), &v)
	vm := G.NewTapeMachine(g)
	defer vm.Close()
	require.NoError(t, vm.RunAll())
	return v.Data().([]float32)
}

func TestLinear(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, s := range [][3]int{{1, 1, 1}, {5, 7, 3}, {64, 33, 100}} {
		m, n, k := s[0], s[1], s[2]
		x, w, bias := array{random(rng, m*k), []int{m, k}}, array{random(rng, n*k), []int{n, k}}, array{random(rng, n), []int{n}}
		want := stock(t, []array{x, w, bias}, func(in []*G.Node) *G.Node {
			y := G.Must(G.Mul(in[0], G.Must(G.Transpose(in[1], 1, 0))))
			return G.Must(G.BroadcastAdd(y, in[2], nil, []byte{0}))
		})
		tensortest.Close(t, want, run(t, op.Linear{}, x, w, bias), tol, tol)
		w.shape = []int{n, k, 1, 1} // of a 1 x 1 convolution
		tensortest.Close(t, want, run(t, op.Linear{}, x, w, bias), tol, tol)
	}
}

// TestAddRepeats adds the same rows to each prompt's rows.
func TestAddRepeats(t *testing.T) {
	got := run(t, op.Add{}, array{[]float32{1, 2, 3, 4, 5, 6, 7, 8}, []int{4, 2}}, array{[]float32{10, 20, 30, 40}, []int{1, 2, 2}})
	assert.Equal(t, []float32{11, 22, 33, 44, 15, 26, 37, 48}, got)
}

func TestLayerNormAndGELU(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	const m, c = 9, 20
	x, gamma, beta := random(rng, m*c), random(rng, c), random(rng, c)
	norm := run(t, op.LayerNorm{Eps: 1e-6}, array{x, []int{m, c}}, array{gamma, []int{c}}, array{beta, []int{c}})
	got := run(t, op.GELU{}, array{norm, []int{m, c}})
	for i := range m {
		var mean, variance float64
		for _, v := range x[i*c : (i+1)*c] {
			mean += float64(v) / c
		}
		for _, v := range x[i*c : (i+1)*c] {
			variance += (float64(v) - mean) * (float64(v) - mean) / c
		}
		for j := range c {
			y := (float64(x[i*c+j])-mean)/math.Sqrt(variance+1e-6)*float64(gamma[j]) + float64(beta[j])
			assert.InDelta(t, 0.5*y*(1+math.Erf(y/math.Sqrt2)), got[i*c+j], tol)
		}
	}
	assert.Equal(t, []float32{0, 0, 2}, run(t, op.ReLU{}, array{[]float32{-1, 0, 2}, []int{3}}))
}

func TestAttention(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	const nq, nk, d = 5, 11, 8 // one head, so that stock ops can say it
	q, k, v := array{random(rng, nq*d), []int{nq, d}}, array{random(rng, nk*d), []int{nk, d}}, array{random(rng, nk*d), []int{nk, d}}
	want := stock(t, []array{q, k, v}, func(in []*G.Node) *G.Node {
		s := G.Must(G.Mul(in[0], G.Must(G.Transpose(in[1], 1, 0))))
		s = G.Must(G.Mul(s, G.NewConstant(float32(1/math.Sqrt(d)))))
		return G.Must(G.Mul(G.Must(G.SoftMax(s)), in[2]))
	})
	tensortest.Close(t, want, run(t, op.Attention{Batch: 1, Heads: 1, HeadDim: d, NQ: nq, NK: nk}, q, k, v), tol, tol)

	// Two prompts: the same queries, each with keys and values of its own.
	k2 := array{append(append([]float32(nil), k.data...), random(rng, nk*d)...), []int{2 * nk, d}}
	v2 := array{append(append([]float32(nil), v.data...), random(rng, nk*d)...), []int{2 * nk, d}}
	got := run(t, op.Attention{Batch: 2, Heads: 1, HeadDim: d, NQ: nq, NK: nk}, q, k2, v2)
	tensortest.Close(t, want, got[:nq*d], tol, tol)
	assert.NotEqual(t, got[:nq*d], got[nq*d:])
}

// TestAttentionShared: prompts that look at one map together have the bits of
// each by itself.
func TestAttentionShared(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 1))
	for _, nq := range []int{1, 5, 7, 16, 90} {
		const prompts, heads, hd, nk = 7, 3, 5, 300
		c := heads * hd
		k, v := array{random(rng, nk*c), tensor.Shape{nk, c}}, array{random(rng, nk*c), tensor.Shape{nk, c}}
		q := array{random(rng, prompts*nq*c), tensor.Shape{prompts * nq, c}}
		got := run(t, op.Attention{Batch: prompts, Heads: heads, HeadDim: hd, NQ: nq, NK: nk}, q, k, v)
		for p := range prompts {
			one := array{q.data[p*nq*c : (p+1)*nq*c], tensor.Shape{nq, c}}
			want := run(t, op.Attention{Batch: 1, Heads: heads, HeadDim: hd, NQ: nq, NK: nk}, one, k, v)
			assert.Equal(t, want, got[p*nq*c:(p+1)*nq*c], "%d queries, prompt %d", nq, p)
		}
	}
}

// TestConv compares convolutions of all kinds with their definition.
func TestConv(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	for _, tt := range []struct {
		batch, h, w, in, out, size, stride, pad int
		bias                                    bool
	}{
		{1, 8, 12, 3, 5, 4, 4, 0, true}, // patches of a picture
		{2, 6, 4, 5, 3, 2, 2, 0, true},  // of a map
		{1, 7, 5, 4, 6, 3, 1, 1, false}, // the neck's
		{2, 7, 5, 4, 6, 3, 1, 1, true},
		{2, 7, 9, 2, 3, 3, 2, 1, true},
		{1, 4, 5, 3, 2, 1, 1, 0, true},
		{1, 9, 8, 3, 2, 2, 2, 0, true},
	} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			o := op.Conv{Batch: tt.batch, H: tt.h, W: tt.w, Stride: tt.stride, Pad: tt.pad}
			x, w, bias := random(rng, tt.batch*tt.h*tt.w*tt.in), random(rng, tt.out*tt.in*tt.size*tt.size), random(rng, tt.out)
			in := []array{{x, []int{tt.batch * tt.h * tt.w, tt.in}}, {w, []int{tt.out, tt.in, tt.size, tt.size}}}
			if tt.bias {
				in = append(in, array{bias, []int{tt.out}})
			}
			got := run(t, o, in...)
			gh, gw := o.Grid(tt.size)
			require.Len(t, got, tt.batch*gh*gw*tt.out)
			for i := range got {
				c, px, py, b := i%tt.out, i/tt.out%gw, i/tt.out/gw%gh, i/tt.out/gw/gh
				var want float64
				if tt.bias {
					want = float64(bias[c])
				}
				for k := range tt.in * tt.size * tt.size {
					ci, y, x1 := k/tt.size/tt.size, py*tt.stride-tt.pad+k/tt.size%tt.size, px*tt.stride-tt.pad+k%tt.size
					if y >= 0 && y < tt.h && x1 >= 0 && x1 < tt.w {
						want += float64(x[((b*tt.h+y)*tt.w+x1)*tt.in+ci]) * float64(w[c*tt.in*tt.size*tt.size+k])
					}
				}
				require.InDelta(t, want, got[i], tol)
			}
		})
	}
}

func TestUpscale2x2(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	const b, h, w, in, out = 2, 3, 4, 5, 3
	x, weight, bias := random(rng, b*h*w*in), random(rng, in*out*4), random(rng, out)
	got := run(t, op.Upscale2x2{Batch: b, H: h, W: w}, array{x, []int{b * h * w, in}}, array{weight, []int{in, out, 2, 2}}, array{bias, []int{out}})
	for i := range got {
		o, p := i%out, i/out // channel and output pixel
		px, py, pb := p%(2*w), p/(2*w)%(2*h), p/(4*w*h)
		want := float64(bias[o])
		for k := range in {
			want += float64(x[((pb*h+py/2)*w+px/2)*in+k]) * float64(weight[(k*out+o)*4+py%2*2+px%2])
		}
		assert.InDelta(t, want, got[i], tol)
	}
}

func TestTokensAndPick(t *testing.T) {
	head, own := array{[]float32{1, 2, 3, 4}, []int{2, 2}}, array{[]float32{5, 6, 7, 8}, []int{2, 2}}
	got := run(t, op.Tokens{Batch: 2, N: 1}, head, own)
	assert.Equal(t, []float32{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 7, 8}, got)
	assert.Equal(t, []float32{1, 2, 3, 4, 1, 2, 3, 4}, run(t, op.Tokens{Batch: 2}, head))
	assert.Equal(t, []float32{5, 6, 7, 8}, run(t, op.Pick{Rows: 3, Which: []int{2}}, array{got, []int{6, 2}}))
	assert.Equal(t, []float32{5, 6, 1, 2, 7, 8, 1, 2}, run(t, op.Pick{Rows: 3, Which: []int{2, 0}}, array{got, []int{6, 2}}))
}

func TestRows(t *testing.T) {
	got := run(t, op.Rows{}, array{[]float32{1, 2}, []int{1, 2}}, array{[]float32{3, 4, 5, 6}, []int{2, 2}})
	assert.Equal(t, []float32{1, 2, 3, 4, 5, 6}, got)
}

// TestFloor leaves out the masks of prompts of which none is good enough.
func TestFloor(t *testing.T) {
	logits := array{[]float32{1, 2, 3, 4, 5, 6, 7, 8}, []int{4, 2}} // two prompts, two masks of two pixels
	quality := array{[]float32{9, 0.5, 0.6, 9, 0.3, 0.7}, []int{2, 3}}
	for floor, want := range map[float32][]float32{
		0:    logits.data,
		0.65: {0, 0, 0, 0, 5, 6, 7, 8},
		0.7:  {0, 0, 0, 0, 0, 0, 0, 0},
		-1:   logits.data,
	} {
		assert.Equal(t, want, run(t, op.Floor{Which: []int{1, 2}}, logits, quality, array{[]float32{floor}, []int{1}}))
	}
}

func TestMasks(t *testing.T) {
	up := array{[]float32{1, 2, 3, 4, 5, 6, 7, 8}, []int{4, 2}} // two prompts of two pixels
	a, b := array{[]float32{1, 0, 0, 1}, []int{2, 2}}, array{[]float32{1, 1, 2, -1}, []int{2, 2}}
	got := run(t, op.Masks{Batch: 2}, up, a, b)
	assert.Equal(t, []float32{1, 3, 3, 7, 6, 8, 4, 6}, got)
}

func TestDensePositions(t *testing.T) {
	g := []float32{0.5, -1, 2, 0.25} // [2, 2]
	got := run(t, op.DensePositions{H: 2, W: 3}, array{g, []int{2, 2}})
	for y := 0; y < 2; y++ {
		for x := 0; x < 3; x++ {
			cx, cy := 2*(float64(x)+0.5)/3-1, 2*(float64(y)+0.5)/2-1
			for i := 0; i < 2; i++ {
				a := 2 * math.Pi * (cx*float64(g[i]) + cy*float64(g[2+i]))
				assert.InDelta(t, math.Sin(a), got[(y*3+x)*4+i], 2e-6)
				assert.InDelta(t, math.Cos(a), got[(y*3+x)*4+2+i], 2e-6)
			}
		}
	}
}
