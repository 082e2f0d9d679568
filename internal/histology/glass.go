package histology

import (
	"image"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Constants of the glass, in grey levels unless they say otherwise.
const (
	glassDarkest = 120  // glass is lighter
	glassTint    = 32   // its channels are no farther apart
	glassCalm    = 8    // nor are neighbouring pixels of it
	glassLevels  = 12   // around its commonest light at first
	glassNear    = 7    // around the light that was fitted
	glassLeast   = 0.01 // of the picture's pixels
	glassSamples = 60_000
	unscanned    = 253 // of all channels: nothing was scanned there, or the sensor was blinded
)

// glass is the light that a slide lets through where nothing lies on it, as
// optical density against white: a surface of second degree over the picture,
// since the light of a scanner and of a camera falls off to the sides.
type glass struct {
	terms [3][]float64 // of each channel; nil: white
	w, h  int
}

// at returns the optical densities of the glass at a pixel.
func (g *glass) at(x, y int) (d [3]float64) {
	u, v := g.place(x, y)
	for c, t := range g.terms {
		for k := range t {
			d[c] += t[k] * term(k, u, v)
		}
	}
	return d
}

// place returns a pixel's place, from -1 to 1 across the picture.
func (g *glass) place(x, y int) (u, v float64) {
	return 2*float64(x)/float64(max(g.w-1, 1)) - 1, 2*float64(y)/float64(max(g.h-1, 1)) - 1
}

// term is the k-th of 1, u, v, uu, uv, vv.
func term(k int, u, v float64) float64 {
	switch k {
	case 0:
		return 1
	case 1:
		return u
	case 2:
		return v
	case 3:
		return u * u
	case 4:
		return u * v
	}
	return v * v
}

// findGlass finds the glass of a picture without alpha. It reports false if no
// pixels look like glass; the glass is white then.
//
// Glass is light, has little colour and no texture; of several such lights the
// lightest that is common counts, which is not that of pale tissue.
func findGlass(pic *image.RGBA) (*glass, bool) {
	w, h := pic.Rect.Dx(), pic.Rect.Dy()
	g := &glass{w: w, h: h}
	var calm []int32 // pixels that may be glass
	var lights [256]int
	white := 0
	for y := range h {
		for x := range w {
			p := pic.Pix[y*pic.Stride+4*x:]
			lo, hi := min(p[0], p[1], p[2]), max(p[0], p[1], p[2])
			if lo >= unscanned {
				white++
				continue
			}
			if l := light(p); hi-lo <= glassTint && l >= glassDarkest && isCalm(pic, x, y) {
				calm = append(calm, int32(y*w+x))
				lights[l]++
			}
		}
	}
	if least := glassLeast * float64(w*h); float64(len(calm)) < least {
		return g, float64(white) >= least
	}
	mode := lightestMode(lights[:])
	step := len(calm)/glassSamples + 1
	var near []int32
	for i := 0; i < len(calm); i += step {
		k := int(calm[i])
		if l := int(light(pic.Pix[k/w*pic.Stride+k%w*4:])); l >= mode-glassLevels && l <= mode+glassLevels {
			near = append(near, calm[i])
		}
	}
	for range 4 {
		g.fit(pic, near)
		near = near[:0]
		for i := 0; i < len(calm); i += step {
			if k := int(calm[i]); g.isNear(pic, k%w, k/w) {
				near = append(near, calm[i])
			}
		}
	}
	g.fit(pic, near)
	return g, true
}

// light is the brightness of a pixel.
func light(p []byte) byte { return byte((int(p[0])*2 + int(p[1])*5 + int(p[2])) / 8) }

// isCalm reports whether a pixel looks like those around it.
func isCalm(pic *image.RGBA, x, y int) bool {
	lo, hi := byte(255), byte(0)
	for j := max(y-1, 0); j <= min(y+1, pic.Rect.Dy()-1); j++ {
		for i := max(x-1, 0); i <= min(x+1, pic.Rect.Dx()-1); i++ {
			l := light(pic.Pix[j*pic.Stride+4*i:])
			lo, hi = min(lo, l), max(hi, l)
		}
	}
	return hi-lo <= glassCalm
}

// lightestMode returns the lightest value around which a histogram has at
// least a third of what it has anywhere.
func lightestMode(n []int) int {
	around := func(v int) (sum int) {
		for i := max(v-2, 0); i <= min(v+2, len(n)-1); i++ {
			sum += n[i]
		}
		return sum
	}
	most := 0
	for v := range n {
		most = max(most, around(v))
	}
	for v := len(n) - 1; v > 0; v-- {
		if a := around(v); 3*a >= most && a >= around(v-1) {
			return v
		}
	}
	return 0
}

// isNear reports whether a pixel looks like the glass that was fitted.
func (g *glass) isNear(pic *image.RGBA, x, y int) bool {
	d, p := g.at(x, y), pic.Pix[y*pic.Stride+4*x:]
	for c := range d {
		if want := 256*math.Pow(10, -d[c]) - 1; math.Abs(float64(p[c])-want) > glassNear {
			return false
		}
	}
	return true
}

// fit fits the surface to pixels. What they do not surround is not
// extrapolated: pixels in few parts of the picture give a plane or one light.
func (g *glass) fit(pic *image.RGBA, pixels []int32) {
	if len(pixels) < 16 {
		return
	}
	var parts [16]int
	for _, i := range pixels {
		x, y := int(i)%g.w, int(i)/g.w
		parts[4*(4*y/g.h)+4*x/g.w]++
	}
	held := 0
	for _, n := range parts {
		if n >= max(len(pixels)/400, 8) {
			held++
		}
	}
	n := 1
	switch {
	case held >= 10:
		n = 6
	case held >= 6:
		n = 3
	}
	a, b := mat.NewSymDense(n, nil), mat.NewDense(n, 3, nil)
	row := make([]float64, n)
	for _, i := range pixels {
		x, y := int(i)%g.w, int(i)/g.w
		u, v := g.place(x, y)
		for k := range row {
			row[k] = term(k, u, v)
		}
		p := pic.Pix[y*pic.Stride+4*x:]
		for k := range row {
			for l := k; l < n; l++ {
				a.SetSym(k, l, a.At(k, l)+row[k]*row[l])
			}
			for c := range 3 {
				b.Set(k, c, b.At(k, c)+row[k]*float64(density[p[c]]))
			}
		}
	}
	for k := range n {
		a.SetSym(k, k, a.At(k, k)+1e-9)
	}
	var ch mat.Cholesky
	var t mat.Dense
	if !ch.Factorize(a) || ch.SolveTo(&t, b) != nil {
		return
	}
	for c := range g.terms {
		g.terms[c] = slices.Clone(mat.Col(nil, c, &t))
	}
}
