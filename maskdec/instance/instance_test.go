package instance_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/tensortest"
	"github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/weights"
)

// reference is what the description of a reference file holds.
type reference struct {
	Embed, Grid, Features, Out int
	Transpose                  bool
	Norm                       string
	Seed                       uint64
	Weights                    []string
	Shapes                     [][]int
	Torch                      json.RawMessage
}

// checkpoint returns the weights of the reference.
func (r *reference) checkpoint() *weights.Checkpoint {
	var specs []weights.Spec
	for i, name := range r.Weights {
		specs = append(specs, weights.Spec{Name: name, Shape: r.Shapes[i]})
	}
	return weights.Random(specs, r.Seed)
}

// embedding returns the reference's input, [Grid*Grid, Embed].
func (r *reference) embedding(t *testing.T) []float32 {
	t.Helper()
	n := r.Embed * r.Grid * r.Grid
	first := golden.Uniform(n, golden.Hash(r.Seed))
	return transpose(first, r.Embed, r.Grid*r.Grid)
}

// transpose turns x [n, m] into [m, n].
func transpose(x []float32, n, m int) []float32 {
	out := make([]float32, len(x))
	for i := range n {
		for j := range m {
			out[j*n+i] = x[i*m+j]
		}
	}
	return out
}

func load(t *testing.T, name string) (*golden.File, *reference) {
	t.Helper()
	f, err := golden.Load(name)
	require.NoError(t, err)
	var r reference
	require.NoError(t, f.Meta(&r))
	return f, &r
}

func decoder(t *testing.T, r *reference) *instance.Decoder {
	t.Helper()
	ck := r.checkpoint()
	c, err := instance.ConfigOf(ck, r.Grid)
	require.NoError(t, err)
	f := r.Features
	assert.Equal(t, instance.Config{
		Grid: r.Grid, Embed: r.Embed, Features: [4]int{8 * f, 4 * f, 2 * f, f}, Out: r.Out, Transposed: r.Transpose, BatchNorm: r.Norm == "BatchNorm",
	}, c)
	p := instance.NewParams(c)
	require.NoError(t, weights.Bind(ck, p))
	d, err := instance.New(c, p)
	require.NoError(t, err)
	var names []string
	for _, spec := range instance.Specs(c) {
		names = append(names, spec.Name)
	}
	assert.ElementsMatch(t, r.Weights, names)
	return d
}

// TestReference compares with torch-em's UNETR as micro-sam runs it: both ways
// to enlarge maps, both kinds of norms in blocks and of statistics. Skips whose channels were not
// cropped in the middle, and norms of the wrong statistics, are off by tenths.
func TestReference(t *testing.T) {
	for _, name := range []string{"instance_a", "instance_b", "instance_c", "instance_full"} {
		full := name == "instance_full"
		if full && testing.Short() {
			continue // 411 G multiply-adds a run
		}
		f, r := load(t, name)
		d := decoder(t, r)
		for stats, mode := range map[instance.Stats]string{instance.BatchStats: "batch", instance.RunningStats: "running"} {
			for _, plain := range []bool{false, true} {
				if full && plain {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/plain=%t", name, mode, plain), func(t *testing.T) {
					b := graph.NewBuilder()
					out := d.Build(b, b.Input("z", r.Grid*r.Grid, r.Embed), stats)
					p, err := cpu.Compile(b, graph.CompileOptions{KeepStages: true, Plain: plain}, out)
					require.NoError(t, err)
					require.NoError(t, p.Bind("z", r.embedding(t)))
					require.NoError(t, p.Run(t.Context()))
					for _, stage := range []string{"z9", "z0", "maps"} {
						got, shape := p.Output(0), p.OutputShape(0)
						if stage != "maps" {
							got, shape, _ = p.Stage(stage)
						}
						want, err := f.Float32s(mode + "/" + stage)
						require.NoError(t, err)
						mine, err := want.Pick(transpose(got, shape[0], shape[1]))
						require.NoError(t, err)
						gap, err := tensortest.Compare(want.Data, mine, 2e-5, 1e-5)
						require.NoError(t, err)
						t.Log(stage, gap)
						// Sums of up to 4,608 products in another order, behind norms that
						// divide by a deviation; the maps' goal is 1e-4.
						tensortest.Close(t, want.Data, mine, 2e-5, 1e-5)
					}
				})
			}
		}
	}
}

func small() instance.Config {
	return instance.Config{Grid: 2, Embed: 4, Features: [4]int{16, 8, 4, 2}, Out: 3}
}

func TestConfigErrors(t *testing.T) {
	for name, change := range map[string]func(*instance.Config){
		"Grid is 0":                           func(c *instance.Config) { c.Grid = 0 },
		"Out is 2000":                         func(c *instance.Config) { c.Out = 2000 },
		"no middle as wide as the next level": func(c *instance.Config) { c.Features[1] = 7 },
		"the map of level 1 would have":       func(c *instance.Config) { c.Grid, c.Features = 1024, [4]int{64, 64, 64, 64} },
	} {
		c := small()
		change(&c)
		err := c.Validate()
		require.ErrorIs(t, err, instance.ErrConfig)
		assert.ErrorContains(t, err, name)
	}
	_, err := instance.ConfigOf(weights.FromTensors(nil), 4)
	assert.ErrorContains(t, err, "base.block.1.weight: missing")
	_, err = instance.ConfigOf(weights.FromTensors(map[string]weights.TensorData{"base.block.1.weight": {Shape: []int{3}, Data: make([]float32, 3)}}), 4)
	assert.ErrorContains(t, err, "shape [3], want rank 4")
}

// TestMissing leaves out weights that the binder takes for optional.
func TestMissing(t *testing.T) {
	normed := small()
	normed.BatchNorm = true
	for _, name := range []string{"deconv2.block.0.conv.bias", "decoder.blocks.1.block.3.running_var", "decoder_head.block.0.weight"} {
		var specs []weights.Spec
		for _, s := range instance.Specs(normed) {
			if s.Name != name {
				specs = append(specs, s)
			}
		}
		assert.Len(t, specs, len(instance.Specs(normed))-1)
		p := instance.NewParams(normed)
		require.NoError(t, weights.Bind(weights.Random(specs, 1), p))
		_, err := instance.New(normed, p)
		assert.ErrorIs(t, err, weights.ErrMissing)
		assert.ErrorContains(t, err, name)
	}
}

func Example() {
	c := instance.Config{Grid: 2, Embed: 4, Features: [4]int{16, 8, 4, 2}, Out: 3}
	p := instance.NewParams(c)
	if err := weights.Bind(weights.Random(instance.Specs(c), 1), p); err != nil {
		panic(err)
	}
	d, err := instance.New(c, p)
	if err != nil {
		panic(err)
	}
	b := graph.NewBuilder()
	maps := d.Build(b, b.Input("embedding", c.Grid*c.Grid, c.Embed), instance.BatchStats)
	fmt.Println(maps.Shape())
	// Output: (1024, 3)
}
