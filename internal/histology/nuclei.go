package histology

import (
	"context"
	"errors"
	"image"
	"math"
	"sort"

	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/spatial"
)

// Constants of Nuclei, in micrometres and optical density. They are
// fixed, not taken from the tile, so that neighbouring tiles agree.
const (
	nucleusBlur     = 1.1  // standard deviation of the smoothing
	nucleusDistance = 3.0  // between two nuclei at least
	nucleusRing     = 7.0  // side of the neighbourhood that a nucleus stands out of, over 2
	nucleusStain    = 0.30 // haematoxylin at its centre at least
	nucleusContrast = 0.05 // over the mean of the neighbourhood at least
	defaultMPP      = 0.5  // of a tile whose pixel size is unknown
)

// haematoxylin is the row of the inverse of Ruifrok and Johnston's stain
// matrix (haematoxylin, eosin, and what is left) that gives the amount of
// haematoxylin from the optical densities of red, green and blue.
var haematoxylin = stainRow([3]float64{0.650, 0.704, 0.286}, [3]float64{0.072, 0.990, 0.105})

// stainRow returns the first row of the inverse of the matrix whose rows are
// two stains of unit length and their cross product.
func stainRow(h, e [3]float64) [3]float32 {
	unit := func(v [3]float64) [3]float64 {
		n := math.Sqrt(v[0]*v[0] + v[1]*v[1] + v[2]*v[2])
		return [3]float64{v[0] / n, v[1] / n, v[2] / n}
	}
	cross := func(a, b [3]float64) [3]float64 {
		return [3]float64{a[1]*b[2] - a[2]*b[1], a[2]*b[0] - a[0]*b[2], a[0]*b[1] - a[1]*b[0]}
	}
	h, e = unit(h), unit(e)
	r := unit(cross(h, e))
	c := cross(e, r)
	det := h[0]*c[0] + h[1]*c[1] + h[2]*c[2]
	return [3]float32{float32(c[0] / det), float32(c[1] / det), float32(c[2] / det)}
}

// density is the optical density of each 8-bit value.
var density = func() (t [256]float32) {
	for v := range t {
		t[v] = float32(-math.Log10((float64(v) + 1) / 256))
	}
	return t
}()

// Point is a place in a picture, in pixels: x right, y down.
type Point struct{ X, Y float64 }

// Nuclei returns a point at each nucleus of an H&E tile: the maxima of the
// smoothed amount of haematoxylin that are strong enough and stand out of their
// neighbourhood. mpp is in micrometres per pixel; 0 means 0.5.
//
// Points come row by row, and those of a tile depend on their neighbourhood
// alone. Stains are those of Ruifrok and Johnston, Anal. Quant. Cytol. Histol.
// 23 (2001).
func Nuclei(ctx context.Context, tile *image.RGBA, mpp float64) ([]Point, error) {
	if mpp == 0 {
		mpp = defaultMPP
	}
	if !(mpp > 0) || mpp > 4 {
		return nil, errors.New("pixels of more than 4 micrometres, or none")
	}
	w, h := tile.Rect.Dx(), tile.Rect.Dy()
	if w == 0 || h == 0 {
		return nil, errors.New("empty tile")
	}
	stain := make([]float32, w*h)
	kernel.Parallel(h, func(y int) {
		row := tile.Pix[y*tile.Stride:]
		for x := range w {
			v := haematoxylin[0]*density[row[4*x]] + haematoxylin[1]*density[row[4*x+1]] + haematoxylin[2]*density[row[4*x+2]]
			stain[y*w+x] = max(v, 0)
		}
	})
	stain = gaussian(stain, w, h, nucleusBlur/mpp)
	around := boxMean(stain, w, h, max(1, int(nucleusRing/mpp)))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rows := make([][]int, h)
	kernel.Parallel(h, func(y int) {
		for x := range w {
			i := y*w + x
			if v := stain[i]; v >= nucleusStain && v-around[i] >= nucleusContrast && isPeak(stain, w, h, x, y) {
				rows[y] = append(rows[y], i)
			}
		}
	})
	var peaks []int
	for _, r := range rows {
		peaks = append(peaks, r...)
	}
	peaks = thin(peaks, stain, w, nucleusDistance/mpp)
	out := make([]Point, len(peaks))
	for i, p := range peaks {
		out[i] = Point{X: float64(p%w) + 0.5, Y: float64(p/w) + 0.5}
	}
	return out, nil
}

// isPeak reports whether no neighbour is larger; of equal ones the first in
// reading order is the peak.
func isPeak(v []float32, w, h, x, y int) bool {
	i := y*w + x
	for dy := -1; dy <= 1; dy++ {
		for dx := -1; dx <= 1; dx++ {
			nx, ny := x+dx, y+dy
			if nx < 0 || ny < 0 || nx >= w || ny >= h || (dx == 0 && dy == 0) {
				continue
			}
			j := ny*w + nx
			if v[j] > v[i] || v[j] == v[i] && j < i {
				return false
			}
		}
	}
	return true
}

// thin keeps the strongest of peaks nearer than d, in reading order.
func thin(peaks []int, v []float32, w int, d float64) []int {
	order := append([]int(nil), peaks...)
	sort.SliceStable(order, func(a, b int) bool { return v[order[a]] > v[order[b]] })
	reach := int(math.Ceil(d))
	kept := spatial.NewIndex(max(1, int(d)))
	keep := []int{}
	for _, p := range order {
		x, y := p%w, p/w
		alone := kept.Near(image.Rect(x-reach, y-reach, x+reach+1, y+reach+1), func(q int) bool {
			dx, dy := float64(q%w-x), float64(q/w-y)
			return dx*dx+dy*dy >= d*d
		})
		if alone {
			kept.Add(p, image.Rect(x, y, x+1, y+1))
			keep = append(keep, p)
		}
	}
	sort.Ints(keep)
	return keep
}

// gaussian smooths a plane [h, w], its edge repeated.
func gaussian(v []float32, w, h int, sigma float64) []float32 {
	n := max(1, int(math.Ceil(3*sigma)))
	k := make([]float32, 2*n+1)
	sum := 0.0
	for i := range k {
		sum += math.Exp(-float64((i-n)*(i-n)) / (2 * sigma * sigma))
	}
	for i := range k {
		k[i] = float32(math.Exp(-float64((i-n)*(i-n))/(2*sigma*sigma)) / sum)
	}
	mid, out := make([]float32, len(v)), make([]float32, len(v))
	kernel.Parallel(h, func(y int) {
		row := v[y*w : (y+1)*w]
		for x := range w {
			var s float32
			for i, c := range k {
				s += c * row[min(max(x+i-n, 0), w-1)]
			}
			mid[y*w+x] = s
		}
	})
	kernel.Parallel(h, func(y int) {
		dst := out[y*w : (y+1)*w]
		for i, c := range k {
			row := mid[min(max(y+i-n, 0), h-1)*w:][:w]
			for x := range dst {
				dst[x] += c * row[x]
			}
		}
	})
	return out
}

// boxMean returns the means over squares of side 2n+1, cut off at the edge.
func boxMean(v []float32, w, h, n int) []float32 {
	table := newSums(w, h, func(x, y int) float64 { return float64(v[y*w+x]) })
	out := make([]float32, len(v))
	kernel.Parallel(h, func(y int) {
		y0, y1 := max(y-n, 0), min(y+n+1, h)
		for x := range w {
			x0, x1 := max(x-n, 0), min(x+n+1, w)
			out[y*w+x] = float32(table.in(x0, y0, x1, y1) / float64((y1-y0)*(x1-x0)))
		}
	})
	return out
}
