package sam_test

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slidesam/sam"
)

// grid is a mask the slow way, [H, W].
type grid struct {
	size sam.Size
	on   []bool
}

func (g grid) at(x, y int) bool {
	return x >= 0 && y >= 0 && x < g.size.W && y < g.size.H && g.on[y*g.size.W+x]
}

func (g grid) mask(t require.TestingT) *sam.Mask {
	m, err := sam.NewMask(g.size, g.at)
	require.NoError(t, err)
	return m
}

func (g grid) area() int {
	n := 0
	for _, v := range g.on {
		if v {
			n++
		}
	}
	return n
}

// drawGrid draws masks of several kinds: noise, rectangles, checkers, lines.
func drawGrid(t *rapid.T, label string, side int) grid {
	g := grid{size: sam.Size{H: rapid.IntRange(1, side).Draw(t, label+" h"), W: rapid.IntRange(1, side).Draw(t, label+" w")}}
	g.on = make([]bool, g.size.H*g.size.W)
	fill := func(x0, y0, x1, y1 int, v func(x, y int) bool) {
		for y := max(y0, 0); y < min(y1, g.size.H); y++ {
			for x := max(x0, 0); x < min(x1, g.size.W); x++ {
				g.on[y*g.size.W+x] = v(x, y)
			}
		}
	}
	for i := range rapid.IntRange(0, 6).Draw(t, label+" parts") {
		x0 := rapid.IntRange(-5, g.size.W).Draw(t, label+" x0")
		y0 := rapid.IntRange(-5, g.size.H).Draw(t, label+" y0")
		x1 := x0 + rapid.IntRange(0, g.size.W+5).Draw(t, label+" width")
		y1 := y0 + rapid.IntRange(0, g.size.H+5).Draw(t, label+" height")
		switch rapid.IntRange(0, 4).Draw(t, label+" kind") {
		case 0:
			fill(x0, y0, x1, y1, func(int, int) bool { return true })
		case 1:
			fill(x0, y0, x1, y1, func(int, int) bool { return false })
		case 2:
			fill(x0, y0, x1, y1, func(x, y int) bool { return (x+y)&1 == 0 })
		case 3:
			seed := uint32(rapid.Uint32().Draw(t, label+" seed"))
			fill(x0, y0, x1, y1, func(x, y int) bool {
				h := (uint32(x)*73856093 ^ uint32(y)*19349663 ^ seed) * 2654435761
				return h>>30 > uint32(i)%3
			})
		case 4:
			fill(x0, y0, x1, y1, func(x, y int) bool { return x&1 == 0 || y%3 == 0 })
		}
	}
	return g
}

func TestMaskMatchesGrid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGrid(t, "mask", 150)
		m := g.mask(t)
		assert.Equal(t, g.size, m.Size())
		assert.Equal(t, g.area(), m.Area())
		box := image.Rectangle{}
		for y := -2; y < g.size.H+2; y++ {
			for x := -70; x < g.size.W+70; x++ {
				if m.At(x, y) != g.at(x, y) {
					t.Fatalf("At(%d, %d) = %v", x, y, m.At(x, y))
				}
				if g.at(x, y) {
					box = box.Union(image.Rect(x, y, x+1, y+1))
				}
			}
		}
		assert.Equal(t, box, m.Bounds())
		assert.True(t, m.Equal(m))

		var runs []sam.Run
		for y := range g.size.H {
			for x := 0; x < g.size.W; x++ {
				if g.at(x, y) && !g.at(x-1, y) {
					runs = append(runs, sam.Run{Y: y, X0: x})
				}
				if g.at(x, y) && !g.at(x+1, y) {
					runs[len(runs)-1].X1 = x + 1
				}
			}
		}
		assert.Equal(t, runs, slices.Collect(m.Runs()))
	})
}

func TestMaskSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawGrid(t, "a", 140), drawGrid(t, "b", 140)
		ma, mb := a.mask(t), b.mask(t)
		size := sam.Size{H: max(a.size.H, b.size.H), W: max(a.size.W, b.size.W)}
		of := func(f func(p, q bool) bool) *sam.Mask {
			m, err := sam.NewMask(size, func(x, y int) bool { return f(a.at(x, y), b.at(x, y)) })
			require.NoError(t, err)
			return m
		}
		both, either := of(func(p, q bool) bool { return p && q }), of(func(p, q bool) bool { return p || q })
		less := of(func(p, q bool) bool { return p && !q })
		for _, tt := range []struct {
			name string
			want *sam.Mask
			f    func(*sam.Mask) (*sam.Mask, error)
		}{{"union", either, ma.Union}, {"intersect", both, ma.Intersect}, {"subtract", less, ma.Subtract}} {
			got, err := tt.f(mb)
			require.NoError(t, err)
			assert.True(t, tt.want.Equal(got), tt.name)
		}
		assert.Equal(t, both.Area(), ma.Intersection(mb))
		assert.Equal(t, both.Area(), mb.Intersection(ma))
		if either.Area() == 0 {
			assert.True(t, math.IsNaN(ma.IoU(mb)))
		} else {
			assert.Equal(t, float64(both.Area())/float64(either.Area()), ma.IoU(mb))
		}
		assert.Equal(t, a.size == b.size && slices.Equal(a.on, b.on), ma.Equal(mb))
	})
}

func TestMaskPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGrid(t, "mask", 100)
		dx, dy := rapid.IntRange(-150, 150).Draw(t, "dx"), rapid.IntRange(-150, 150).Draw(t, "dy")
		size := sam.Size{H: rapid.IntRange(1, 200).Draw(t, "h"), W: rapid.IntRange(1, 200).Draw(t, "w")}
		got, err := g.mask(t).Place(size, image.Pt(dx, dy))
		require.NoError(t, err)
		want, err := sam.NewMask(size, func(x, y int) bool { return g.at(x-dx, y-dy) })
		require.NoError(t, err)
		assert.True(t, want.Equal(got))
	})
}

func TestMaskClip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGrid(t, "mask", 140)
		at := func(label string) int { return rapid.IntRange(-20, 160).Draw(t, label) }
		r := image.Rect(at("x0"), at("y0"), at("x1"), at("y1"))
		got, err := g.mask(t).Clip(r)
		require.NoError(t, err)
		want, err := sam.NewMask(g.size, func(x, y int) bool { return g.at(x, y) && image.Pt(x, y).In(r) })
		require.NoError(t, err)
		assert.True(t, want.Equal(got))
	})
}

func TestMaskOnPrompt(t *testing.T) {
	g := []string{
		"##....#",
		"##...#.",
		"....#..",
		"......#",
	}
	draw := func(rows []string) *sam.Mask {
		m, err := sam.NewMask(sam.Size{H: len(rows), W: len(rows[0])}, func(x, y int) bool { return rows[y][x] == '#' })
		require.NoError(t, err)
		return m
	}
	at := func(x, y float64) sam.Point { return sam.Point{X: x, Y: y, Label: sam.Foreground} }
	off := func(x, y float64) sam.Point { return sam.Point{X: x, Y: y, Label: sam.Background} }
	box := func(x0, y0, x1, y1 float64) *sam.Box { return &sam.Box{X0: x0, Y0: y0, X1: x1, Y1: y1} }
	for _, tt := range []struct {
		name string
		p    sam.Prompt
		want []string
	}{
		{"no prompt", sam.Prompt{}, g},
		{"one point", sam.Prompt{Points: []sam.Point{at(1.9, 1.9)}}, []string{"##.....", "##.....", ".......", "......."}},
		{"diagonal", sam.Prompt{Points: []sam.Point{at(6.5, 0)}}, []string{"......#", ".....#.", "....#..", "......."}},
		{"far corner", sam.Prompt{Points: []sam.Point{at(7, 4)}}, []string{".......", ".......", ".......", "......#"}},
		{"two points", sam.Prompt{Points: []sam.Point{at(6.5, 3.5), at(0, 0)}}, []string{"##.....", "##.....", ".......", "......#"}},
		{"two on one piece, one off the mask", sam.Prompt{Points: []sam.Point{at(4, 2), at(3, 3), at(6, 0), off(0, 0)}}, []string{"......#", ".....#.", "....#..", "......."}},
		{"background alone", sam.Prompt{Points: []sam.Point{off(0, 0)}}, g},
		{"point off the mask", sam.Prompt{Points: []sam.Point{at(3, 0)}}, g},
		{"box to the middles: far sides are out", sam.Prompt{Box: box(0.5, 0.5, 1.5, 1.5)}, []string{"#......", ".......", ".......", "......."}},
		{"box of the whole picture", sam.Prompt{Box: box(0, 0, 7, 4)}, g},
		{"box of no pixel", sam.Prompt{Box: box(1, 1, 1, 1)}, []string{".......", ".......", ".......", "......."}},
		{"box cuts a piece", sam.Prompt{Box: box(4, 0, 7, 4), Points: []sam.Point{at(5, 1)}}, []string{"......#", ".....#.", "....#..", "......."}},
		{"box parts a piece", sam.Prompt{Box: box(0, 0, 6, 2), Points: []sam.Point{at(5, 1)}}, []string{".......", ".....#.", ".......", "......."}},
		{"point outside the box", sam.Prompt{Box: box(4, 0, 7, 4), Points: []sam.Point{at(0, 0)}}, []string{"......#", ".....#.", "....#..", "......#"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := draw(g).On(tt.p)
			require.NoError(t, err)
			assert.True(t, draw(tt.want).Equal(got))
		})
	}
}

func TestNilAndEmptyMasks(t *testing.T) {
	var none *sam.Mask
	empty, err := sam.NewMask(sam.Size{H: 3, W: 4}, func(int, int) bool { return false })
	require.NoError(t, err)
	for name, m := range map[string]*sam.Mask{"nil": none, "empty": empty} {
		t.Run(name, func(t *testing.T) {
			assert.Zero(t, m.Area())
			assert.Equal(t, image.Rectangle{}, m.Bounds())
			assert.False(t, m.At(0, 0))
			assert.Empty(t, m.Polygons())
			assert.Empty(t, slices.Collect(m.Runs()))
			assert.Zero(t, m.Intersection(empty))
			assert.True(t, math.IsNaN(m.IoU(none)))
			assert.True(t, m.Equal(m))
			u, err := m.Union(empty)
			require.NoError(t, err)
			assert.True(t, u.Equal(empty))
		})
	}
	_, err = none.Union(nil)
	assert.ErrorIs(t, err, sam.ErrMask)
	_, err = none.Clip(image.Rect(0, 0, 1, 1))
	assert.ErrorIs(t, err, sam.ErrMask)
	assert.Equal(t, []int{12}, empty.RLE().Counts)
	assert.Empty(t, none.RLE().Counts)
}

func TestNewMaskRefusesSizes(t *testing.T) {
	for _, size := range []sam.Size{{}, {H: -1, W: 3}, {H: 3, W: 0}, {H: 1 << 25, W: 1}, {H: 1 << 24, W: 1 << 24}} {
		_, err := sam.NewMask(size, nil)
		assert.ErrorIs(t, err, sam.ErrMask, "%v", size)
	}
}

func TestMaskFromImage(t *testing.T) {
	img := image.NewGray(image.Rect(5, 5, 9, 6))
	copy(img.Pix, []byte{0, 127, 128, 255})
	m, err := sam.MaskFromImage(img)
	require.NoError(t, err)
	assert.Equal(t, sam.Size{H: 1, W: 4}, m.Size())
	assert.Equal(t, []sam.Run{{Y: 0, X0: 2, X1: 4}}, slices.Collect(m.Runs()))

	// The rule is that of color.GrayModel for any colour. The white pixel says
	// that the values go to 255: without one above 1 those of 1 are the mask.
	rapid.Check(t, func(t *rapid.T) {
		c := color.NRGBA{rapid.Byte().Draw(t, "r"), rapid.Byte().Draw(t, "g"), rapid.Byte().Draw(t, "b"), 255}
		img := image.NewNRGBA(image.Rect(0, 0, 2, 1))
		img.Set(0, 0, c)
		img.Set(1, 0, color.White)
		m, err := sam.MaskFromImage(img)
		require.NoError(t, err)
		assert.Equal(t, color.GrayModel.Convert(c).(color.Gray).Y >= 128, m.At(0, 0))
	})
	ones := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	ones.Set(0, 0, color.NRGBA{1, 1, 1, 255})
	ones.Set(1, 0, color.Black)
	m, err = sam.MaskFromImage(ones)
	require.NoError(t, err)
	assert.Equal(t, []sam.Run{{Y: 0, X0: 0, X1: 1}}, slices.Collect(m.Runs()))

	_, err = sam.MaskFromImage(nil)
	assert.Error(t, err)
}

func TestLogitsMask(t *testing.T) {
	nan := float32(math.NaN())
	rapid.Check(t, func(t *rapid.T) {
		l := sam.Logits{H: rapid.IntRange(1, 20).Draw(t, "h"), W: rapid.IntRange(1, 200).Draw(t, "w")}
		for range l.H * l.W {
			l.Data = append(l.Data, 0)
		}
		values := []float32{-1, -1e-45, float32(math.Copysign(0, -1)), 0, 1e-45, 0.5, 2, nan, float32(math.Inf(1)), float32(math.Inf(-1))}
		seed := rapid.Uint32().Draw(t, "seed")
		for i := range l.Data {
			l.Data[i] = values[(uint32(i)*2654435761^seed)>>8%uint32(len(values))]
		}
		limit := rapid.SampledFrom([]float32{0, float32(math.Copysign(0, -1)), 0.5, -1, float32(math.Inf(-1)), nan}).Draw(t, "limit")
		m, err := l.Mask(limit)
		require.NoError(t, err)
		for i, v := range l.Data {
			if m.At(i%l.W, i/l.W) != (v > limit) {
				t.Fatalf("value %d: %v > %v, got %v", i, v, limit, m.At(i%l.W, i/l.W))
			}
		}
	})
	_, err := sam.Logits{H: 2, W: 2, Data: make([]float32, 3)}.Mask(0)
	assert.ErrorIs(t, err, sam.ErrMask)
	_, err = sam.Logits{}.Mask(0)
	assert.ErrorIs(t, err, sam.ErrMask)
}

func BenchmarkLogitsMask(b *testing.B) {
	l := sam.Logits{H: 1024, W: 1024, Data: make([]float32, 1<<20)}
	for i := range l.Data {
		l.Data[i] = float32(math.Sin(float64(i%1024)/40) * math.Cos(float64(i/1024)/60))
	}
	b.SetBytes(4 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Mask(0); err != nil {
			b.Fatal(err)
		}
	}
}

// disc is a round mask, as nuclei are.
func disc(t require.TestingT, size sam.Size, cx, cy, r int) *sam.Mask {
	m, err := sam.NewMask(size, func(x, y int) bool { return (x-cx)*(x-cx)+(y-cy)*(y-cy) <= r*r })
	require.NoError(t, err)
	return m
}

func BenchmarkMask(b *testing.B) {
	size := sam.Size{H: 1024, W: 1024}
	for _, r := range []int{16, 400} {
		m, o := disc(b, size, 500, 500, r), disc(b, size, 510, 495, r)
		b.Run(fmt.Sprintf("iou/r=%d", r), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.IoU(o)
			}
		})
		b.Run(fmt.Sprintf("polygons/r=%d", r), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Polygons()
			}
		})
		b.Run(fmt.Sprintf("rle/r=%d", r), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.RLE()
			}
		})
		rle := m.RLE()
		b.Run(fmt.Sprintf("from rle/r=%d", r), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sam.MaskFromRLE(rle); err != nil {
					b.Fatal(err)
				}
			}
		})
		poly := m.Polygons()
		b.Run(fmt.Sprintf("from polygons/r=%d", r), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sam.MaskFromPolygons(size, poly); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
