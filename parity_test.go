package sam_test

import (
	"context"
	"fmt"
	"image"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/tensortest"
	"github.com/slidesam/sam/maskdec"
	"github.com/slidesam/sam/promptenc"
	"github.com/slidesam/sam/vit"
)

// The bounds of parity with segment_anything. Both sides compute in float32
// and sum in different orders; over a ViT-H's 32 blocks the sums of up to
// 5,120 terms leave a relative difference of some 1e-6.
const (
	embeddingRelL2 = 1e-5
	logitAbs       = 5e-5
	maskShare      = 1e-4 // of a picture's pixels
)

// configOf brings a reference model's shape into ours.
func configOf(c golden.Config) sam.Config {
	g := c.Grid()
	enc := vit.Config{
		ImageSize: c.ImgSize, Patch: c.Patch, Width: c.Width, Depth: c.Depth, Heads: c.Heads, HeadDim: c.Width / c.Heads,
		MLP: c.Width * c.MLPRatio, Window: c.Window, Global: c.Globals, Out: c.Prompt,
	}
	return sam.Config{
		Encoder: enc,
		Prompt:  promptenc.Config{ImageSize: c.ImgSize, Grid: g, Channels: c.Prompt, MaskChannels: c.MaskChans},
		Decoder: maskdec.Config{
			Grid: g, Channels: c.Prompt, Depth: c.DecoderDepth, Heads: c.DecoderHeads, SelfDim: c.Prompt, CrossDim: c.Prompt / 2,
			MLP: c.DecoderMLP, MaskTokens: 4, IoUHidden: c.IoUHidden, IoUDepth: c.IoUDepth, Up1: c.Prompt / 4, Up2: c.Prompt / 8,
			HyperHidden: c.Prompt, HyperDepth: 3,
		},
	}
}

func TestParitySmall(t *testing.T) {
	n := 0
	for _, name := range golden.List() {
		if strings.HasPrefix(name, "small_") {
			n++
			t.Run(name, func(t *testing.T) { t.Parallel(); parity(t, name) })
		}
	}
	require.GreaterOrEqual(t, n, 7)
}

// TestParityFull compares models of the published sizes: ViT-B always, ViT-L
// and ViT-H if SAM_PARITY is "full", since their weights alone are 1.2 and
// 2.5 GB.
func TestParityFull(t *testing.T) {
	if testing.Short() {
		t.Skip("full-size models are left out of -short runs")
	}
	for _, name := range golden.List() {
		if !strings.HasPrefix(name, "full_") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if !strings.HasPrefix(name, "full_b") && os.Getenv("SAM_PARITY") != "full" {
				t.Skip("set SAM_PARITY=full to run ViT-L and ViT-H")
			}
			parity(t, name)
		})
	}
}

// worst collects the largest differences over a model's pictures and prompts.
type worst struct {
	embedding, lowres, iou, logits float64
	differ, compared               int // mask pixels
}

func (w *worst) note(stage string, want, got []float32) {
	at := map[string]*float64{"lowres": &w.lowres, "iou": &w.iou, "logits": &w.logits}[stage]
	for i := range want {
		*at = max(*at, math.Abs(float64(want[i])-float64(got[i])))
	}
}

func parity(t *testing.T, name string) {
	ref, err := golden.LoadModel(name)
	require.NoError(t, err)
	m, err := sam.NewRandom(configOf(ref.Config), ref.Seed)
	require.NoError(t, err)
	parityModel(t, name, ref, m)
}

// parityModel compares a model that may be on any device.
func parityModel(t *testing.T, name string, ref *golden.Model, m *sam.Model) {
	var w worst
	for i, run := range ref.Pictures {
		t.Run(fmt.Sprintf("picture%d_%dx%d", i, run.Size.W, run.Size.H), func(t *testing.T) {
			parityPicture(t, m, run, &w)
		})
	}
	t.Logf("%s: embedding %.1e relative L2; low-resolution logits %.1e, IoU %.1e, logits %.1e absolute; %d of %d mask pixels differ",
		name, w.embedding, w.lowres, w.iou, w.logits, w.differ, w.compared)
}

func parityPicture(t *testing.T, m *sam.Model, run *golden.Run, w *worst) {
	ctx := context.Background()
	img := golden.Picture(run.Size, run.Seed)
	encoderStages(t, m, run, img)
	e, err := m.Embed(ctx, img)
	require.NoError(t, err)
	data, shape := e.Tensor()
	want, err := run.Stage("embedding")
	require.NoError(t, err)
	require.Equal(t, want.Shape, shape[:])
	w.embedding = max(w.embedding, relL2(t, "embedding", want, data))
	low := map[string][]sam.Logits{}
	for _, q := range run.Prompts {
		t.Run(strings.ReplaceAll(q.Name, " ", "_"), func(t *testing.T) {
			p := prompt(t, q, m.Config().Decoder.MaskSize(), low)
			decoderStages(t, m, e, p, q)
			low[q.Name] = predictions(t, m, e, p, q, w)
		})
	}
}

// relL2 compares an embedding or an encoder's stage.
func relL2(t *testing.T, name string, want *golden.Tensor[float32], got []float32) float64 {
	t.Helper()
	picked, err := want.Pick(got)
	require.NoError(t, err, name)
	d := tensortest.RelL2(want.Data, picked)
	assert.LessOrEqual(t, d, embeddingRelL2, name)
	t.Logf("%s: relative L2 %.2g", name, d)
	return d
}

func encoderStages(t *testing.T, m *sam.Model, run *golden.Run, img image.Image) {
	c := m.Config().Encoder
	names := map[string]string{"patch": "patch_embed"}
	for i := 0; i < c.Depth; i++ {
		k := "window_block"
		if c.IsGlobal(i) {
			k = "global_block"
		}
		if names[k] == "" {
			names[k] = fmt.Sprint("block", i)
		}
	}
	if !run.Has("patch") {
		return // only a model's first picture has the stages
	}
	p, err := m.EncodeStages(context.Background(), img)
	require.NoError(t, err)
	for theirs, ours := range names {
		want, err := run.Stage(theirs)
		require.NoError(t, err)
		got, _, ok := p.Stage(ours)
		require.True(t, ok, ours)
		relL2(t, theirs, want, got)
	}
}

func prompt(t *testing.T, q *golden.Prompt, maskSize int, low map[string][]sam.Logits) sam.Prompt {
	var p sam.Prompt
	for i, xy := range q.Points {
		p.Points = append(p.Points, sam.Point{X: xy[0], Y: xy[1], Label: sam.Label(q.Labels[i])})
	}
	if b := q.Box; b != nil {
		p.Box = &sam.Box{X0: b[0], Y0: b[1], X1: b[2], Y1: b[3]}
	}
	if q.MaskSeed != nil {
		s := golden.Size{H: maskSize, W: maskSize}
		p.Mask = &sam.Logits{H: maskSize, W: maskSize, Data: golden.MaskLogits(s, *q.MaskSeed)}
	}
	if q.Feed != "" {
		p.Mask = &low[q.Feed][q.FeedMask]
	}
	if q.Has("mask_input") {
		// What the original fed back, so that the errors of the rounds before
		// do not add up: a norm over two channels (small_g) is a sign function.
		in, err := q.Stage("mask_input")
		require.NoError(t, err)
		require.Equal(t, 1, in.Stride)
		p.Mask = &sam.Logits{H: maskSize, W: maskSize, Data: in.Data}
	}
	return p
}

// channelsFirst turns [N, C] into [C, N].
func channelsFirst(x []float32, c int) []float32 {
	n := len(x) / c
	y := make([]float32, len(x))
	for i := range x {
		y[i%c*n+i/c] = x[i]
	}
	return y
}

func decoderStages(t *testing.T, m *sam.Model, e *sam.Embedding, p sam.Prompt, q *golden.Prompt) {
	if !q.Has("tokens") {
		return
	}
	prog, err := m.DecodeStages(context.Background(), e, p, false)
	require.NoError(t, err)
	for theirs, ours := range map[string]string{
		"sparse": "sparse", "dense": "dense", "tokens": "tokens", "image_tokens": "keys", "upscaled": "upscaled",
	} {
		if !q.Has(theirs) {
			continue
		}
		want, err := q.Stage(theirs)
		require.NoError(t, err)
		if want.Len() == 0 {
			continue // no sparse tokens without points and box
		}
		got, shape, ok := prog.Stage(ours)
		require.True(t, ok, ours)
		if theirs == "dense" || theirs == "upscaled" {
			got = channelsFirst(got, shape[1])
		}
		picked, err := want.Pick(got)
		require.NoError(t, err, theirs)
		tensortest.Close(t, want.Data, picked, logitAbs, logitAbs)
	}
}

// predictions compares all four masks of a prompt and returns their
// low-resolution logits.
func predictions(t *testing.T, m *sam.Model, e *sam.Embedding, p sam.Prompt, q *golden.Prompt, w *worst) []sam.Logits {
	var all sam.Prediction
	for _, single := range []bool{true, false} {
		r, err := m.Predict(context.Background(), e, p, sam.PredictOptions{SingleMask: single, KeepLogits: true})
		require.NoError(t, err)
		all.IoUPred = append(all.IoUPred, r.IoUPred...)
		all.LowRes = append(all.LowRes, r.LowRes...)
		all.Logits = append(all.Logits, r.Logits...)
		all.Masks = append(all.Masks, r.Masks...)
	}
	for name, got := range map[string][]float32{"iou": all.IoUPred, "lowres": flat(all.LowRes), "logits": flat(all.Logits)} {
		want, err := q.Stage(name)
		require.NoError(t, err)
		picked, err := want.Pick(got)
		require.NoError(t, err, name)
		w.note(name, want.Data, picked)
		tensortest.Close(t, want.Data, picked, logitAbs, 0)
	}
	want, err := q.Masks()
	require.NoError(t, err)
	require.Len(t, all.Masks, want.N)
	for i, mask := range all.Masks {
		full := make([]bool, want.H*want.W)
		for j := range full {
			full[j] = mask.At(j%want.W, j/want.W)
		}
		differ, compared, err := want.Diff(i, full)
		require.NoError(t, err)
		w.differ, w.compared = w.differ+differ, w.compared+compared
		// One pixel of a picture of fewer than 10,000 is more than the share.
		assert.LessOrEqual(t, float64(differ), max(1, maskShare*float64(compared)), "mask %d: %d of %d pixels differ", i, differ, compared)
	}
	return all.LowRes
}

func flat(ls []sam.Logits) (out []float32) {
	for _, l := range ls {
		out = append(out, l.Data...)
	}
	return out
}
