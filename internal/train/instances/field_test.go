package instances_test

import (
	"bytes"
	"context"
	"image"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/internal/train"
	"github.com/slidesam/sam/internal/train/instances"
)

// TestNewField: specks are background, objects within others remain, and what
// is annotated is known.
func TestNewField(t *testing.T) {
	size := mask.Size{H: 40, W: 50}
	square := func(x0, y0, side int) *mask.Mask {
		return shape(t, size.H, size.W, func(x, y int) bool { return image.Pt(x, y).In(image.Rect(x0, y0, x0+side, y0+side)) })
	}
	known := shape(t, size.H, size.W, func(x, _ int) bool { return x < 20 })
	f, err := instances.NewField(train.Field{Name: "f", Picture: size, Known: known, Objects: []*mask.Mask{square(5, 5, 6), square(2, 2, 12), square(30, 3, 4), square(30, 20, 9)}})
	require.NoError(t, err)
	assert.Equal(t, 3, f.Objects)
	at := func(x, y int) int { return y*size.W + x }
	assert.NotEqual(t, f.Labels[at(3, 3)], f.Labels[at(7, 7)], "the small one lies on the large one")
	assert.Zero(t, f.Labels[at(31, 4)], "16 pixels are a speck")
	assert.True(t, f.Known[at(31, 4)], "it is background that was looked at")
	assert.True(t, f.Known[at(32, 22)])
	assert.False(t, f.Known[at(28, 22)])

	_, err = instances.NewField(train.Field{Name: "f", Picture: size, Known: shape(t, 3, 4, func(int, int) bool { return true })})
	require.ErrorIs(t, err, train.ErrAnnotations)
	assert.ErrorContains(t, err, "field f: what is known is of a picture of 4 x 3, not 50 x 40")
	speck := train.Field{Name: "f", Picture: size, Objects: []*mask.Mask{square(30, 3, 4)}}
	_, err = instances.NewFields([]train.Field{speck})
	require.ErrorIs(t, err, train.ErrAnnotations)
	require.ErrorContains(t, err, "no object of 1 fields has a part of 25 pixels or more")
	large := train.Field{Name: "f", Picture: size, Objects: []*mask.Mask{square(30, 20, 9)}}
	both, err := instances.NewFields([]train.Field{speck, large})
	require.NoError(t, err)
	assert.Equal(t, []int{0, 1}, []int{both[0].Objects, both[1].Objects})
}

func TestHoldBack(t *testing.T) {
	fields := make([]*instances.Field, 6)
	for i := range fields {
		fields[i] = &instances.Field{Objects: min(i, 1)} // the first has none
	}
	assert.Len(t, instances.HoldBack(fields, 0.2, 1), 1)
	assert.Len(t, instances.HoldBack(fields, 0.4, 1), 2)
	assert.Len(t, instances.HoldBack(fields, 0.99, 1), 4, "one is left to learn from")
	assert.Empty(t, instances.HoldBack(fields, 0, 1))
	assert.Empty(t, instances.HoldBack(fields[:2], 0.5, 1), "a single one with objects")
	for seed := range uint64(20) {
		assert.NotContains(t, instances.HoldBack(fields, 0.9, seed), 0, "a field without objects measures little")
	}
}

// TestTarget: where the network's maps show a turned field, and where nothing
// is known.
func TestTarget(t *testing.T) {
	const side = 32
	f := field(t, 24, 64, shape(t, 24, 64, func(x, _ int) bool { return x < 60 }), [3]float64{14, 9, 7}, [3]float64{50, 12, 9})
	frame := 64
	plain, err := instances.Target(&instances.View{Field: f, Input: mask.Size{H: 24, W: 64}}, side, frame)
	require.NoError(t, err)
	at := func(v []float32, x, y int) []float32 { return v[(y*side+x)*3:][:3] }
	assert.Equal(t, float32(1), at(plain, 7, 4)[0])
	assert.Less(t, at(plain, 7, 4)[1], float32(0.3), "the centre")
	assert.Equal(t, []float32{0, 1, 1}, at(plain, 15, 2))
	assert.Equal(t, float32(-1), at(plain, 31, 2)[0], "right of what is known")
	assert.Equal(t, float32(-1), at(plain, 7, 12)[0], "below the picture")
	whole, err := instances.Target(&instances.View{Field: f, Input: f.Size}, frame, frame)
	require.NoError(t, err)
	for y := range 24 {
		for x := range 60 {
			assert.Equal(t, f.Labels[y*64+x] > 0, whole[(y*frame+x)*3] == 1, "at %d, %d", x, y)
		}
	}
	for turn := range train.Turn(8) {
		size := turn.Size(f.Size)
		got, err := instances.Target(&instances.View{Field: f, Turn: turn, Input: size}, frame, frame)
		require.NoError(t, err)
		for y := range 24 {
			for x := range 64 {
				tx, ty := x, y // on the turned picture
				if turn&1 != 0 {
					tx = 63 - tx
				}
				if turn&2 != 0 {
					ty = 23 - ty
				}
				if turn&4 != 0 {
					tx, ty = ty, tx
				}
				a, b := whole[(y*frame+x)*3:][:3], got[(ty*frame+tx)*3:][:3]
				assert.Equal(t, a[0], b[0], "turn %d at %d, %d", turn, x, y)
				assert.Equal(t, a[2], b[2], "turn %d at %d, %d", turn, x, y)
			}
		}
	}
	half, err := instances.Target(&instances.View{Field: f, Input: mask.Size{H: 12, W: 32}}, side, frame)
	require.NoError(t, err)
	assert.Equal(t, float32(1), at(half, 3, 2)[0])
	assert.Equal(t, float32(-1), at(half, 16, 2)[0])
}

// TestDraw: a crop shows an object and the part of the embedding where it lies,
// and its target is that of what is seen; the whole is what it was.
func TestDraw(t *testing.T) {
	const grid, cell, n, width = 8, 8, 3, 2
	f := field(t, 48, 64, nil, [3]float64{9, 9, 6}, [3]float64{58, 40, 5})
	v := &instances.View{Field: f, Input: f.Size}
	for i := range grid * grid * width {
		v.Embedding = append(v.Embedding, float32(i))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[[2]int]bool{}
	for range 200 {
		at, z, target, err := instances.Draw(v, rng, n, grid, grid*cell, grid*cell)
		require.NoError(t, err)
		seen[at] = true
		require.LessOrEqual(t, at[0], grid-n)
		require.LessOrEqual(t, at[1], 6-n, "below the sixth row of cells lies nothing")
		require.Len(t, z, n*n*width)
		assert.Equal(t, float32(((at[1]+2)*grid+at[0]+1)*width), z[(2*n+1)*width])
		var labels []uint32
		for y := range n * cell {
			labels = append(labels, f.Labels[(at[1]*cell+y)*64+at[0]*cell:][:n*cell]...)
		}
		m, objects, err := instance.Targets(labels, n*cell, n*cell, 1)
		require.NoError(t, err)
		require.Positive(t, objects)
		for i := range labels {
			require.Equal(t, []float32{m.Foreground[i], m.Centre[i], m.Boundary[i]}, target[3*i:3*i+3])
		}
	}
	assert.Greater(t, len(seen), 5)
	at, z, target, err := instances.Draw(v, rng, grid, grid, grid*cell, grid*cell)
	require.NoError(t, err)
	assert.Equal(t, [2]int{}, at)
	assert.Equal(t, v.Embedding, z)
	want, err := instances.Target(v, grid*cell, grid*cell)
	require.NoError(t, err)
	assert.Equal(t, want, target)
}

// TestCount compares with eval's panoptic quality, which counts everything.
func TestCount(t *testing.T) {
	truth := field(t, 60, 80, nil, [3]float64{12, 12, 9}, [3]float64{40, 12, 9}, [3]float64{66, 14, 9}, [3]float64{20, 44, 12})
	found := field(t, 60, 80, nil, [3]float64{13, 12, 9}, [3]float64{46, 14, 9}, [3]float64{22, 40, 11}, [3]float64{60, 46, 9})
	labels := func(f *instances.Field) eval.Labels {
		l := eval.Labels{H: 60, W: 80}
		for _, v := range f.Labels {
			l.Pix = append(l.Pix, int32(v))
		}
		return l
	}
	o, err := eval.NewOverlap(labels(truth), labels(found))
	require.NoError(t, err)
	want := o.Panoptic(0.5)
	c := instances.Count(truth.Labels, found.Labels, nil)
	assert.Equal(t, instances.Counts{TP: want.TP, FP: want.FP, FN: want.FN, IoU: want.SumIoU}, c)
	assert.Equal(t, 2, c.TP)
	assert.InDelta(t, want.PQ(eval.EmptyOne), c.PQ(), 1e-12)
	assert.InDelta(t, want.F1(eval.EmptyOne), c.F1(), 1e-12)

	known := make([]bool, 60*80)
	for i := range known {
		known[i] = i/80 < 46 // half of the invented one and more lies below
	}
	assert.Equal(t, 2, c.FP)
	assert.Equal(t, 1, instances.Count(truth.Labels, found.Labels, known).FP)
	none := make([]uint32, len(known))
	assert.Equal(t, 1.0, instances.Count(none, none, nil).F1())
	assert.Equal(t, 0.0, instances.Count(none, found.Labels, nil).PQ())
}

// TestDice: the gradient is the loss's, pixels of which nothing is known do not
// count, and distances count in objects alone.
func TestDice(t *testing.T) {
	n := 20000 // several parts
	maps, target := make([]float32, 3*n), make([]float32, 3*n)
	for i := range n {
		for c := range 3 {
			maps[3*i+c] = float32((i*7+c*5)%11) / 11
			target[3*i+c] = float32((i*3+c)%7) / 7
		}
		if target[3*i] = float32(i % 2); i%5 == 0 {
			target[3*i] = -1
		}
	}
	d := make([]float32, 3*n)
	loss := instances.Dice(maps, target, d, 2)
	assert.InDelta(t, loss, instances.Dice(maps, target, nil, 0), 0)
	for i := range 60 {
		const h = 1. / 64
		old := maps[i]
		maps[i] = old + h
		up := instances.Dice(maps, target, nil, 0)
		maps[i] = old - h
		down := instances.Dice(maps, target, nil, 0)
		maps[i] = old
		assert.InDelta(t, (up-down)/h, float64(d[i]), 1e-8) // 2h over a weight of 2
		pixel := i / 3
		counts := i%3 == 0 && pixel%5 != 0 || pixel%2 == 1 && pixel%5 != 0
		assert.Equal(t, counts, d[i] != 0 || maps[i] == 0 && target[i] == 0, i)
	}
	empty := make([]float32, 3*n)
	assert.InDelta(t, 3, instances.Dice(maps, empty, d, 1), 1e-12, "nothing to find: Dice has no slope")
	for _, v := range d {
		require.Zero(t, v)
	}
}

// TestTune: fields without objects are not embedded, what is held back is
// embedded once, and the decoder comes with the settings it was trained for.
func TestTune(t *testing.T) {
	size := mask.Size{H: 64, W: 64}
	img := image.NewRGBA(image.Rect(0, 0, size.W, size.H))
	picture := func(name string, side uint8, disks ...[3]float64) train.Field {
		own := *img
		own.Pix = bytes.Repeat([]byte{side, 0, 0, 255}, size.H*size.W)
		f := train.Field{Name: name, Image: &own, Picture: size}
		for _, d := range disks {
			f.Objects = append(f.Objects, shape(t, size.H, size.W, func(x, y int) bool { return math.Hypot(float64(x)-d[0], float64(y)-d[1]) < d[2] }))
		}
		return f
	}
	pictures := []train.Field{picture("a", 1, [3]float64{20, 24, 13}), picture("none", 2), picture("b", 3, [3]float64{30, 24, 13})}
	asked := map[byte]int{}
	m := instances.Model{
		Decoder: newDecoder(t, tiny, 5), Frame: frame, Fingerprint: [16]byte{1}, Settings: instance.Settings{MinSize: 9},
		Embed: func(_ context.Context, p resample.RGB) ([]float32, mask.Size, error) {
			asked[p.Pix[0]]++
			return views(t)[0].Embedding, size, nil
		},
	}
	o := instances.Options{Steps: 4, Views: 1, Every: 2, Patience: 5, Turns: 3, Rate: 1e-3, HeldBack: 0.2, State: filepath.Join(t.TempDir(), "state")}
	var seen [][4]int
	tune := func() (*instances.Tuning, error) {
		return instances.Tune(t.Context(), m, pictures, o, func(n, of int, s instances.Score, steps int, _ train.Step) {
			seen = append(seen, [4]int{n, of, s.Step, steps})
		})
	}
	tuning, err := tune()
	require.NoError(t, err)
	require.Len(t, tuning.HeldBack, 1)
	held, learned := byte(1), byte(3)
	if tuning.HeldBack[0] == 2 {
		held, learned = learned, held
	}
	assert.Equal(t, map[byte]int{held: 1, learned: 3}, asked)
	assert.Equal(t, [][4]int{{1, 4}, {2, 4}, {3, 4}, {4, 4}, {4, 4, 0, 1}, {4, 4, 0, 2}, {4, 4, 2, 3}, {4, 4, 2, 4}}, seen)
	assert.Len(t, tuning.Scores, 3)
	ck, err := tuning.Decoder()
	require.NoError(t, err)
	got, err := instance.SettingsFrom(ck.Metadata(), [16]byte{})
	require.NoError(t, err)
	assert.Equal(t, m.Settings, got)

	seen = nil
	again, err := tune()
	require.NoError(t, err)
	assert.Equal(t, tuning.Curve, again.Curve, "from the state")
	assert.Len(t, seen, 4)
	m.Settings.MinSize++
	_, err = tune()
	require.ErrorIs(t, err, train.ErrState)
	o.Crop = frame / tiny.Grid // one cell
	o.State = ""
	small, err := tune()
	require.NoError(t, err)
	assert.NotEqual(t, tuning.Curve, small.Curve)
	o.Crop--
	_, err = tune()
	require.ErrorContains(t, err, "crops of 15 pixels: want at least the 16 of a cell")
	o.Crop = 0
	pictures = pictures[1:2]
	nothing, err := tune()
	require.ErrorIs(t, err, train.ErrAnnotations)
	assert.Nil(t, nothing)
}
