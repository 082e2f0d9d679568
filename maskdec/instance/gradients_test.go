package instance_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/maskdec/instance"
)

// TestGradients compares the gradients of the whole decoder, in every weight
// and in the embedding, with PyTorch's autograd through torch-em's UNETR: both
// ways to enlarge maps, both kinds of norms in blocks and of statistics. It
// holds the moments of the batch norms' maps against the running statistics that
// torch gathers.
func TestGradients(t *testing.T) {
	for _, name := range []string{"a", "b", "c"} {
		_, shape := load(t, "instance_"+name)
		f, err := golden.Load("unetr_" + name)
		require.NoError(t, err)
		var ref struct {
			What, Model, Torch  string
			Tensors, Statistics []string
		}
		require.NoError(t, f.Meta(&ref))
		for stats, mode := range map[instance.Stats]string{instance.BatchStats: "batch", instance.RunningStats: "running"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				d := decoder(t, shape)
				c := d.Config()
				b := graph.NewBuilder()
				b.Variables(func(string) bool { return true })
				z := b.Input("z", c.Grid*c.Grid, c.Embed)
				out, norms := d.BuildNorms(b, z, stats)
				require.NoError(t, b.Err())
				nodes := map[string]*G.Node{"z": z}
				for _, w := range d.Weights().All() {
					nodes[w.Name()] = b.Weight(w)
				}
				for _, w := range d.Statistics() {
					delete(nodes, w.Name())
				}
				assert.Len(t, nodes, len(ref.Tensors))
				wrt := make([]*G.Node, len(ref.Tensors))
				for i, n := range ref.Tensors {
					require.Contains(t, nodes, n)
					wrt[i] = nodes[n]
				}
				outs := append([]*G.Node{out}, b.Backward(op.Sum{}, []*G.Node{out}, []*G.Node{b.Input("d", out.Shape()...)}, wrt)...)
				for _, n := range norms {
					outs = append(outs, b.Apply(op.ChannelMoments{}, n.In))
				}
				p, err := cpu.Compile(b, graph.CompileOptions{}, outs...)
				require.NoError(t, err)
				require.NoError(t, p.Bind("z", shape.embedding(t)))
				seed := golden.Values("maps", out.Shape().TotalSize(), shape.Seed)
				root := float32(math.Sqrt(float64(len(seed))))
				for i := range seed {
					seed[i] /= root
				}
				require.NoError(t, p.Bind("d", seed))
				require.NoError(t, p.Run(t.Context()))

				var loss float64
				for i, v := range p.Output(0) {
					loss += float64(v) * float64(seed[i])
				}
				want, err := f.Float32s(mode + "/loss")
				require.NoError(t, err)
				assert.InDelta(t, want.Data[0], loss, 1e-4)
				table, err := f.Float32s(mode)
				require.NoError(t, err)
				rounding := 3e-6
				if name == "c" && stats == instance.RunningStats { // no norm takes a bias out again, and gradients are small
					rounding = 0
				}
				for i, n := range ref.Tensors {
					// Sums of thousands of products in another order, through as many norms.
					assert.NoError(t, golden.CheckDigest(n, table.Data[golden.DigestLen*i:][:golden.DigestLen], p.Output(1+i), 1e-4, rounding))
				}
				if stats == instance.BatchStats {
					compareMoments(t, f, ref.Statistics, norms, p, 1+len(wrt))
				}
			})
		}
	}
}

// compareMoments makes running statistics of the moments, a tenth of the way
// and the variance unbiased, as torch's BatchNorm2d does.
func compareMoments(t *testing.T, f *golden.File, names []string, norms []instance.Norm, p *cpu.Program, at int) {
	table, err := f.Float32s("statistics")
	require.NoError(t, err)
	got := map[string][]float32{}
	for i, n := range norms {
		both, pixels := p.Output(at+i), float64(n.In.Shape()[0])
		for k, w := range []*graph.Weight{n.Mean, n.Variance} {
			v, err := w.Values()
			require.NoError(t, err)
			for j := range v {
				fresh := float64(both[k*len(v)+j])
				if k == 1 {
					fresh *= pixels / (pixels - 1)
				}
				v[j] = float32(0.9*float64(v[j]) + 0.1*fresh)
			}
			got[w.Name()] = v
		}
	}
	assert.Len(t, got, len(names))
	for i, n := range names {
		assert.NoError(t, golden.CheckDigest(n, table.Data[golden.DigestLen*i:][:golden.DigestLen], got[n], 1e-5, 0))
	}
}
