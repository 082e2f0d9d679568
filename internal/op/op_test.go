package op_test

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

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
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

// array is one input of a kernel.
type array struct {
	data  []float32
	shape []int
}

func run(t testing.TB, k graph.Kernel, in ...array) []float32 {
	t.Helper()
	b := graph.NewBuilder()
	var nodes []*G.Node
	for i, a := range in {
		nodes = append(nodes, b.Weight(fmt.Sprint("in", i), a.data, a.shape...))
	}
	p, err := b.Compile(b.Apply(k, nodes...))
	require.NoError(t, err)
	require.NoError(t, p.Run(context.Background()))
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
		x, w := array{random(rng, m*k), []int{m, k}}, array{random(rng, n*k), []int{n, k}}
		bias, add := array{random(rng, n), []int{n}}, array{random(rng, m*n), []int{m, n}}
		packed := array{kernel.Pack(w.data, n, k).Data(), []int{kernel.PackedLen(n, k)}}
		want := stock(t, []array{x, w, bias, add}, func(in []*G.Node) *G.Node {
			y := G.Must(G.Mul(in[0], G.Must(G.Transpose(in[1], 1, 0))))
			return G.Must(G.Add(G.Must(G.BroadcastAdd(y, in[2], nil, []byte{0})), in[3]))
		})
		got := run(t, op.Linear{N: n, K: k, Bias: true, Add: true}, x, packed, bias, add)
		tensortest.Close(t, want, got, tol, tol)
	}
}

// TestLinearRepeatsAdd adds the same rows to each prompt's rows.
func TestLinearRepeatsAdd(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	const p, r, n, k = 3, 4, 6, 5
	x := array{random(rng, p*r*k), []int{p * r, k}}
	w := array{kernel.Pack(random(rng, n*k), n, k).Data(), []int{kernel.PackedLen(n, k)}}
	add := array{random(rng, r*n), []int{r, n}}
	plain := run(t, op.Linear{N: n, K: k}, x, w)
	got := run(t, op.Linear{N: n, K: k, Add: true}, x, w, add)
	for i := range got {
		assert.InDelta(t, plain[i]+add.data[i%(r*n)], got[i], tol)
	}
}

func TestLayerNormGELU(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	const m, c = 9, 20
	x, gamma, beta := random(rng, m*c), random(rng, c), random(rng, c)
	got := run(t, op.LayerNorm{Eps: 1e-6, GELU: true}, array{x, []int{m, c}}, array{gamma, []int{c}}, array{beta, []int{c}})
	for i := 0; i < m; i++ {
		var mean, variance float64
		for _, v := range x[i*c : (i+1)*c] {
			mean += float64(v) / c
		}
		for _, v := range x[i*c : (i+1)*c] {
			variance += (float64(v) - mean) * (float64(v) - mean) / c
		}
		for j := 0; j < c; j++ {
			y := (float64(x[i*c+j])-mean)/math.Sqrt(variance+1e-6)*float64(gamma[j]) + float64(beta[j])
			assert.InDelta(t, 0.5*y*(1+math.Erf(y/math.Sqrt2)), got[i*c+j], tol)
		}
	}
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

func TestPatchesAndConvolution(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	const h, w, c, out, size = 8, 12, 3, 5, 4
	planes := random(rng, c*h*w)
	rows := make([]float32, len(planes))
	for k := 0; k < c; k++ {
		for i := 0; i < h*w; i++ {
			rows[i*c+k] = planes[k*h*w+i]
		}
	}
	weight := random(rng, out*c*size*size)
	want := stock(t, []array{{planes, []int{1, c, h, w}}, {weight, []int{out, c, size, size}}}, func(in []*G.Node) *G.Node {
		return G.Must(G.Conv2d(in[0], in[1], tensor.Shape{size, size}, []int{0, 0}, []int{size, size}, []int{1, 1}))
	}) // [1, out, h/size, w/size]
	p := run(t, op.Patches{Batch: 1, H: h, W: w, Size: size, ChannelFirst: true}, array{rows, []int{h * w, c}})
	n, k := h*w/size/size, c*size*size
	got := run(t, op.Linear{N: out, K: k}, array{p, []int{n, k}}, array{kernel.Pack(weight, out, k).Data(), []int{kernel.PackedLen(out, k)}})
	for o := 0; o < out; o++ {
		for i := 0; i < n; i++ {
			assert.InDelta(t, want[o*n+i], got[i*out+o], tol)
		}
	}
}

func TestUpscale2x2(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	const b, h, w, in, out = 2, 3, 4, 5, 3
	x, weight, bias := random(rng, b*h*w*in), random(rng, 4*out*in), random(rng, out)
	var packed, four []float32
	for y := 0; y < 2; y++ {
		packed = append(packed, kernel.Pack(weight[y*2*out*in:], 2*out, in).Data()...)
	}
	for i := 0; i < 4; i++ {
		four = append(four, bias...)
	}
	got := run(t, op.Upscale2x2{Batch: b, H: h, W: w, In: in, Out: out}, array{x, []int{b * h * w, in}}, array{packed, []int{len(packed)}}, array{four, []int{4 * out}})
	for i := range got {
		o, p := i%out, i/out // channel and output pixel
		px, py, pb := p%(2*w), p/(2*w)%(2*h), p/(4*w*h)
		want := float64(bias[o])
		for k := 0; k < in; k++ {
			want += float64(x[((pb*h+py/2)*w+px/2)*in+k]) * float64(weight[((py%2*2+px%2)*out+o)*in+k])
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

func TestPanels(t *testing.T) {
	x := array{random(rand.New(rand.NewPCG(7, 1)), 2*37*3), []int{2 * 37, 3}}
	n := kernel.PackedLen(37, 1)
	p := run(t, op.Panels{Rows: 37}, x)
	require.Len(t, p, 2*n*3)
	one := make([]float32, n*3)
	kernel.PackPanels(one, x.data[37*3:], 37, 3)
	assert.Equal(t, one, p[n*3:])
	assert.Equal(t, x.data, run(t, op.FromPanels{Rows: 37}, array{p, []int{2 * n, 3}}))
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

// TestShapes gives each kernel inputs that do not fit it.
func TestShapes(t *testing.T) {
	s := func(d ...int) tensor.Shape { return d }
	packed := s(kernel.PackedLen(4, 3))
	for name, tt := range map[string]struct {
		k  graph.Kernel
		in []tensor.Shape
	}{
		"linear: too few": {op.Linear{N: 4, K: 3, Bias: true}, []tensor.Shape{s(5, 3), packed}},
		"linear: x":       {op.Linear{N: 4, K: 3}, []tensor.Shape{s(5, 2), packed}},
		"linear: rank":    {op.Linear{N: 4, K: 3}, []tensor.Shape{s(5, 3, 1), packed}},
		"linear: weight":  {op.Linear{N: 4, K: 3}, []tensor.Shape{s(5, 3), s(1)}},
		"linear: bias":    {op.Linear{N: 4, K: 3, Bias: true}, []tensor.Shape{s(5, 3), packed, s(3)}},
		"linear: add":     {op.Linear{N: 4, K: 3, Add: true}, []tensor.Shape{s(5, 3), packed, s(2, 4)}},
		"norm: no input":  {op.LayerNorm{}, nil},
		"norm: gamma":     {op.LayerNorm{}, []tensor.Shape{s(2, 3), s(2), s(3)}},
		"gelu":            {op.GELU{}, nil},
		"add: width":      {op.Add{}, []tensor.Shape{s(4, 3), s(2, 2)}},
		"add: rows":       {op.Add{}, []tensor.Shape{s(4, 3), s(3, 3)}},
		"attention: keys": {op.Attention{Batch: 2, Heads: 1, HeadDim: 4, NQ: 3, NK: 5}, []tensor.Shape{s(3, 4), s(6, 4), s(5, 4)}},
		"rel pos: table":  {op.RelPosAttention{Grid: kernel.Grid{H: 4, W: 4, Window: 2, Heads: 1, HeadDim: 4}}, []tensor.Shape{s(16, 12), s(7, 4), s(3, 4), s(12)}},
		"patches: size":   {op.Patches{Batch: 1, H: 4, W: 4, Size: 3}, []tensor.Shape{s(16, 1)}},
		"patches: rows":   {op.Patches{Batch: 2, H: 4, W: 4, Size: 2}, []tensor.Shape{s(16, 1)}},
		"conv: weight":    {op.Conv3x3{H: 2, W: 2, In: 3, Out: 4}, []tensor.Shape{s(4, 3), s(5)}},
		"upscale: bias":   {op.Upscale2x2{Batch: 1, H: 2, W: 2, In: 3, Out: 2}, []tensor.Shape{s(4, 3), s(2 * kernel.PackedLen(4, 3)), s(2)}},
		"tokens: width":   {op.Tokens{Batch: 1, N: 1}, []tensor.Shape{s(2, 3), s(1, 4)}},
		"pick: index":     {op.Pick{Rows: 2, Which: []int{2}}, []tensor.Shape{s(4, 3)}},
		"masks: prompts":  {op.Masks{Batch: 3}, []tensor.Shape{s(4, 2), s(3, 2)}},
		"masks: width":    {op.Masks{Batch: 2}, []tensor.Shape{s(4, 2), s(2, 3)}},
		"two-way: map": {op.TwoWay{Batch: 2, Cells: 4, Heads: 1, HeadDim: 2, Tokens: 1, Readers: 1, Look: true},
			[]tensor.Shape{s(kernel.PackedLen(4, 1)+1, 3), s(kernel.PackedLen(4, 1), 2), s(2, 2), s(2, 3)}},
		"two-way: half": {op.TwoWay{Batch: 1, Cells: 4, Heads: 1, HeadDim: 2, Tokens: 1, Readers: 1},
			[]tensor.Shape{s(kernel.PackedLen(4, 1), 3), s(kernel.PackedLen(4, 1), 2), s(1, 2), s(1, 3)}},
		"absorb: x":         {op.Absorb{Batch: 1, Tokens: 2, Heads: 1, HeadDim: 3, C: 4}, []tensor.Shape{s(2, 2), packed}},
		"absorb: bias":      {op.Absorb{Batch: 1, Tokens: 2, Heads: 1, HeadDim: 3, C: 4, Bias: true}, []tensor.Shape{s(2, 3), packed, s(3)}},
		"per head: rows":    {op.PerHead{Batch: 2, Tokens: 2, Heads: 1, HeadDim: 4}, []tensor.Shape{s(3, 3), packed, s(4)}},
		"panels: rank":      {op.Panels{Rows: 4}, []tensor.Shape{s(4)}},
		"panels: rows":      {op.Panels{Rows: 4}, []tensor.Shape{s(6, 2)}},
		"from panels: rows": {op.FromPanels{Rows: 4}, []tensor.Shape{s(kernel.PackedLen(4, 1)+1, 2)}},
		"mask head: few":    {op.MaskHead{Batch: 1, H: 1, W: 1, Up1: 1, Up2: 1, Which: []int{0}}, []tensor.Shape{s(1, 1)}},
		"mask head: which": {op.MaskHead{Batch: 1, H: 1, W: 1, Up1: 1, Up2: 1, Which: []int{2}},
			[]tensor.Shape{s(kernel.PackedLen(1, 1), 1), s(4), s(4, kernel.PanelLanes()), s(1), s(1), s(4), s(4, kernel.PanelLanes()), s(1, 2), s(1), s(1, 1)}},
		"points: table":             {op.Points{Size: 64}, []tensor.Shape{s(2, 3), s(2, 4), s(5, 7)}},
		"dense positions: gaussian": {op.DensePositions{H: 2, W: 2}, []tensor.Shape{s(3, 4)}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tt.k.Shape(tt.in)
			assert.ErrorIs(t, err, graph.ErrShape)
		})
	}
}

func ExamplePatches() {
	b := graph.NewBuilder()
	x := b.Weight("x", []float32{1, 2, 3, 4, 5, 6, 7, 8}, 8, 1) // a map of 2 x 4 pixels
	p, err := b.Compile(b.Apply(op.Patches{Batch: 1, H: 2, W: 4, Size: 2}, x))
	if err != nil {
		panic(err)
	}
	if err := p.Run(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println(p.Output(0))
	// Output: [1 2 5 6 3 4 7 8]
}
