package histology

import (
	"context"
	"errors"
	"image"
	"math"

	"github.com/slidesam/sam/internal/kernel"
)

// Constants of the search for the size of nuclei. A blob's diameter is that of
// the disk to which a Laplacian of Gaussians answers most.
const (
	nucleusBlob   = 5.2  // micrometres: diameter of the blobs that nuclei are, see [Scale]
	nucleusSpread = 0.4  // of its logarithm, that nine of ten tissues keep
	blobContrast  = 0.06 // of the answer, in haematoxylin
	blobRound     = 6.25 // most of trace²/determinant of the Hessian: 1 to 4 of the axes
	blobSteps     = 4    // sizes in an octave
	blobSigma     = 1.6  // of the smallest, in pixels of the picture twice as large
	blobOctaves   = 6
	blobBin       = 0.25 // octaves
	blobLeast     = 60   // blobs of about one size, to be sure of it
	blobCover     = 0.02 // of the picture that they cover
	blobSmallest  = 3.4  // pixels: smaller ones are grain as well
	blobDark      = 0.16 // their answer, root of the mean of squares: glands at a coarse scale are paler
	blobShare     = 0.42 // of all blobs by weight that they are
	scaleSide     = 768  // of a picture that is looked at, at most
)

// ErrNoNuclei is returned where no pixel size can be told from nuclei.
var ErrNoNuclei = errors.New("no nuclei of one size: too few, too small to be told from grain, or none dyed with haematoxylin")

// blobs counts blobs of haematoxylin by their diameters.
type blobs struct {
	weight [(blobOctaves + 4) / blobBin]float64 // by the logarithm of the diameter, from 1 pixel
	count  [(blobOctaves + 4) / blobBin]int
	pixels int
}

// Scale tells the size of the pixels of H&E pictures of one slide, in
// micrometres, from that of the nuclei on them, and the factor by which it may
// be off to either side.
//
// Nuclei are blobs of haematoxylin, of 5.2 micrometres as measured here: their
// middles are darker than their rims. That of one tissue differs from
// another's by a third. The error wraps ErrNoNuclei if most blobs have no one
// size, or one of less than 3.4 pixels. Blobs are found as extrema over places and
// sizes: Lindeberg, Int. J. Comput. Vis. 30 (1998).
func Scale(ctx context.Context, pics []*image.RGBA) (mpp, factor float64, err error) {
	var b blobs
	for _, p := range pics {
		if err := b.look(ctx, p); err != nil {
			return 0, 0, err
		}
	}
	d, ok := b.diameter()
	if !ok {
		return 0, 0, ErrNoNuclei
	}
	return nucleusBlob / d, math.Exp(nucleusSpread), nil
}

// look adds the blobs of a picture, or of its middle if it is large.
func (b *blobs) look(ctx context.Context, pic *image.RGBA) error {
	w, h := min(pic.Rect.Dx(), scaleSide), min(pic.Rect.Dy(), scaleSide)
	if w < 64 || h < 64 {
		return nil
	}
	x0, y0 := (pic.Rect.Dx()-w)/2, (pic.Rect.Dy()-h)/2
	b.pixels += w * h
	plane := make([]float32, 4*w*h) // twice as large
	at := func(x, y int) float32 {
		p := pic.Pix[(y0+min(max(y, 0), h-1))*pic.Stride+4*(x0+min(max(x, 0), w-1)):]
		return max(haematoxylin[0]*density[p[0]]+haematoxylin[1]*density[p[1]]+haematoxylin[2]*density[p[2]], 0)
	}
	kernel.Parallel(2*h, func(y int) {
		for x := range 2 * w {
			u, v := (x-1)>>1, (y-1)>>1
			fx, fy := 0.25+0.5*float32(1-x&1), 0.25+0.5*float32(1-y&1)
			plane[y*2*w+x] = (at(u, v)*(1-fx)+at(u+1, v)*fx)*(1-fy) + (at(u, v+1)*(1-fx)+at(u+1, v+1)*fx)*fy
		}
	})
	w, h = 2*w, 2*h
	unit := 0.5 // pixels of the picture
	for range blobOctaves {
		if min(w, h) < 48 {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		b.octave(plane, w, h, unit)
		plane, w, h = half(plane, w, h)
		unit *= 2
	}
	return nil
}

// octave adds the blobs whose sizes lie in an octave.
func (b *blobs) octave(plane []float32, w, h int, unit float64) {
	step := math.Pow(2, 1.0/blobSteps)
	smooth := make([][]float32, blobSteps+3)
	for k := range smooth {
		smooth[k] = gaussian(plane, w, h, blobSigma*math.Pow(step, float64(k-1)))
	}
	answer := make([][]float32, blobSteps+2) // minus the Laplacian times the variance
	for k := range answer {
		a := make([]float32, w*h)
		for i := range a {
			a[i] = (smooth[k][i] - smooth[k+1][i]) / float32(step-1)
		}
		answer[k] = a
	}
	const rim = 6
	for k := 1; k <= blobSteps; k++ {
		sigma := blobSigma * math.Pow(step, float64(k-1)) * math.Sqrt(step) * unit
		d := 2 * math.Sqrt2 * sigma
		bin := int(math.Log2(d) / blobBin)
		if bin < 0 || bin >= len(b.weight) {
			continue
		}
		rows := make([][]float32, h)
		kernel.Parallel(h, func(y int) {
			if y < rim || y >= h-rim {
				return
			}
			for x := rim; x < w-rim; x++ {
				if v := answer[k][y*w+x]; v > blobContrast && isExtremum(answer[k-1:k+2], w, y*w+x) && isRound(smooth[k], w, y*w+x) {
					rows[y] = append(rows[y], v)
				}
			}
		})
		for _, r := range rows {
			for _, v := range r {
				b.count[bin]++
				b.weight[bin] += float64(v) * float64(v) * d * d
			}
		}
	}
}

// isExtremum reports whether the middle plane is nowhere smaller than its
// neighbours in place and size.
func isExtremum(a [][]float32, w, i int) bool {
	v := a[1][i]
	for p := range a {
		for dy := -w; dy <= w; dy += w {
			for dx := -1; dx <= 1; dx++ {
				j := i + dy + dx
				if u := a[p][j]; u > v || u == v && (p < 1 || p == 1 && j < i) {
					return false
				}
			}
		}
	}
	return true
}

// isRound reports whether a plane is a hill in both directions, and not a
// ridge.
func isRound(s []float32, w, i int) bool {
	xx, yy := s[i-1]+s[i+1]-2*s[i], s[i-w]+s[i+w]-2*s[i]
	xy := (s[i-w-1] + s[i+w+1] - s[i-w+1] - s[i+w-1]) / 4
	det, trace := xx*yy-xy*xy, xx+yy
	return det > 0 && trace*trace < blobRound*det
}

// half returns the means of 2 x 2 values.
func half(v []float32, w, h int) ([]float32, int, int) {
	out := make([]float32, (w/2)*(h/2))
	for y := range h / 2 {
		for x := range w / 2 {
			i := 2*y*w + 2*x
			out[y*(w/2)+x] = (v[i] + v[i+1] + v[i+w] + v[i+w+1]) / 4
		}
	}
	return out, w / 2, h / 2
}

// diameter returns the commonest diameter in pixels, each blob counted by the
// squares of its answer and its size, and whether it is certain.
func (b *blobs) diameter() (float64, bool) {
	smooth := func(k int) (v float64) {
		for j, f := range []float64{0.25, 0.5, 0.25} {
			if i := k + j - 1; i >= 0 && i < len(b.weight) {
				v += f * b.weight[i]
			}
		}
		return v
	}
	best := 0
	for k := range b.weight {
		if smooth(k) > smooth(best) {
			best = k
		}
	}
	l, m, r := smooth(best-1), smooth(best), smooth(best+1)
	if m == 0 {
		return 0, false
	}
	shift := 0.0
	if curve := l - 2*m + r; curve < 0 {
		shift = (l - r) / (2 * curve)
	}
	d := math.Exp2((float64(best) + 0.5 + shift) * blobBin)
	n, near, all := 0, 0.0, 0.0
	for _, w := range b.weight {
		all += w
	}
	for k := max(best-2, 0); k <= min(best+2, len(b.count)-1); k++ {
		n, near = n+b.count[k], near+b.weight[k]
	}
	return d, d >= blobSmallest && n >= blobLeast && float64(n)*math.Pi/4*d*d >= blobCover*float64(b.pixels) &&
		math.Sqrt(near/float64(n))/d >= blobDark && near >= blobShare*all
}
