package eval

import (
	"errors"
	"fmt"
	"math"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval/internal/region"
)

// ErrSize is wrapped by every error about two pictures of unlike size, or a
// picture whose pixels do not fill its height and width.
var ErrSize = errors.New("sizes differ")

// ErrLabel is wrapped by every error about a negative instance number.
var ErrLabel = errors.New("negative label")

// Mask is a binary picture, [H, W] row-major.
type Mask struct {
	H, W int
	Pix  []bool
}

// Labels is a picture of instances, [H, W] row-major. Zero is background and
// every other value is one instance; values need not follow one another.
type Labels struct {
	H, W int
	Pix  []int32
}

// Spacing is the size of a pixel, in micrometres for instance. The zero value
// means one by one, so that lengths are in pixels.
type Spacing struct{ X, Y float64 }

// MPP returns the spacing of square pixels of mpp micrometres.
func MPP(mpp float64) Spacing { return Spacing{X: mpp, Y: mpp} }

func (s Spacing) orPixels() Spacing {
	if s == (Spacing{}) {
		return Spacing{X: 1, Y: 1}
	}
	return s
}

func (s Spacing) check() error {
	if !(s.X > 0 && s.Y > 0) || math.IsInf(s.X, 0) || math.IsInf(s.Y, 0) {
		return fmt.Errorf("spacing %g x %g, want two positive lengths", s.X, s.Y)
	}
	return nil
}

// NewMask returns an empty mask of the given size.
func NewMask(s sam.Size) Mask { return Mask{H: s.H, W: s.W, Pix: make([]bool, s.H*s.W)} }

// NewLabels returns a picture without instances of the given size.
func NewLabels(s sam.Size) Labels { return Labels{H: s.H, W: s.W, Pix: make([]int32, s.H*s.W)} }

// At says whether the pixel x, y is set. Pixels outside are not.
func (m Mask) At(x, y int) bool {
	return x >= 0 && y >= 0 && x < m.W && y < m.H && m.Pix[y*m.W+x]
}

// Area returns the number of set pixels.
func (m Mask) Area() int {
	n := 0
	for _, v := range m.Pix {
		if v {
			n++
		}
	}
	return n
}

// Labels returns the mask as one instance with number 1.
func (m Mask) Labels() Labels {
	l := NewLabels(sam.Size{H: m.H, W: m.W})
	for i, v := range m.Pix {
		if v {
			l.Pix[i] = 1
		}
	}
	return l
}

// Mask returns the pixels that belong to any instance.
func (l Labels) Mask() Mask {
	m := NewMask(sam.Size{H: l.H, W: l.W})
	for i, v := range l.Pix {
		m.Pix[i] = v != 0
	}
	return m
}

// Only returns the pixels of one instance.
func (l Labels) Only(id int32) Mask {
	m := NewMask(sam.Size{H: l.H, W: l.W})
	for i, v := range l.Pix {
		m.Pix[i] = v == id
	}
	return m
}

// Check returns an error that wraps ErrSize or ErrLabel if the picture is not
// well formed.
func (l Labels) Check() error {
	if err := checkArea(l.H, l.W, len(l.Pix)); err != nil {
		return fmt.Errorf("eval: check labels: %w", err)
	}
	for i, v := range l.Pix {
		if v < 0 {
			return fmt.Errorf("eval: check labels: %w: %d at x %d, y %d", ErrLabel, v, i%l.W, i/l.W)
		}
	}
	return nil
}

// Check returns an error that wraps ErrSize if the picture is not well formed.
func (m Mask) Check() error {
	if err := checkArea(m.H, m.W, len(m.Pix)); err != nil {
		return fmt.Errorf("eval: check mask: %w", err)
	}
	return nil
}

func checkArea(h, w, n int) error {
	if h < 0 || w < 0 || h > math.MaxInt32 || w > math.MaxInt32 || h*w != n {
		return fmt.Errorf("%w: %d pixels for [%d, %d]", ErrSize, n, h, w)
	}
	return nil
}

func checkMasks(a, b Mask) error {
	if err := checkArea(a.H, a.W, len(a.Pix)); err != nil {
		return fmt.Errorf("truth: %w", err)
	}
	if err := checkArea(b.H, b.W, len(b.Pix)); err != nil {
		return fmt.Errorf("prediction: %w", err)
	}
	if a.H != b.H || a.W != b.W {
		return fmt.Errorf("%w: truth [%d, %d], prediction [%d, %d]", ErrSize, a.H, a.W, b.H, b.W)
	}
	return nil
}

func checkLabels(a, b Labels) error {
	if err := checkArea(a.H, a.W, len(a.Pix)); err != nil {
		return fmt.Errorf("truth: %w", err)
	}
	if err := checkArea(b.H, b.W, len(b.Pix)); err != nil {
		return fmt.Errorf("prediction: %w", err)
	}
	if a.H != b.H || a.W != b.W {
		return fmt.Errorf("%w: truth [%d, %d], prediction [%d, %d]", ErrSize, a.H, a.W, b.H, b.W)
	}
	return nil
}

// Parts numbers the connected parts of a mask (8 neighbours) from 1 in reading
// order: instances for a truth that has none.
func Parts(m Mask) Labels {
	pix, _ := region.Components(m.Pix, m.H, m.W, true)
	return Labels{H: m.H, W: m.W, Pix: pix}
}
