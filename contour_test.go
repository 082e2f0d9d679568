package sam_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/paulmach/orb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slidesam/sam"
)

// parse makes a mask of a drawing: # is a pixel.
func parse(t require.TestingT, rows ...string) *sam.Mask {
	m, err := sam.NewMask(sam.Size{H: len(rows), W: len(rows[0])}, func(x, y int) bool { return rows[y][x] == '#' })
	require.NoError(t, err)
	return m
}

func ring(xy ...float64) orb.Ring {
	var r orb.Ring
	for i := 0; i < len(xy); i += 2 {
		r = append(r, orb.Point{xy[i], xy[i+1]})
	}
	return append(r, r[0])
}

func TestPolygons(t *testing.T) {
	for _, tt := range []struct {
		name string
		rows []string
		want orb.MultiPolygon
	}{
		{"one pixel", []string{"....", "..#."}, orb.MultiPolygon{{ring(2, 1, 3, 1, 3, 2, 2, 2)}}},
		{"corner", []string{"##", "#."}, orb.MultiPolygon{{ring(0, 0, 2, 0, 2, 1, 1, 1, 1, 2, 0, 2)}}},
		{
			"hole", []string{"###", "#.#", "###"},
			orb.MultiPolygon{{ring(0, 0, 3, 0, 3, 3, 0, 3), ring(1, 1, 1, 2, 2, 2, 2, 1)}},
		},
		{
			"island in a hole", []string{"#####", "#...#", "#.#.#", "#...#", "#####"},
			orb.MultiPolygon{
				{ring(0, 0, 5, 0, 5, 5, 0, 5), ring(1, 1, 1, 4, 4, 4, 4, 1)},
				{ring(2, 2, 3, 2, 3, 3, 2, 3)},
			},
		},
		{
			"pixels that touch at a corner are two polygons", []string{"#.", ".#"},
			orb.MultiPolygon{{ring(0, 0, 1, 0, 1, 1, 0, 1)}, {ring(1, 1, 2, 1, 2, 2, 1, 2)}},
		},
		{
			"the same, other corner", []string{".#", "#."},
			orb.MultiPolygon{{ring(1, 0, 2, 0, 2, 1, 1, 1)}, {ring(0, 1, 1, 1, 1, 2, 0, 2)}},
		},
		{
			"holes that touch at a corner are two rings", []string{"####", "#.##", "##.#", "####"},
			orb.MultiPolygon{{
				ring(0, 0, 4, 0, 4, 4, 0, 4),
				ring(1, 1, 1, 2, 2, 2, 2, 1), ring(2, 2, 2, 3, 3, 3, 3, 2),
			}},
		},
		{
			"an outline that meets itself encloses a hole", []string{"###", "#.#", "##."},
			orb.MultiPolygon{{ring(0, 0, 3, 0, 3, 2, 2, 2, 2, 3, 0, 3), ring(1, 1, 1, 2, 2, 2, 2, 1)}},
		},
		{
			"polygons in the order of their first pixel", []string{"..#", "#..", "#.#"},
			orb.MultiPolygon{{ring(2, 0, 3, 0, 3, 1, 2, 1)}, {ring(0, 1, 1, 1, 1, 3, 0, 3)}, {ring(2, 2, 3, 2, 3, 3, 2, 3)}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, parse(t, tt.rows...).Polygons())
		})
	}
}

func ringArea(r orb.Ring) float64 {
	sum := 0.0
	for i := 1; i < len(r); i++ {
		sum += r[i-1][0]*r[i][1] - r[i][0]*r[i-1][1]
	}
	return sum / 2
}

// parts counts 4-connected parts.
func (g grid) parts() int {
	seen, n := make([]bool, len(g.on)), 0
	for i, on := range g.on {
		if !on || seen[i] {
			continue
		}
		n++
		seen[i] = true
		for todo := []int{i}; len(todo) > 0; {
			j := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			x, y := j%g.size.W, j/g.size.W
			for _, d := range [][2]int{{1, 0}, {-1, 0}, {0, 1}, {0, -1}} {
				k := (y+d[1])*g.size.W + x + d[0]
				if g.at(x+d[0], y+d[1]) && !seen[k] {
					seen[k] = true
					todo = append(todo, k)
				}
			}
		}
	}
	return n
}

func TestPolygonsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGrid(t, "mask", 70)
		m := g.mask(t)
		polygons := m.Polygons()
		assert.Len(t, polygons, g.parts())
		total := 0.0
		for _, p := range polygons {
			for i, r := range p {
				require.GreaterOrEqual(t, len(r), 5)
				require.Equal(t, r[0], r[len(r)-1])
				area := ringArea(r)
				total += area
				if (area > 0) != (i == 0) {
					t.Fatalf("ring %d has the area %v", i, area)
				}
				seen := map[orb.Point]bool{}
				for k := 1; k < len(r); k++ {
					if seen[r[k]] {
						t.Fatalf("ring meets itself at %v", r[k])
					}
					seen[r[k]] = true
					// Turns at every vertex.
					next := r[1+k%(len(r)-1)]
					if (r[k-1][0] == r[k][0]) == (r[k][0] == next[0]) || (r[k-1][1] == r[k][1]) == (r[k][1] == next[1]) {
						t.Fatalf("no turn at %v", r[k])
					}
				}
			}
		}
		assert.Equal(t, float64(m.Area()), total)
		back, err := sam.MaskFromPolygons(g.size, polygons)
		require.NoError(t, err)
		assert.True(t, m.Equal(back))
	})
}

func TestMaskFromPolygons(t *testing.T) {
	size := sam.Size{H: 5, W: 6}
	for _, tt := range []struct {
		name string
		in   orb.MultiPolygon
		want []string
	}{
		{"nothing", nil, []string{"......", "......", "......", "......", "......"}},
		{"open ring", orb.MultiPolygon{{{{1, 1}, {3, 1}, {3, 3}, {1, 3}}}}, []string{"......", ".##...", ".##...", "......", "......"}},
		{"half pixels: centres count", orb.MultiPolygon{{ring(0.4, 0.6, 2.5, 0.6, 2.5, 3.5, 0.4, 3.5)}}, []string{"......", "##....", "##....", "......", "......"}},
		{"triangle", orb.MultiPolygon{{ring(0, 0, 5, 0, 0, 5)}}, []string{"####..", "###...", "##....", "#.....", "......"}},
		{"beyond the picture", orb.MultiPolygon{{ring(-1e9, 2, 1e9, 2, 1e9, 1e9, -1e9, 1e9)}}, []string{"......", "......", "######", "######", "######"}},
		{"overlapping polygons", orb.MultiPolygon{{ring(0, 0, 3, 0, 3, 2, 0, 2)}, {ring(2, 1, 5, 1, 5, 3, 2, 3)}}, []string{"###...", "#####.", "..###.", "......", "......"}},
		{"holes in any direction", orb.MultiPolygon{{ring(0, 0, 5, 0, 5, 5, 0, 5), ring(1, 1, 2, 1, 2, 2, 1, 2), ring(3, 3, 3, 4, 4, 4, 4, 3)}}, []string{"#####.", "#.###.", "#####.", "###.#.", "#####."}},
		{"points and lines have no pixels", orb.MultiPolygon{{}, {nil}, {{{1, 1}}}, {ring(0, 0, 4, 4)}}, []string{"......", "......", "......", "......", "......"}},
		{"hair below the centres", orb.MultiPolygon{{ring(0, 0.5, 5, math.Nextafter(0.5, 1), 3, 0.5)}}, []string{"###...", "......", "......", "......", "......"}},
		{"hair above the centres", orb.MultiPolygon{{ring(0, 0.5, 5, math.Nextafter(0.5, 0), 3, 0.5)}}, []string{"......", "......", "......", "......", "......"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := sam.MaskFromPolygons(size, tt.in)
			require.NoError(t, err)
			want := parse(t, tt.want...)
			for y := range size.H {
				for x := range size.W {
					assert.Equal(t, want.At(x, y), got.At(x, y), "(%d, %d)", x, y)
				}
			}
		})
	}
	for name, v := range map[string]float64{"NaN": math.NaN(), "infinite": math.Inf(-1), "far": 1e10} {
		_, err := sam.MaskFromPolygons(size, orb.MultiPolygon{{ring(0, 0, v, 1, 2, 2)}})
		assert.ErrorIs(t, err, sam.ErrMask, name)
	}
	_, err := sam.MaskFromPolygons(sam.Size{}, nil)
	assert.ErrorIs(t, err, sam.ErrMask)
	_, err = sam.MaskFromPolygons(sam.Size{H: 1 << 24, W: 1 << 24}, orb.MultiPolygon{{ring(0, 0, 1e8, 0, 1e8, 1e8)}})
	assert.ErrorIs(t, err, sam.ErrMask)
}

// Polygons that share edges share no pixel, wherever the edges lie.
func TestTrianglesTile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := sam.Size{H: 20, W: 20}
		c := orb.Point{rapid.Float64Range(0, 20).Draw(t, "x"), rapid.Float64Range(0, 20).Draw(t, "y")}
		if rapid.Bool().Draw(t, "half") {
			c = orb.Point{math.Round(c[0]*2) / 2, math.Round(c[1]*2) / 2}
		}
		corner := []orb.Point{{0, 0}, {20, 0}, {20, 20}, {0, 20}}
		total := 0
		for i := range corner {
			m, err := sam.MaskFromPolygons(size, orb.MultiPolygon{{{corner[i], corner[(i+1)%4], c}}})
			require.NoError(t, err)
			total += m.Area()
		}
		assert.Equal(t, 400, total)
	})
}

// Any polygon against the even-odd rule, one pixel centre at a time.
func TestPolygonsAgainstCrossings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := sam.Size{H: 24, W: 70}
		var p orb.Polygon
		for range rapid.IntRange(1, 3).Draw(t, "rings") {
			var r orb.Ring
			for range rapid.IntRange(3, 9).Draw(t, "points") {
				r = append(r, orb.Point{rapid.Float64Range(-20, 90).Draw(t, "x"), rapid.Float64Range(-10, 34).Draw(t, "y")})
			}
			p = append(p, append(r, r[0]))
		}
		m, err := sam.MaskFromPolygons(size, orb.MultiPolygon{p})
		require.NoError(t, err)
		for y := range size.H {
			for x := range size.W {
				cx, cy := float64(x)+0.5, float64(y)+0.5
				in, near := false, false
				for _, r := range p {
					for i := 1; i < len(r); i++ {
						a, b := r[i-1], r[i]
						if (a[1] <= cy) == (b[1] <= cy) {
							continue
						}
						at := a[0] + (cy-a[1])*(b[0]-a[0])/(b[1]-a[1])
						in = in != (at <= cx)
						near = near || math.Abs(at-cx) < 1e-9
					}
				}
				if m.At(x, y) != in && !near {
					t.Fatalf("(%d, %d): %v, want %v", x, y, m.At(x, y), in)
				}
			}
		}
	})
}

func FuzzMaskFromPolygons(f *testing.F) {
	f.Add([]byte{}, 3, 3)
	var square []byte
	for _, v := range []float64{0.5, 0.5, 2, 0.5, 2, 1e9, 5e-324, 3} {
		square = binary.LittleEndian.AppendUint64(square, math.Float64bits(v))
	}
	f.Add(square, 40, 100)
	f.Fuzz(func(t *testing.T, b []byte, h, w int) {
		if h > 2000 || w > 2000 {
			return
		}
		var r orb.Ring
		for ; len(b) >= 16; b = b[16:] {
			r = append(r, orb.Point{math.Float64frombits(binary.LittleEndian.Uint64(b)), math.Float64frombits(binary.LittleEndian.Uint64(b[8:]))})
		}
		m, err := sam.MaskFromPolygons(sam.Size{H: h, W: w}, orb.MultiPolygon{{r}})
		if err != nil {
			require.ErrorIs(t, err, sam.ErrMask)
			return
		}
		back, err := sam.MaskFromPolygons(m.Size(), m.Polygons())
		require.NoError(t, err)
		require.True(t, m.Equal(back))
	})
}

func ExampleMask_Polygons() {
	m, err := sam.NewMask(sam.Size{H: 3, W: 4}, func(x, y int) bool { return x < 3 && (x != 1 || y != 1) })
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range m.Polygons() {
		fmt.Println("outline", p[0])
		fmt.Println("holes  ", p[1:])
	}
	// Output:
	// outline [[0 0] [3 0] [3 3] [0 3] [0 0]]
	// holes   [[[1 1] [1 2] [2 2] [2 1] [1 1]]]
}

func ExampleMaskFromPolygons() {
	triangle := orb.Polygon{{{0, 0}, {8, 0}, {0, 8}, {0, 0}}}
	m, err := sam.MaskFromPolygons(sam.Size{H: 10, W: 10}, orb.MultiPolygon{triangle})
	fmt.Println(m.Area(), m.Bounds(), err)
	// Output: 28 (0,0)-(7,7) <nil>
}
