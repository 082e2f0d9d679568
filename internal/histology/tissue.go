// Package histology looks at stained tissue without a model: where a slide has
// tissue, and where nuclei are.
//
// Pictures are image.RGBA, premultiplied; what is transparent was not scanned
// and counts as glass. Errors carry no package's name: whoever hands them to a
// user adds its own.
//
//	m, err := histology.Tissue(thumbnail)
//	pts, err := histology.Nuclei(ctx, tile, 0.25)
package histology

import (
	"image"
	"image/color"
	"image/draw"
	"math"
	"slices"

	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/mask"
)

// Constants of Tissue, as optical density over that of the glass.
const (
	colourLeast, colourMost = 0.012, 0.03 // between channels: bounds of what is tissue
	colourNoise             = 4           // times the median of the glass
	darkLeast               = 0.06        // of tissue without colour, as silver dyes it
	darkTexture             = 0.015       // that has a texture
	textureLeast            = 0.012       // standard deviation around a pixel
	textureNoise            = 2.5         // times the median of the glass
	textureReach            = 2           // pixels to each side
	blurReach               = 2           // pixels that a dark one is smeared over
	blurShare               = 0.25        // of its darkness and colour at least, or it is its smear
	clear                   = 2.5         // times a limit: not by chance
)

// Tissue returns where a picture of a brightfield slide has tissue.
//
// Tissue is what has more colour than the glass, is clearly darker, or a little
// darker and has a texture, as fat. The glass is found first, as a surface: light
// that falls off to the sides is none of it, and thresholds follow its noise.
// Straight, even lines and bands without colour are registration marks, edges of
// slides and coverslips, and strokes of one dye are a marker's. Specks are
// dropped, small gaps closed. A picture without glass is all tissue, and an
// empty slide none.
func Tissue(pic *image.RGBA) (*mask.Mask, error) {
	w, h := pic.Rect.Dx(), pic.Rect.Dy()
	f := newField(onWhite(pic))
	in := f.tissue()
	for i, ink := range f.ink() {
		in[i] = in[i] && !ink
	}
	speck := max(w*h/20000, 4)
	in = f.certain(f.outline(in), speck)
	m, err := mask.New(mask.Size{H: h, W: w}, func(x, y int) bool { return in[y*w+x] })
	if err != nil || m.Area() == 0 {
		return m, err
	}
	if m, err = closeGaps(m, min(max(max(w, h)/300, 1), 6)); err != nil {
		return nil, err
	}
	m, _, err = m.FillHoles(4 * speck)
	return m, err
}

// onWhite returns the picture with white where nothing was scanned.
func onWhite(pic *image.RGBA) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, pic.Rect.Dx(), pic.Rect.Dy()))
	draw.Draw(out, out.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(out, out.Rect, pic, pic.Rect.Min, draw.Over)
	return out
}

// field is what Tissue looks at: optical densities over those of the glass,
// smoothed, [H, W] each.
type field struct {
	w, h    int
	glass   bool // some was found
	od      [3][]float32
	dark    []float32 // mean of the channels
	colour  []float32 // the largest less the smallest
	texture []float32 // standard deviation of dark before smoothing
	limit   struct{ colour, texture float32 }
}

func newField(pic *image.RGBA) *field {
	w, h := pic.Rect.Dx(), pic.Rect.Dy()
	f := &field{w: w, h: h}
	g, found := findGlass(pic)
	f.glass = found
	for c := range f.od {
		f.od[c] = make([]float32, w*h)
	}
	raw, square := make([]float32, w*h), make([]float32, w*h)
	near := make([]bool, w*h)
	kernel.Parallel(h, func(y int) {
		for x := range w {
			i, p, base := y*w+x, pic.Pix[y*pic.Stride+4*x:], g.at(x, y)
			if min(p[0], p[1], p[2]) >= unscanned {
				continue
			}
			for c := range f.od {
				v := density[p[c]] - float32(base[c])
				f.od[c][i] = v
				raw[i] += v / 3
			}
			square[i] = raw[i] * raw[i]
			near[i] = found && g.isNear(pic, x, y)
		}
	})
	mean, second := boxMean(raw, w, h, textureReach), boxMean(square, w, h, textureReach)
	sigma := min(max(float64(max(w, h))/600, 1), 2)
	for c := range f.od {
		f.od[c] = gaussian(f.od[c], w, h, sigma)
	}
	f.dark, f.colour, f.texture = make([]float32, w*h), make([]float32, w*h), second
	for i := range raw {
		r, g, b := f.od[0][i], f.od[1][i], f.od[2][i]
		f.dark[i], f.colour[i] = (r+g+b)/3, max(r, g, b)-min(r, g, b)
		f.texture[i] = float32(math.Sqrt(float64(max(second[i]-mean[i]*mean[i], 0))))
	}
	f.limit.colour = min(max(colourNoise*median(f.colour, near), colourLeast), colourMost)
	f.limit.texture = max(textureNoise*median(f.texture, near), textureLeast)
	return f
}

// median returns the median of the chosen values, 0 of none.
func median(v []float32, of []bool) float32 {
	var some []float32
	for i, ok := range of {
		if ok {
			some = append(some, v[i])
		}
	}
	if len(some) == 0 {
		return 0
	}
	slices.Sort(some)
	return some[len(some)/2]
}

// tissue returns the pixels that are not like the glass.
func (f *field) tissue() []bool {
	in := make([]bool, f.w*f.h)
	for i := range in {
		d := f.dark[i]
		in[i] = f.colour[i] > f.limit.colour && d > 0 || d > darkLeast || d > darkTexture && f.texture[i] > f.limit.texture
	}
	return in
}

// outline drops the pixels that only the blur of their neighbours makes differ
// from the glass.
func (f *field) outline(in []bool) []bool {
	out := make([]bool, len(in))
	kernel.Parallel(f.h, func(y int) {
		for x := range f.w {
			i, most := y*f.w+x, float32(0)
			if !in[i] {
				continue
			}
			for j := max(y-blurReach, 0); j <= min(y+blurReach, f.h-1); j++ {
				for k := max(x-blurReach, 0); k <= min(x+blurReach, f.w-1); k++ {
					most = max(most, f.dark[j*f.w+k]+f.colour[j*f.w+k])
				}
			}
			out[i] = f.dark[i]+f.colour[i] >= blurShare*most
		}
	})
	return out
}

// certain drops the parts that are specks, or small and nowhere clear.
func (f *field) certain(in []bool, speck int) []bool {
	out := make([]bool, len(in))
	for _, part := range parts(in, f.w, f.h) {
		strong := 0
		for _, i := range part {
			if f.colour[i] > clear*f.limit.colour || f.dark[i] > clear*darkLeast {
				strong++
			}
		}
		if len(part) < speck || len(part) < 4*speck && 20*strong < len(part) {
			continue
		}
		for _, i := range part {
			out[i] = true
		}
	}
	return out
}

// parts returns the 8-connected parts of a plane, each as the indices of its
// pixels.
func parts(in []bool, w, h int) [][]int32 {
	seen := make([]bool, len(in))
	var all [][]int32
	for start := range in {
		if !in[start] || seen[start] {
			continue
		}
		seen[start] = true
		part := []int32{int32(start)}
		for k := 0; k < len(part); k++ {
			x, y := int(part[k])%w, int(part[k])/w
			for j := max(y-1, 0); j <= min(y+1, h-1); j++ {
				for i := max(x-1, 0); i <= min(x+1, w-1); i++ {
					if n := j*w + i; in[n] && !seen[n] {
						seen[n] = true
						part = append(part, int32(n))
					}
				}
			}
		}
		all = append(all, part)
	}
	return all
}

// closeGaps fills what a square of side 2n+1 does not fit into.
func closeGaps(m *mask.Mask, n int) (*mask.Mask, error) {
	wide, err := m.Widen(n)
	if err != nil {
		return nil, err
	}
	// The rest of the picture, widened, takes back what the square fits into.
	rest, err := inverse(wide)
	if err != nil {
		return nil, err
	}
	if rest, err = rest.Widen(n); err != nil {
		return nil, err
	}
	closed, err := inverse(rest)
	if err != nil {
		return nil, err
	}
	return closed.Union(m)
}

func inverse(m *mask.Mask) (*mask.Mask, error) {
	return mask.New(m.Size(), func(x, y int) bool { return !m.At(x, y) })
}
