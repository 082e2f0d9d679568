package train_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/internal/train"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/weights"
)

func encoder(t testing.TB, c golden.Config, seed uint64) *vit.Encoder {
	t.Helper()
	cfg := vit.Config{
		ImageSize: c.ImgSize, Patch: c.Patch, Width: c.Width, Depth: c.Depth, Heads: c.Heads, HeadDim: c.Width / c.Heads,
		MLP: c.Width * c.MLPRatio, Window: c.Window, Global: c.Globals, Out: c.Prompt,
	}
	p := &struct {
		Encoder *vit.Params `weight:"image_encoder"`
	}{vit.NewParams(cfg)}
	require.NoError(t, weights.Bind(weights.Random(weights.Specs(p), seed), p))
	e, err := vit.New(cfg, p.Encoder)
	require.NoError(t, err)
	return e
}

// TestEncoderGradients compares the gradients of the whole image encoder, with
// low-rank matrices in every block, with PyTorch's autograd: windows with and
// without padding, global attention, patches and neck.
func TestEncoderGradients(t *testing.T) {
	f, err := golden.Load("gradients_encoder")
	require.NoError(t, err)
	var ref struct {
		What, Model string
		Seed        uint64
		Config      golden.Config
		Rank        int
		Tensors     []string
	}
	require.NoError(t, f.Meta(&ref))
	enc := encoder(t, ref.Config, ref.Seed)
	a, err := train.NewAdapters(enc, ref.Config.Depth, ref.Rank, 1)
	require.NoError(t, err)
	b := graph.NewBuilder()
	b.Variables(func(string) bool { return true })
	of := map[string]*G.Node{}
	for _, w := range slices.Concat(enc.Weights().All(), a.Weights()) {
		of[w.Name()] = b.Weight(w)
	}
	a.Apply(b)
	out := enc.Build(b)
	require.NoError(t, b.Err())
	var wrt []*G.Node
	for _, name := range ref.Tensors {
		require.Contains(t, of, name)
		wrt = append(wrt, of[name])
	}
	grads := b.Backward(op.Sum{}, []*G.Node{out}, []*G.Node{b.Input("seed", out.Shape()...)}, wrt)
	require.NoError(t, b.Err())
	p, err := cpu.Compile(b, graph.CompileOptions{}, append(grads, out)...)
	require.NoError(t, err)
	copy(p.Input(vit.Picture), golden.Values("picture", len(p.Input(vit.Picture)), ref.Seed))
	for _, w := range a.Weights() {
		x, err := weights.Random([]weights.Spec{{Name: w.Name(), Shape: w.Shape()}}, ref.Seed).Tensor(w.Name())
		require.NoError(t, err)
		v, err := x.Float32s()
		require.NoError(t, err)
		copy(p.Input(w.Name()), v)
	}
	seed := golden.Values("embedding", out.Shape().TotalSize(), ref.Seed)
	for i := range seed {
		seed[i] /= float32(math.Sqrt(float64(len(seed))))
	}
	copy(p.Input("seed"), seed)
	require.NoError(t, p.Run(context.Background()))
	var loss float64
	for i, v := range p.Output(len(grads)) {
		loss += float64(v) * float64(seed[i])
	}
	want, err := f.Float32s("loss")
	require.NoError(t, err)
	assert.InDelta(t, want.Data[0], loss, 1e-4)
	table, err := f.Float32s("gradients")
	require.NoError(t, err)
	for i, name := range ref.Tensors {
		assert.NoError(t, golden.CheckDigest(name, table.Data[9*i:9*i+9], p.Output(i), 1e-4, 2e-6))
	}
}

// TestAdapters: a run with adapters learns, its merged weights give the same
// embedding, and at first they change nothing.
func TestAdapters(t *testing.T) {
	cfg := golden.Config{ImgSize: 64, Patch: 8, Width: 32, Depth: 3, Heads: 2, MLPRatio: 2, Window: 4, Globals: []int{2}, Prompt: 32}
	enc := encoder(t, cfg, 5)
	a, err := train.NewAdapters(enc, 2, 2, 9)
	require.NoError(t, err)
	assert.Equal(t, 2, a.Blocks())
	head, err := a.Head()
	require.NoError(t, err)
	copy(head.Input(vit.Picture), golden.Values("picture", 64*64*3, 1))
	require.NoError(t, head.Run(context.Background()))
	view := views(t)[0]
	view.Embedding = append([]float32(nil), head.Output(0)...)

	e, err := train.NewEngine(tiny.networks(t), plan().Loss, a)
	require.NoError(t, err)
	r := train.NewRun(plan(), e)
	ctx := context.Background()
	first, err := e.Begin(ctx, &view)
	require.NoError(t, err)
	before := append([]float32(nil), first...)
	assert.Equal(t, embed(t, enc, cfg), before)
	for range 30 {
		_, err := r.Step(ctx, []train.View{view})
		require.NoError(t, err)
	}
	now, err := e.Begin(ctx, &view)
	require.NoError(t, err)
	after := append([]float32(nil), now...)
	assert.NotEqual(t, before, after)
	assert.Less(t, r.Curve[29].Loss, r.Curve[0].Loss)

	tensors, err := e.Tensors()
	require.NoError(t, err)
	p := &struct {
		Encoder *vit.Params `weight:"image_encoder"`
	}{vit.NewParams(enc.Config())}
	specs := weights.Specs(p)
	ck := weights.Random(specs, 5)
	change := map[string]weights.TensorData{}
	for _, s := range specs {
		if d, ok := tensors[s.Name]; ok {
			change[s.Name] = d
		}
	}
	assert.Len(t, change, 2)
	assert.Len(t, e.Adapters(), 8)
	ck, err = ck.With(change)
	require.NoError(t, err)
	require.NoError(t, weights.Bind(ck, p))
	merged, err := vit.New(enc.Config(), p.Encoder)
	require.NoError(t, err)
	assert.InDeltaSlice(t, after, embed(t, merged, cfg), 1e-4)

	_, err = train.NewAdapters(enc, 4, 2, 9)
	assert.ErrorContains(t, err, "want a rank of 1 to 32 and 1 to 3 blocks")
}

func embed(t *testing.T, enc *vit.Encoder, c golden.Config) []float32 {
	t.Helper()
	b := graph.NewBuilder()
	p, err := cpu.Compile(b, graph.CompileOptions{}, enc.Build(b))
	require.NoError(t, err)
	copy(p.Input(vit.Picture), golden.Values("picture", c.ImgSize*c.ImgSize*3, 1))
	require.NoError(t, p.Run(context.Background()))
	return p.Output(0)
}
