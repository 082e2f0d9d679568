package train_test

import (
	"context"
	"encoding/json"
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
	"github.com/slidesam/sam/maskdec"
	"github.com/slidesam/sam/promptenc"
	"github.com/slidesam/sam/weights"
)

// reference is what a file of gradients says about itself.
type reference struct {
	What    string
	Model   string
	Seed    uint64
	Config  golden.Config
	Kinds   json.RawMessage
	Tensors []string
}

type kind struct {
	Points [][3]float32
	Box    *[4]float32
	Mask   bool
	Multi  bool
}

// bound are the networks' weights by their names.
type bound struct {
	Prompt  *promptenc.Params `weight:"prompt_encoder"`
	Decoder *maskdec.Params   `weight:"mask_decoder"`
}

// networks are the reference's networks with counter-based weights.
func (r reference) networks(t testing.TB) train.Networks {
	t.Helper()
	c := r.Config
	pc := promptenc.Config{ImageSize: c.ImgSize, Grid: c.Grid(), Channels: c.Prompt, MaskChannels: c.MaskChans}
	dc := maskdec.Config{
		Grid: c.Grid(), Channels: c.Prompt, Depth: c.DecoderDepth, Heads: c.DecoderHeads, SelfDim: c.Prompt, CrossDim: c.Prompt / 2,
		MLP: c.DecoderMLP, MaskTokens: 4, IoUHidden: c.IoUHidden, IoUDepth: c.IoUDepth, Up1: c.Prompt / 4, Up2: c.Prompt / 8,
		HyperHidden: c.Prompt, HyperDepth: 3,
	}
	p := &bound{promptenc.NewParams(pc), maskdec.NewParams(dc)}
	require.NoError(t, weights.Bind(weights.Random(weights.Specs(p), r.Seed), p))
	var n train.Networks
	var err error
	n.Prompt, err = promptenc.New(pc, p.Prompt)
	require.NoError(t, err)
	n.Decoder, err = maskdec.New(dc, p.Decoder)
	require.NoError(t, err)
	return n
}

// points are the rows of a kind's points and box, as the graph reads them.
func (k kind) rows(side float32) (rows []float32) {
	for _, p := range k.Points {
		rows = append(rows, p[0]*side, p[1]*side, p[2])
	}
	if k.Box != nil {
		b := k.Box
		return append(rows, b[0]*side, b[1]*side, promptenc.TopLeft, b[2]*side, b[3]*side, promptenc.BottomRight)
	}
	if len(k.Points) > 0 {
		rows = append(rows, 0, 0, promptenc.Padding)
	}
	return rows
}

// TestGradients compares the gradients of the whole prompt encoder and mask
// decoder with PyTorch's autograd, for every kind of prompt.
func TestGradients(t *testing.T) {
	for _, name := range []string{"gradients_small", "gradients_b"} {
		t.Run(name, func(t *testing.T) {
			if name == "gradients_b" && testing.Short() {
				t.Skip("the published shapes take some seconds")
			}
			f, err := golden.Load(name)
			require.NoError(t, err)
			var ref reference
			require.NoError(t, f.Meta(&ref))
			var kinds map[string]kind
			require.NoError(t, json.Unmarshal(ref.Kinds, &kinds))
			for kindName, k := range kinds {
				t.Run(kindName, func(t *testing.T) { compareGradients(t, f, ref, kindName, k) })
			}
		})
	}
}

func compareGradients(t *testing.T, f *golden.File, ref reference, kindName string, k kind) {
	nets := ref.networks(t)
	rows := k.rows(float32(ref.Config.ImgSize))
	b := graph.NewBuilder()
	b.Variables(func(string) bool { return true })
	n := nets.Build(b, train.Key{Prompts: 1, Tokens: len(rows) / 3, Masked: k.Mask, Single: !k.Multi})
	require.NoError(t, b.Err())
	seeds := []*G.Node{b.Input("d.logits", n.Logits.Shape()...), b.Input("d.iou", n.IoU.Shape()...)}
	wrt := []*G.Node{n.Embedding}
	for _, w := range nets.Weights() {
		wrt = append(wrt, b.Weight(w))
	}
	grads := b.Backward(op.Sum{}, []*G.Node{n.Logits, n.IoU}, seeds, wrt)
	outs := []*G.Node{n.Logits, n.IoU}
	at := make([]int, len(grads))
	for i, g := range grads {
		if at[i] = -1; g != nil {
			at[i] = len(outs)
			outs = append(outs, g)
		}
	}
	prog, err := cpu.Compile(b, graph.CompileOptions{}, outs...)
	require.NoError(t, err)
	c := nets.Decoder.Config()
	crossings := 0
	for _, s := range prog.Steps() {
		if s == "token_to_image_grad" || s == "image_to_token_grad" {
			crossings++
		}
	}
	if few := 1+c.MaskTokens+len(rows)/3 < c.CrossDim/c.Heads; few {
		assert.Equal(t, 1+2*c.Depth, crossings, "attentions between map and tokens that project the tokens")
	} else {
		assert.Zero(t, crossings)
	}
	copy(prog.Input(train.InEmbedding), golden.Values("embedding", c.Grid*c.Grid*c.Channels, ref.Seed))
	copy(prog.Input(promptenc.Points), rows)
	seedL := golden.Values("logits", n.Logits.Shape().TotalSize(), ref.Seed)
	root := float32(math.Sqrt(float64(len(seedL))))
	for i := range seedL {
		seedL[i] /= root
	}
	copy(prog.Input("d.logits"), seedL)
	copy(prog.Input("d.iou"), golden.Values("iou", n.IoU.Shape().TotalSize(), ref.Seed))
	if k.Mask {
		copy(prog.Input(promptenc.Mask), golden.MaskLogits(golden.Size{H: c.MaskSize(), W: c.MaskSize()}, 3))
	}
	require.NoError(t, prog.Run(context.Background()))

	var loss float64
	for i, v := range prog.Output(0) {
		loss += float64(v) * float64(seedL[i])
	}
	for i, v := range prog.Output(1) {
		loss += float64(v) * float64(prog.Input("d.iou")[i])
	}
	want, err := f.Float32s(kindName + "/loss")
	require.NoError(t, err)
	assert.InEpsilon(t, want.Data[0], loss, 1e-4)

	table, err := f.Float32s(kindName)
	require.NoError(t, err)
	check := func(name string, v []float32) {
		i := slices.Index(ref.Tensors, name)
		require.GreaterOrEqual(t, i, 0, name)
		assert.NoError(t, golden.CheckDigest(name, table.Data[9*i:9*i+9], v, 1e-4, 2e-6))
	}
	seen := 1
	check("embedding", prog.Output(at[0]))
	for i, w := range nets.Weights() {
		g := make([]float32, w.Len()) // zero where the outputs do not depend on it
		if at[1+i] >= 0 {
			copy(g, prog.Output(at[1+i]))
		}
		check(w.Name(), g)
		seen++
	}
	assert.Equal(t, len(ref.Tensors), seen)
}
