package sam_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/tensortest"
)

// turn is a way to turn a picture over.
type turn struct{ x, y bool }

var turns = []turn{{}, {x: true}, {y: true}, {x: true, y: true}}

func (r turn) at(x, y, w, h int) (int, int) {
	if r.x {
		x = w - 1 - x
	}
	if r.y {
		y = h - 1 - y
	}
	return x, y
}

func (r turn) image(img *image.NRGBA) *image.NRGBA {
	b := img.Bounds()
	out := image.NewNRGBA(b)
	for y := range b.Dy() {
		for x := range b.Dx() {
			tx, ty := r.at(x, y, b.Dx(), b.Dy())
			out.SetNRGBA(tx, ty, img.NRGBAAt(x, y))
		}
	}
	return out
}

// logits turns over the part w x h of a plane of a prediction.
func (r turn) logits(l sam.Logits, w, h int) sam.Logits {
	out := sam.Logits{H: l.H, W: l.W, Data: make([]float32, len(l.Data))}
	for y := range l.H {
		for x := range l.W {
			tx, ty := x, y
			if x < w {
				tx, _ = r.at(x, 0, w, h)
			}
			if y < h {
				_, ty = r.at(0, y, w, h)
			}
			out.Data[ty*l.W+tx] = l.Data[y*l.W+x]
		}
	}
	return out
}

func (r turn) prompt(p sam.Prompt, w, h float64) sam.Prompt {
	out := sam.Prompt{}
	for _, q := range p.Points {
		if r.x {
			q.X = w - q.X
		}
		if r.y {
			q.Y = h - q.Y
		}
		out.Points = append(out.Points, q)
	}
	if p.Box != nil {
		b := *p.Box
		if r.x {
			b.X0, b.X1 = w-b.X1, w-b.X0
		}
		if r.y {
			b.Y0, b.Y1 = h-b.Y1, h-b.Y0
		}
		out.Box = &b
	}
	if p.Mask != nil {
		l := r.logits(*p.Mask, int(w/2), int(h/2))
		out.Mask = &l
	}
	return out
}

// A mirrored model's answer is the mean of the plain model's answers to the four
// pictures that a caller turns over, prompts and all.
func TestMirroredIsTheMeanOfFourPictures(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 1)
	img := golden.Picture(golden.Size{H: 96, W: 128}, 3) // the model's side, whole patches
	e, err := m.Mirrored().Embed(ctx, img)
	require.NoError(t, err)
	plain, err := m.Embed(ctx, img)
	require.NoError(t, err)
	a, shape := e.Tensor()
	b, _ := plain.Tensor()
	assert.Equal(t, b, a)
	assert.Equal(t, [3]int{32, 16, 16}, shape)
	var four []*sam.Embedding
	for _, r := range turns {
		e, err := m.Embed(ctx, r.image(img))
		require.NoError(t, err)
		four = append(four, e)
	}
	for i, p := range prompts(lowRes(t, m, plain)) {
		for _, single := range []bool{false, true} {
			t.Run(fmt.Sprintf("prompt=%d/single=%v", i, single), func(t *testing.T) {
				o := sam.PredictOptions{SingleMask: single}
				got, err := m.Mirrored().Predict(ctx, e, p, o)
				require.NoError(t, err)
				mean := &sam.Prediction{IoUPred: make([]float32, len(got.IoUPred))}
				for range got.LowRes {
					mean.LowRes = append(mean.LowRes, sam.Logits{H: 64, W: 64, Data: make([]float32, 64*64)})
				}
				apart := false
				for k, r := range turns {
					one, err := m.Predict(ctx, four[k], r.prompt(p, 128, 96), o)
					require.NoError(t, err)
					for j, l := range one.LowRes {
						for n, v := range r.logits(l, 64, 48).Data {
							mean.LowRes[j].Data[n] += v / 4
						}
						mean.IoUPred[j] += one.IoUPred[j] / 4
						apart = apart || tensortest.RelL2(got.LowRes[j].Data, r.logits(l, 64, 48).Data) > 1e-2
					}
				}
				require.True(t, apart, "the four answers are alike: the test shows nothing")
				// The same numbers in another order of additions.
				tensortest.Close(t, mean.IoUPred, got.IoUPred, 1e-6, 1e-6)
				for j := range mean.LowRes {
					tensortest.Close(t, mean.LowRes[j].Data, got.LowRes[j].Data, 1e-5, 1e-5)
				}
			})
		}
	}
}

// A picture whose sides are no whole patches is answered like one that has the
// missing rows in the colour of padding.
func TestMirroredPartOfAPatch(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 1)
	const w, h, full = 128, 77, 80
	img := golden.Picture(golden.Size{H: h, W: w}, 3)
	padded := image.NewNRGBA(image.Rect(0, 0, w, full))
	for y := range full {
		for x := range w {
			c := color.NRGBA{124, 116, 104, 255} // the models' mean colour, which becomes 0, to whole numbers
			if y < h {
				c = img.NRGBAAt(x, y)
			}
			padded.SetNRGBA(x, y, c)
		}
	}
	e, err := m.Mirrored().Embed(ctx, img)
	require.NoError(t, err)
	plain, err := m.Embed(ctx, img)
	require.NoError(t, err)
	var four []*sam.Embedding
	for _, r := range turns {
		e, err := m.Embed(ctx, r.image(padded))
		require.NoError(t, err)
		four = append(four, e)
	}
	low := lowRes(t, m, plain)
	box := &sam.Box{X0: 20, Y0: 10, X1: 110.5, Y1: 77}
	at := sam.Point{X: 40, Y: 30.25, Label: sam.Foreground}
	for i, p := range []sam.Prompt{{Points: []sam.Point{at}}, {Box: box}, {Mask: low}, {Points: []sam.Point{at}, Box: box, Mask: low}} {
		got, err := m.Mirrored().Predict(ctx, e, p, sam.PredictOptions{})
		require.NoError(t, err)
		for j := range got.LowRes {
			mean := make([]float32, 64*64)
			for k, r := range turns {
				one, err := m.Predict(ctx, four[k], r.prompt(p, w, full), sam.PredictOptions{})
				require.NoError(t, err)
				for n, v := range r.logits(one.LowRes[j], w/2, full/2).Data {
					mean[n] += v / 4
				}
			}
			// The mean colour is up to 0.5 of 255 off what padding is: 0.0013. Turned
			// over within the 77 rows the gap is 0.06 to 0.11.
			assert.Less(t, tensortest.RelL2(mean, got.LowRes[j].Data), 5e-3, "prompt %d mask %d", i, j)
		}
	}
}

// The sides of a picture need not be whole patches: it is turned over within
// the patches that it fills, padded with 0.
func TestMirroredInput(t *testing.T) {
	m := tinyModel(t, 1)
	for _, s := range []sam.Size{{H: 77, W: 128}, {H: 128, W: 1}, {H: 128, W: 128}, {H: 9, W: 128}} {
		pix := golden.PictureRGB(golden.Size(s), 5)
		up := func(n int) int { return (n + 7) / 8 * 8 }
		want := m.Turned(pix, s, false, false)
		for i, v := range want {
			if y, x := i/3/128, i/3%128; y >= s.H || x >= s.W {
				require.Zero(t, v, "padding of %v at (%d, %d)", s, x, y)
			}
		}
		for _, r := range turns {
			got := m.Turned(pix, s, r.x, r.y)
			for y := range 128 {
				for x := range 128 {
					tx, ty := x, y
					if x < up(s.W) {
						tx, _ = r.at(x, 0, up(s.W), 0)
					}
					if y < up(s.H) {
						_, ty = r.at(0, y, 0, up(s.H))
					}
					a, b := want[3*(y*128+x):][:3], got[3*(ty*128+tx):][:3]
					require.Equal(t, a, b, "%v %v at (%d, %d)", s, r, x, y)
				}
			}
		}
	}
}

func TestMirroredEmbeddingsAreTheirOwn(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 1)
	mm := m.Mirrored()
	assert.Same(t, mm, mm.Mirrored())
	assert.NotEqual(t, m.Fingerprint(), mm.Fingerprint())
	assert.Equal(t, mm.Fingerprint(), m.Mirrored().Fingerprint())
	assert.Equal(t, m.Bytes(), mm.Bytes())

	e, err := mm.Embed(ctx, picture())
	require.NoError(t, err)
	_, err = m.Predict(ctx, e, sam.Prompt{}, sam.PredictOptions{})
	require.ErrorIs(t, err, sam.ErrOtherModel)
	var file bytes.Buffer
	_, err = e.WriteTo(&file)
	require.NoError(t, err)
	_, err = m.ReadEmbedding(bytes.NewReader(file.Bytes()))
	require.ErrorIs(t, err, sam.ErrOtherModel)
	back, err := mm.ReadEmbedding(&file)
	require.NoError(t, err)
	want, err := mm.PredictBatch(ctx, e, prompts(nil), sam.PredictOptions{KeepLogits: true})
	require.NoError(t, err)
	got, err := mm.PredictBatch(ctx, back, prompts(nil), sam.PredictOptions{KeepLogits: true})
	require.NoError(t, err)
	for i := range want {
		equalPrediction(t, want[i], got[i])
	}
}

// A prompt whose mean exceeds the threshold is kept though one of its views does
// not exceed it.
func TestMirroredEverything(t *testing.T) {
	ctx := context.Background()
	plain := tinyModel(t, 1)
	m := plain.Mirrored()
	img := golden.Picture(golden.Size{H: 96, W: 128}, 3)
	e, err := m.Embed(ctx, img)
	require.NoError(t, err)
	var ps []sam.Prompt
	for _, p := range prompts(nil) {
		if len(p.Points) == 1 && p.Box == nil {
			ps = append(ps, p)
		}
	}
	want, err := m.PredictBatch(ctx, e, ps, sam.PredictOptions{})
	require.NoError(t, err)
	least := float32(0)
	for _, p := range want {
		least += p.IoUPred[p.Best()] / float32(len(want))
	}
	under := false
	for _, r := range turns {
		e, err := plain.Embed(ctx, r.image(img))
		require.NoError(t, err)
		for i, p := range ps {
			one, err := plain.Predict(ctx, e, r.prompt(p, 128, 96), sam.PredictOptions{})
			require.NoError(t, err)
			under = under || want[i].IoUPred[want[i].Best()] > least && one.IoUPred[one.Best()] <= least
		}
	}
	require.True(t, under, "no view is under the threshold: the test shows nothing")

	found, err := m.EverythingIn(ctx, e, sam.EverythingOptions{
		Prompts: ps, PredIoUThresh: float64(least), StabilityScoreThresh: -1, BoxNMSThresh: 1,
	})
	require.NoError(t, err)
	n := 0
	for _, p := range want {
		for _, v := range p.IoUPred {
			if v > least {
				n++
			}
		}
	}
	require.Len(t, found, n)
	for _, r := range found {
		p := want[r.Prompt]
		hit := false
		for i, mask := range p.Masks {
			hit = hit || p.IoUPred[i] == r.IoUPred && mask.Equal(r.Mask)
		}
		assert.True(t, hit, "region of prompt %d", r.Prompt)
	}
}
