package instances_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/train"
	"github.com/slidesam/sam/internal/train/instances"
	decoder "github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/weights"
)

// newDecoder is a decoder of counter-based weights.
func newDecoder(t testing.TB, c decoder.Config, seed uint64) *decoder.Decoder {
	t.Helper()
	p := decoder.NewParams(c)
	require.NoError(t, weights.Bind(weights.Random(decoder.Specs(c), seed), p))
	d, err := decoder.New(c, p)
	require.NoError(t, err)
	return d
}

// reference is the shape of a decoder of package golden.
type reference struct {
	Embed, Grid, Features int
	Transpose             bool
	Norm                  string
	Seed                  uint64
}

func (r reference) config() decoder.Config {
	f := r.Features
	return decoder.Config{Grid: r.Grid, Embed: r.Embed, Features: [4]int{8 * f, 4 * f, 2 * f, f}, Out: 3, Transposed: r.Transpose, BatchNorm: r.Norm == "BatchNorm"}
}

// TestSteps takes twenty steps with PyTorch's losses, from the same weights,
// embeddings and labels, as micro-sam's train_instance_segmentation takes them:
// batch norms in training mode, whose running statistics follow.
func TestSteps(t *testing.T) {
	for name, r := range map[string]reference{
		"a": {Embed: 32, Grid: 6, Features: 8, Seed: 5},
		"c": {Embed: 24, Grid: 4, Features: 8, Transpose: true, Norm: "BatchNorm", Seed: 9},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := golden.Load("unetr_steps_" + name)
			require.NoError(t, err)
			var ref struct {
				What, Model, Torch string
				Tensors            []string
			}
			require.NoError(t, f.Meta(&ref))
			losses, err := f.Float32s("losses")
			require.NoError(t, err)
			final, err := f.Float32s("weights")
			require.NoError(t, err)
			c := r.config()
			var embeddings, targets [][]float32
			for k := range 2 {
				first := golden.Uniform(c.Embed*c.Grid*c.Grid, golden.Hash(r.Seed+uint64(k)))
				z := make([]float32, len(first))
				for i, v := range first {
					z[i%(c.Grid*c.Grid)*c.Embed+i/(c.Grid*c.Grid)] = v
				}
				embeddings = append(embeddings, z)
				labels, err := f.Float32s(fmt.Sprintf("%d/labels", k))
				require.NoError(t, err)
				ids := make([]uint32, len(labels.Data))
				for i, v := range labels.Data {
					ids[i] = uint32(v)
				}
				m, _, err := instance.Targets(ids, c.Side(), c.Side(), instances.Least)
				require.NoError(t, err)
				var target []float32
				for i := range ids {
					target = append(target, m.Foreground[i], m.Centre[i], m.Boundary[i])
				}
				targets = append(targets, target)
			}
			e, err := instances.NewEngine(newDecoder(t, c, r.Seed), decoder.BatchStats)
			require.NoError(t, err)
			run := train.NewSession[instances.Score](train.Plan{AdamW: train.AdamWOptions{Rate: 1e-3, Eps: 1e-4}}, e.Values, e.Grads)
			for step, want := range losses.Data {
				e.Zero()
				loss, err := e.Run(context.Background(), embeddings[step%2], targets[step%2], 1)
				require.NoError(t, err)
				require.InDelta(t, want, loss, 1e-3, "step %d", step)
				_, err = run.Apply(train.Step{})
				require.NoError(t, err)
				e.Gather()
			}
			tensors := e.Tensors(len(losses.Data))
			for i, name := range ref.Tensors {
				require.Contains(t, tensors, name)
				assert.NoError(t, golden.CheckDigest(name, final.Data[golden.DigestLen*i:][:golden.DigestLen], tensors[name].Data, 1e-3, 0))
				delete(tensors, name)
			}
			for name, v := range tensors {
				assert.Regexp(t, `\.num_batches_tracked$`, name)
				assert.Equal(t, weights.TensorData{Shape: []int{}, Data: []float32{20}}, v)
			}
		})
	}
}
