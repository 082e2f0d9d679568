package synth

import (
	"image"
	"math"
)

// canvas holds a region while it is drawn: amounts of stain per pixel, [H, W],
// with a halo of pad pixels around the region for the blur.
type canvas struct {
	w, h, pad int
	x0, y0    int // slide pixel of the canvas's first pixel, at mpp
	mpp       float64
	hem, eos  []float32    // stain amounts
	ink       [3][]float32 // other absorbers: optical density R G B; nil: none
	nuclei    []int32
	gland     []int32
	tumour    []bool
	tissue    []bool
}

func (c *canvas) addInk(i int, od [3]float64) {
	if c.ink[0] == nil {
		for k := range c.ink {
			c.ink[k] = make([]float32, c.w*c.h)
		}
	}
	for k := range c.ink {
		c.ink[k][i] += float32(od[k])
	}
}

// develop turns stain into a picture: Beer-Lambert, light, blur, noise.
func (s *Slide) develop(c *canvas) *image.RGBA {
	st := &s.st
	w, h := c.w-2*c.pad, c.h-2*c.pad
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	sigma := st.blur / c.mpp
	sigma = math.Sqrt(sigma*sigma + 0.3*0.3) // the sensor's pixels
	kern := gauss(sigma, c.pad)
	ca, sa := math.Cos(st.tiltAng), math.Sin(st.tiltAng)
	// Grain of the section itself: it thins and thickens all stain alike.
	grit := make([]float32, c.w*c.h)
	parallel(c.h, func(y int) {
		for x := range c.w {
			i := y*c.w + x
			if c.tissue[i] {
				f := fbm(s.noiseSeed(38), (float64(c.x0+x)+0.5)*c.mpp, (float64(c.y0+y)+0.5)*c.mpp, 1.5, 2, c.mpp)
				grit[i] = float32(0.75 * st.grain * (f - 0.5))
			}
		}
	})
	plane := make([]float32, c.w*c.h)
	tmp := make([]float32, c.w*c.h)
	for k := range 3 {
		hv, ev := st.hVec[k]*st.hGain, st.eVec[k]*st.eGain
		parallel(c.h, func(y int) {
			for x := range c.w {
				i := y*c.w + x
				od := (hv*float64(c.hem[i]) + ev*float64(c.eos[i])) * (1 + float64(grit[i]))
				if c.ink[k] != nil {
					od += float64(c.ink[k][i])
				}
				plane[i] = float32(math.Exp(-od * math.Ln10))
			}
		})
		blurRows(tmp, plane, c.w, c.h, kern)
		blurCols(plane, tmp, c.w, c.h, kern)
		noiseSeed := s.noiseSeed(40 + uint32(k))
		parallel(h, func(y int) {
			for x := range w {
				px, py := c.x0+c.pad+x, c.y0+c.pad+y
				// The light swings by the tilt across fields of 1 mm.
				fx, fy := float64(px)*c.mpp/1000, float64(py)*c.mpp/1000
				light := st.light[k] * (1 + 0.5*st.tilt*math.Sin(2*math.Pi*(fx*ca+fy*sa)))
				hsh := hash2(noiseSeed, int32(px), int32(py))
				g := float64(hsh&0xFFFF) + float64(hsh>>16) - 65535
				v := 255*light*float64(plane[(y+c.pad)*c.w+x+c.pad]) + g/65536*2.4*st.noise
				img.Pix[y*img.Stride+4*x+k] = uint8(max(0, min(255, v+0.5)))
			}
		})
	}
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 255
	}
	return img
}

// gauss returns half a normalised kernel of at most pad+1 weights.
func gauss(sigma float64, pad int) []float32 {
	n := min(pad, int(3*sigma+1))
	k := make([]float32, n+1)
	sum := 0.0
	for i := range k {
		v := math.Exp(-0.5 * float64(i*i) / (sigma * sigma))
		k[i] = float32(v)
		if sum += v; i > 0 {
			sum += v
		}
	}
	for i := range k {
		k[i] /= float32(sum)
	}
	return k
}

func blurRows(dst, src []float32, w, h int, k []float32) {
	parallel(h, func(y int) {
		row, out := src[y*w:(y+1)*w], dst[y*w:(y+1)*w]
		for x := range out {
			v := k[0] * row[x]
			for i := 1; i < len(k); i++ {
				v += k[i] * (row[max(0, x-i)] + row[min(w-1, x+i)])
			}
			out[x] = v
		}
	})
}

func blurCols(dst, src []float32, w, h int, k []float32) {
	parallel(h, func(y int) {
		out := dst[y*w : (y+1)*w]
		for x := range out {
			out[x] = k[0] * src[y*w+x]
		}
		for i := 1; i < len(k); i++ {
			a, b := src[max(0, y-i)*w:], src[min(h-1, y+i)*w:]
			for x := range out {
				out[x] += k[i] * (a[x] + b[x])
			}
		}
	})
}
