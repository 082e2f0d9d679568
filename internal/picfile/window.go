package picfile

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"strconv"
	"strings"
)

// Window is the range of 16-bit samples that becomes 0 to 255.
type Window struct {
	Min, Max float64
	Percent  bool // Min and Max are percentiles of all samples
}

// ParseWindow reads "min,max": two samples, or two percentiles as in "1%,99%".
func ParseWindow(s string) (*Window, error) {
	lo, hi, ok := strings.Cut(s, ",")
	w := &Window{Percent: strings.HasSuffix(lo, "%")}
	if ok && w.Percent {
		lo, ok = strings.TrimSuffix(lo, "%"), strings.HasSuffix(hi, "%")
		hi = strings.TrimSuffix(hi, "%")
	}
	var errs [2]error
	w.Min, errs[0] = strconv.ParseFloat(lo, 64)
	w.Max, errs[1] = strconv.ParseFloat(hi, 64)
	if err := cmp.Or(errs[0], errs[1]); !ok || err != nil {
		return nil, fmt.Errorf("window %q: want min,max, such as 0,4095 or 1%%,99%%", s)
	}
	return w, w.check()
}

func (w *Window) check() error {
	top := 65535.0
	if w.Percent {
		top = 100
	}
	if !(w.Min >= 0 && w.Min < w.Max && w.Max <= top) {
		return fmt.Errorf("window %g,%g: want two rising numbers from 0 to %g", w.Min, w.Max, top)
	}
	return nil
}

// twelveBits is the most that a sample of 12 bits can be. In 16 bits, of which
// 8 are seen, such a picture is black.
const twelveBits = 1<<12 - 1

// apply brings a picture of 16 bits to 8 through the window. Without one it
// refuses pictures that would be black, and says so of dark ones.
func (w *Window) apply(img image.Image) (image.Image, string, error) {
	at, channels := samples(img)
	if at == nil {
		if w != nil {
			return nil, "", errors.New("a window is for pictures of 16 bits, and this has 8")
		}
		return img, "", nil
	}
	b := img.Bounds()
	var count [1 << 16]int
	top := 0
	for y := range b.Dy() {
		for x := range b.Dx() {
			for c := range channels {
				v := int(at(x, y, c))
				count[v]++
				top = max(top, v)
			}
		}
	}
	if w == nil {
		switch {
		case top > 0 && top <= twelveBits:
			return nil, "", fmt.Errorf("%w: samples of 16 bits that reach only %d, of 65535: it would be black. Give the range that holds the picture, as -window 0,%d, or percentiles, as -window 1%%,99%%", ErrFormat, top, widen(top))
		case top > 0 && top < 1<<14:
			return img, fmt.Sprintf("samples of 16 bits reach only %d, of 65535: the picture is dark; -window 0,%d brightens it", top, widen(top)), nil
		}
		return img, "", nil
	}
	if err := w.check(); err != nil {
		return nil, "", err
	}
	lo, hi := w.Min, w.Max
	if w.Percent {
		total := float64(b.Dx()) * float64(b.Dy()) * float64(channels)
		lo, hi = percentile(count[:], total*w.Min/100), percentile(count[:], total*w.Max/100)
		hi = max(hi, lo+1)
	}
	out := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		for x := range b.Dx() {
			var v [3]uint8
			for c := range v {
				s := (float64(at(x, y, min(c, channels-1))) - lo) / (hi - lo)
				v[c] = uint8(math.Round(255 * min(max(s, 0), 1)))
			}
			out.SetRGBA(x, y, color.RGBA{v[0], v[1], v[2], 255})
		}
	}
	return out, fmt.Sprintf("samples from %g to %g became 0 to 255", lo, hi), nil
}

// widen returns the largest number of as many bits.
func widen(top int) int {
	n := 255
	for n < top {
		n = 2*n + 1
	}
	return n
}

// percentile returns the sample that n samples do not exceed.
func percentile(count []int, n float64) float64 {
	seen := 0
	for v, k := range count {
		if seen += k; k > 0 && float64(seen) >= n {
			return float64(v)
		}
	}
	return float64(len(count) - 1)
}

// samples returns how the samples of a picture of 16 bits are read, nil for
// others. Alpha is left out.
func samples(img image.Image) (at func(x, y, c int) uint16, channels int) {
	wide := func(pix []byte, stride, size int) func(x, y, c int) uint16 {
		return func(x, y, c int) uint16 {
			i := y*stride + x*size + 2*c
			return uint16(pix[i])<<8 | uint16(pix[i+1])
		}
	}
	switch m := img.(type) {
	case *image.Gray16:
		return wide(m.Pix, m.Stride, 2), 1
	case *image.NRGBA64:
		return wide(m.Pix, m.Stride, 8), 3
	case *image.RGBA64:
		return wide(m.Pix, m.Stride, 8), 3
	}
	return nil, 0
}
