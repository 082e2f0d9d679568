package synth_test

import (
	"fmt"
	"image"
	"runtime"
	"sort"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/synth"
)

// Any region must be a crop of any larger one, at every scale: picture and
// truth, whatever was asked before. 60 pixels off the lattice steps.
func TestRegionsJoin(t *testing.T) {
	for _, tt := range []struct {
		name string
		mpp  float64
		o    synth.Options
	}{
		{"0.25", 0.25, synth.Options{}},
		{"0.25 artefacts", 0.25, synth.Options{Artefacts: true}},
		{"1.1", 1.1, synth.Options{Artefacts: true}},
		{"4", 4, synth.Options{}},
		{"32", 32, synth.Options{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := synth.New(11, tt.o)
			x, y := int(12000/tt.mpp), int(11500/tt.mpp)
			big, bt := s.Region(x, y, 200, 180, tt.mpp)
			small, st := synth.New(11, tt.o).Region(x+61, y+47, 90, 101, tt.mpp)
			for j := range 101 {
				for i := range 90 {
					o, p := (j+47)*200+i+61, j*90+i
					require.Equal(t, big.RGBAAt(i+61, j+47), small.RGBAAt(i, j), "pixel %d, %d", i, j)
					require.Equal(t, id(bt, o), id(st, p), "nucleus at %d, %d", i, j)
					require.Equal(t, bt.Glands[o] > 0, st.Glands[p] > 0, "gland at %d, %d", i, j)
					require.Equal(t, bt.Tumour[o], st.Tumour[p], "tumour at %d, %d", i, j)
					require.Equal(t, bt.Tissue[o], st.Tissue[p], "tissue at %d, %d", i, j)
				}
			}
		})
	}
}

func id(t *synth.Truth, i int) uint64 {
	if k := t.Nuclei[i]; k > 0 {
		return t.List[k-1].ID
	}
	return 0
}

func TestSeedsDiffer(t *testing.T) {
	a, _ := synth.New(1, synth.Options{Solid: true}).Region(4000, 4000, 64, 64, 0.25)
	b, _ := synth.New(2, synth.Options{Solid: true}).Region(4000, 4000, 64, 64, 0.25)
	assert.NotEqual(t, a.Pix, b.Pix)
}

func TestTruthAgrees(t *testing.T) {
	for seed := range uint64(6) {
		_, tr := synth.New(seed, synth.Options{Solid: true}).Region(9000, 7000, 300, 200, 0.5)
		area := make([]int, len(tr.List))
		glands := map[int32]bool{}
		for i, k := range tr.Nuclei {
			require.LessOrEqual(t, int(k), len(tr.List))
			if k > 0 {
				area[k-1]++
				assert.True(t, tr.Tissue[i])
			}
			if g := tr.Glands[i]; g > 0 {
				glands[g] = true
			}
		}
		for i, n := range tr.List {
			assert.Equal(t, area[i], n.Area)
			assert.Positive(t, n.Area)
			assert.NotEmpty(t, n.Kind.String())
		}
		assert.Len(t, glands, tr.GlandN)
	}
}

// A tumour region must end where the picture says so: tumour nuclei or glass lie
// along its outline, and no outline runs through a gland.
func TestTumourOutlineShows(t *testing.T) {
	const side, mpp, near = 500, 1.4, 7 // near is 10 µm
	seen, all, cut := 0, 0, 0
	for _, seed := range []uint64{9, 12, 13, 16, 18, 27, 33, 39} {
		_, tr := synth.New(seed, synth.Options{}).Region(8928, 8928, side, side, mpp)
		sum := make([]int, (side+1)*(side+1)) // of such pixels, integral
		glands := map[int32]bool{}
		for i, k := range tr.Nuclei {
			x, y, n := i%side, i/side, 0
			if k > 0 && tr.List[k-1].Kind == synth.Tumour || !tr.Tissue[i] {
				n = 1
			}
			o := (y+1)*(side+1) + x + 1
			sum[o] = n + sum[o-1] + sum[o-side-1] - sum[o-side-2]
			if g := tr.Glands[i]; g > 0 {
				if in, ok := glands[g]; ok && in != tr.Tumour[i] {
					cut++
				}
				glands[g] = tr.Tumour[i]
			}
		}
		for y := near; y < side-near; y++ {
			for x := near; x < side-near; x++ {
				i := y*side + x
				if !tr.Tumour[i] || tr.Glands[i] > 0 || tr.Tumour[i-1] && tr.Tumour[i+1] && tr.Tumour[i-side] && tr.Tumour[i+side] {
					continue
				}
				all++
				a, b := (y-near)*(side+1)+x-near, (y+near+1)*(side+1)+x-near
				if sum[b+2*near+1]-sum[b]-sum[a+2*near+1]+sum[a] > 0 {
					seen++
				}
			}
		}
	}
	require.Greater(t, all, 1000)
	// 0.984 of these outlines; 0.925 when nests lay anywhere in a region. The slides
	// are some whose middle holds tumour beside other tissue.
	assert.Greater(t, float64(seen)/float64(all), 0.97)
	assert.Zero(t, cut, "pixels of glands that a tumour's outline cuts")
}

// The statistics of four MoNuSeg pictures (0.25 mpp): 300 to 535 nuclei per
// 250 x 250 µm, median areas of 373 to 673 pixels, 16 to 25 % of the picture.
// Slides vary more than four pictures do; the medians over slides must fall
// inside the real range.
func TestNucleiLikeReal(t *testing.T) {
	var density, size, share []float64
	for seed := range uint64(15) {
		_, tr := synth.New(100+seed, synth.Options{Solid: true}).Region(20000, 30000, 600, 600, 0.25)
		var a []float64
		sum := 0
		for _, n := range tr.List {
			a = append(a, float64(n.Area))
			sum += n.Area
		}
		if len(a) == 0 {
			continue
		}
		density = append(density, float64(len(a))/0.36)
		size = append(size, median(a))
		share = append(share, float64(sum)/360000)
	}
	assert.InDelta(t, 418, median(density), 118, "nuclei per 1000 x 1000")
	assert.InDelta(t, 523, median(size), 150, "median area")
	assert.InDelta(t, 0.205, median(share), 0.06, "share of the picture")
}

func median(v []float64) float64 {
	sort.Float64s(v)
	return v[len(v)/2]
}

// A region at the far corner of a huge slide costs what its pixels cost.
func TestMemoryIsTheRegions(t *testing.T) {
	cost := func(o synth.Options, x int) uint64 {
		s := synth.New(3, o)
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		s.Region(x, x, 128, 128, 0.25)
		runtime.ReadMemStats(&b)
		return b.TotalAlloc - a.TotalAlloc
	}
	small := cost(synth.Options{Width: 20000, Height: 20000, Solid: true}, 15000)
	huge := cost(synth.Options{Width: 400000, Height: 400000, Solid: true}, 399000)
	assert.Less(t, huge, uint64(40<<20))
	assert.Less(t, small, uint64(40<<20))
}

func TestEdges(t *testing.T) {
	s := synth.New(5, synth.Options{Width: 3000, Height: 2000})
	assert.Equal(t, image.Rect(0, 0, 3000, 2000), s.Bounds())
	w, h, mpp := s.Level(3)
	assert.Equal(t, [2]int{375, 250}, [2]int{w, h})
	assert.Equal(t, 2.0, mpp)
	img, tr := s.Region(-500, -500, 20, 10, 0.25)
	assert.Equal(t, image.Rect(0, 0, 20, 10), img.Bounds())
	assert.NotContains(t, tr.Tissue, true, "glass around the slide")
	img, tr = s.Region(0, 0, 0, -4, 0.25)
	assert.True(t, img.Bounds().Empty())
	assert.Empty(t, tr.Nuclei)
}

func TestArtefactsShow(t *testing.T) {
	plain, _ := synth.New(9, synth.Options{}).Region(0, 0, 250, 250, 100)
	marked, _ := synth.New(9, synth.Options{Artefacts: true}).Region(0, 0, 250, 250, 100)
	n := 0
	for i := range plain.Pix {
		if plain.Pix[i] != marked.Pix[i] {
			n++
		}
	}
	assert.Greater(t, n, len(plain.Pix)/200)
}

func TestJPEG(t *testing.T) {
	img, _ := synth.New(1, synth.Options{Solid: true}).Region(4000, 4000, 64, 48, 0.25)
	got, err := synth.JPEG(img, 80)
	require.NoError(t, err)
	assert.Equal(t, img.Bounds(), got.Bounds())
	sum := 0
	for i := range img.Pix {
		d := int(img.Pix[i]) - int(got.Pix[i])
		sum += d * d
	}
	assert.Positive(t, sum)
	assert.Less(t, sum/len(img.Pix), 400) // 20 grey levels RMS
	_, err = synth.JPEG(image.NewRGBA(image.Rect(0, 0, 70000, 1)), 80)
	assert.ErrorContains(t, err, "synth: encode jpeg")
}

func Example() {
	s := synth.New(7, synth.Options{Solid: true})
	img, truth := s.Region(40000, 30000, 256, 256, 0.25)
	again, _ := s.Region(40000, 30000, 256, 256, 0.25)
	fmt.Println(img.Bounds(), truth.W, truth.H, string(img.Pix) == string(again.Pix))
	// Output: (0,0)-(256,256) 256 256 true
}

func ExampleSlide_Level() {
	s := synth.New(7, synth.Options{Width: 200000, Height: 150000})
	fmt.Println(s.Level(6))
	// Output: 3125 2344 16
}

func BenchmarkRegion(b *testing.B) {
	s := synth.New(100, synth.Options{Solid: true})
	b.ReportAllocs()
	for b.Loop() {
		s.Region(5000, 5000, 512, 512, 0.25)
	}
	b.ReportMetric(512*512*float64(b.N)/1e6/b.Elapsed().Seconds(), "Mpx/s")
}
