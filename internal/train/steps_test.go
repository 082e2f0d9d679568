package train_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/train"
)

// TestSteps takes fifty steps with PyTorch's losses, from the same weights,
// targets and prompts.
func TestSteps(t *testing.T) {
	f, err := golden.Load("steps")
	require.NoError(t, err)
	var ref struct {
		What, Model string
		Seed        uint64
		Config      golden.Config
		Disks       [][3]float64
		Kinds       []string
		Tensors     []string
	}
	require.NoError(t, f.Meta(&ref))
	want, err := f.Float32s("losses")
	require.NoError(t, err)
	final, err := f.Float32s("weights")
	require.NoError(t, err)

	nets := reference{Config: ref.Config, Seed: ref.Seed}.networks(t)
	c := nets.Decoder.Config()
	e, err := train.NewEngine(nets, train.SAMLoss(), nil)
	require.NoError(t, err)
	opt := train.NewAdamW(train.AdamWOptions{Rate: 1e-3, Decay: 0.01}, e.Sizes())
	side, low := float64(ref.Config.ImgSize), c.MaskSize()
	embedding := golden.Values("embedding", c.Grid*c.Grid*c.Channels, ref.Seed)
	for step, loss := range want.Data {
		d := ref.Disks[step%4]
		target := &train.Target{Side: low, H: low, W: low, Cell: side / float64(low), Share: make([]float32, low*low)}
		for i := range target.Share {
			x, y := float64(i%low)+0.5-d[0]*float64(low), float64(i/low)+0.5-d[1]*float64(low)
			if math.Hypot(x, y) < d[2]*float64(low) {
				target.Share[i] = 1
			}
		}
		kind := ref.Kinds[step/4%4]
		p := train.Prompt{Single: kind == "box"}
		if kind != "box" {
			p.Points = []train.Point{{X: float32(d[0]) * float32(side), Y: float32(d[1]) * float32(side), In: true}}
		}
		if kind == "box" || kind == "point_box" {
			p.Box = &[4]float64{(d[0] - d[2]) * side, (d[1] - d[2]) * side, (d[0] + d[2]) * side, (d[1] + d[2]) * side}
		}
		if kind == "point_mask" {
			p.Mask = golden.MaskLogits(golden.Size{H: low, W: low}, uint64(step))
		}
		e.Zero()
		a, err := e.Run(context.Background(), embedding, []train.Prompt{p}, []*train.Target{target}, 1, true)
		require.NoError(t, err)
		require.InDelta(t, loss, a[0].Loss, 1e-3, "step %d", step)
		opt.Step(e.Values, e.Grads, 1)
	}
	tensors, err := e.Tensors()
	require.NoError(t, err)
	for i, name := range ref.Tensors {
		require.Contains(t, tensors, name)
		if strings.HasSuffix(name, ".k_proj.bias") {
			// Softmax takes what a key's bias adds out again: its gradient is 0 but
			// for rounding, and Adam makes steps of the usual length of that.
			continue
		}
		assert.NoError(t, golden.CheckDigest(name, final.Data[9*i:9*i+9], tensors[name].Data, 1e-3, 2e-6))
	}
	assert.Len(t, ref.Tensors, len(tensors))
}
