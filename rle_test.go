package sam_test

import (
	"encoding/json"
	"fmt"
	"image"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
)

func TestRLEAgainstPycocotools(t *testing.T) {
	cases, err := golden.RLEs()
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s/%dx%d", c.Kind, c.Size.H, c.Size.W), func(t *testing.T) {
			m := grid{sam.Size(c.Size), c.Mask()}.mask(t)
			r := m.RLE()
			assert.Equal(t, sam.Size(c.Size), r.Size)
			assert.Len(t, r.Counts, c.Runs)
			if c.Counts != nil {
				assert.Equal(t, c.Counts, r.Counts)
			}
			assert.Equal(t, c.String, r.Compressed())
			assert.Equal(t, c.Area, m.Area())
			box := m.Bounds()
			assert.Equal(t, c.BBox, [4]int{box.Min.X, box.Min.Y, box.Dx(), box.Dy()})

			parsed, err := sam.ParseRLE(sam.Size(c.Size), c.String)
			require.NoError(t, err)
			assert.Equal(t, r, parsed)
			back, err := sam.MaskFromRLE(parsed)
			require.NoError(t, err)
			assert.True(t, m.Equal(back))
		})
	}
}

func TestRLERoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGrid(t, "mask", 150)
		m := g.mask(t)
		r := m.RLE()

		// By hand: column by column, first the pixels outside.
		want, last := []int{0}, false
		for x := range g.size.W {
			for y := range g.size.H {
				if g.at(x, y) != last {
					want, last = append(want, 0), !last
				}
				want[len(want)-1]++
			}
		}
		assert.Equal(t, want, r.Counts)

		back, err := sam.MaskFromRLE(r)
		require.NoError(t, err)
		assert.True(t, m.Equal(back))
		parsed, err := sam.ParseRLE(g.size, r.Compressed())
		require.NoError(t, err)
		assert.Equal(t, r, parsed)
		for _, v := range []any{r, sam.CompressedRLE(r)} {
			b, err := json.Marshal(v)
			require.NoError(t, err)
			var a sam.RLE
			require.NoError(t, json.Unmarshal(b, &a))
			assert.Equal(t, r, a)
			var c sam.CompressedRLE
			require.NoError(t, json.Unmarshal(b, &c))
			assert.Equal(t, r, sam.RLE(c))
		}
	})
}

// Runs of no pixels within the code are allowed: other tools write them.
func TestRLEWithEmptyRuns(t *testing.T) {
	m, err := sam.MaskFromRLE(sam.RLE{Size: sam.Size{H: 2, W: 3}, Counts: []int{1, 1, 0, 2, 0, 0, 2}})
	require.NoError(t, err)
	assert.Equal(t, []int{1, 3, 2}, m.RLE().Counts)
}

// A pixel far out on a huge picture costs no more than one near by.
func TestFarPixel(t *testing.T) {
	r := sam.RLE{Size: sam.Size{H: 1 << 24, W: 1 << 24}, Counts: []int{1<<48 - 1, 1}}
	m, err := sam.MaskFromRLE(r)
	require.NoError(t, err)
	assert.Equal(t, 1, m.Area())
	assert.True(t, m.At(1<<24-1, 1<<24-1))
	assert.Equal(t, r, m.RLE())
	polygons := m.Polygons()
	require.Len(t, polygons, 1)
	back, err := sam.MaskFromPolygons(r.Size, polygons)
	require.NoError(t, err)
	assert.True(t, m.Equal(back))
	near, err := m.Place(sam.Size{H: 1, W: 1}, image.Pt(1-1<<24, 1-1<<24))
	require.NoError(t, err)
	assert.Equal(t, image.Rect(0, 0, 1, 1), near.Bounds())
}

func TestRLERefuses(t *testing.T) {
	size := sam.Size{H: 2, W: 3}
	for _, tt := range []struct {
		name   string
		size   sam.Size
		counts []int
	}{
		{"no counts", size, nil},
		{"too few pixels", size, []int{5}},
		{"too many pixels", size, []int{7}},
		{"negative count", size, []int{7, -1}},
		{"no size", sam.Size{}, nil},
		{"negative size", sam.Size{H: -2, W: -3}, []int{6}},
		{"endless picture", sam.Size{H: 1 << 62, W: 4}, []int{0}},
		{"endless mask", sam.Size{H: 1 << 24, W: 1 << 24}, []int{0, 1 << 48}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := sam.MaskFromRLE(sam.RLE{Size: tt.size, Counts: tt.counts})
			assert.ErrorIs(t, err, sam.ErrMask)
		})
	}
	for name, s := range map[string]string{
		"empty": "", "foreign character": "6 ", "beyond ASCII": "é", "ends within a count": "6T", "too long a count": "ooooooooooooooooo0",
		"negative count": "O7", "too few pixels": "5", "after the end": "61",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sam.ParseRLE(size, s)
			assert.ErrorIs(t, err, sam.ErrMask)
		})
	}
	for name, s := range map[string]string{
		"no JSON": `{`, "no counts": `{"size": [2, 3]}`, "counts of another type": `{"size": [2, 3], "counts": {}}`, "fraction": `{"size": [2, 3], "counts": [1.5, 4.5]}`,
		"size of another type": `{"size": "2x3", "counts": [6]}`, "bad string": `{"size": [2, 3], "counts": "T"}`, "half a string": `{"size": [2, 3], "counts": "6`, "wrong sum": `{"size": [2, 3], "counts": [5]}`,
		"one side": `{"size": [2], "counts": [6]}`,
	} {
		t.Run(name, func(t *testing.T) {
			var r sam.RLE
			assert.Error(t, json.Unmarshal([]byte(s), &r))
		})
	}
}

func FuzzParseRLE(f *testing.F) {
	f.Add(2, 3, "141")
	f.Add(100, 80, "P1`12")
	f.Add(3, 3, "04O1N2")
	f.Add(1, 1, "01")
	f.Fuzz(func(t *testing.T, h, w int, s string) {
		r, err := sam.ParseRLE(sam.Size{H: h, W: w}, s)
		if err != nil || h > 4000 || w > 4000 {
			return
		}
		m, err := sam.MaskFromRLE(r)
		require.NoError(t, err)
		n := 0
		for i, c := range r.Counts {
			n += c * (i & 1)
		}
		require.Equal(t, n, m.Area())
		back, err := sam.ParseRLE(r.Size, m.RLE().Compressed())
		require.NoError(t, err)
		again, err := sam.MaskFromRLE(back)
		require.NoError(t, err)
		require.True(t, m.Equal(again))
	})
}

func FuzzRLEJSON(f *testing.F) {
	f.Add([]byte(`{"size": [2, 3], "counts": [1, 4, 1]}`))
	f.Add([]byte(`{"size": [2, 3], "counts": "141"}`))
	f.Add([]byte(`{"counts": null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r sam.RLE
		if json.Unmarshal(b, &r) != nil || r.Size == (sam.Size{}) { // "null" leaves r as it is
			return
		}
		out, err := json.Marshal(r)
		require.NoError(t, err)
		var again sam.RLE
		require.NoError(t, json.Unmarshal(out, &again))
		require.Equal(t, r, again)
	})
}

func ExampleMask_RLE() {
	// 0 1 1
	// 1 1 0
	m, err := sam.NewMask(sam.Size{H: 2, W: 3}, func(x, y int) bool { return x == 1 || x == 2-2*y })
	if err != nil {
		fmt.Println(err)
		return
	}
	r := m.RLE()
	fmt.Println(r.Counts, r.Compressed())
	// Output: [1 4 1] 141
}

func ExampleParseRLE() {
	r, err := sam.ParseRLE(sam.Size{H: 2, W: 3}, "141")
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := sam.MaskFromRLE(r)
	fmt.Println(m.Area(), m.Bounds(), err)
	// Output: 4 (0,0)-(3,2) <nil>
}

func ExampleMaskFromRLE() {
	m, err := sam.MaskFromRLE(sam.RLE{Size: sam.Size{H: 100, W: 50}, Counts: []int{210, 5, 95, 5, 4685}})
	fmt.Println(m.Area(), m.Bounds(), err)
	// Output: 10 (2,10)-(4,15) <nil>
}

func ExampleCompressedRLE() {
	b, err := json.Marshal(sam.CompressedRLE{Size: sam.Size{H: 2, W: 3}, Counts: []int{1, 4, 1}})
	fmt.Println(string(b), err)
	// Output: {"size":[2,3],"counts":"141"} <nil>
}
