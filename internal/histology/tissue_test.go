package histology_test

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/mask"
)

// situations are what lies on the glass besides a section.
var situations = []struct {
	name   string
	beside bool // tissue too
	add    func(t *thumbnail)
}{
	{"section", false, func(*thumbnail) {}},
	{"loose fragments", true, (*thumbnail).loose},
	{"pale fat", true, (*thumbnail).fat},
	{"crosses and edges", false, func(t *thumbnail) { t.edges(); t.crosses() }},
	{"coverslip and uneven light", false, func(t *thumbnail) { t.coverslip(); t.tilt = 0.12 }},
	{"pen", false, func(t *thumbnail) { t.pen(od{0.85, 0.15, 0.65}) }},
	{"black pen", false, func(t *thumbnail) { t.pen(od{0.9, 0.9, 0.85}) }},
	{"all", true, func(t *thumbnail) {
		t.loose()
		t.fat()
		t.coverslip()
		t.edges()
		t.crosses()
		t.tilt = 0.12
	}},
}

// TestTissueOfStains holds the tissue of made thumbnails, which have their
// truth, of five stains and of what lies on slides besides tissue. The drawings
// go to the folder that SAM_PICTURES names.
func TestTissueOfStains(t *testing.T) {
	for _, s := range stains {
		t.Run(s.name, func(t *testing.T) {
			sum := 0.0
			for k, sit := range situations {
				c := newThumbnail(s, uint64(11+k%3))
				sit.add(c)
				pic := c.picture(t)
				m, err := histology.Tissue(pic)
				require.NoError(t, err)
				d := c.dice(m)
				t.Logf("%-28s Dice %.3f, found %.2f of what lies beside the section, took %.2f of what is no tissue",
					sit.name, d, share(m, &c.extra), share(m, &c.inked))
				assert.Greater(t, d, 0.88, sit.name)
				if sit.beside {
					assert.Greater(t, share(m, &c.extra), 0.9, "%s: fragments and fat", sit.name)
				}
				assert.Less(t, share(m, &c.inked), 0.12, "%s: marks and edges", sit.name)
				sum += d
				if dir := os.Getenv("SAM_PICTURES"); dir != "" {
					saveOutline(t, filepath.Join(dir, fmt.Sprintf("tissue %s %s.png", s.name, sit.name)), pic, m)
				}
			}
			mean := sum / float64(len(situations))
			t.Logf("mean Dice %.3f", mean)
			assert.GreaterOrEqual(t, mean, 0.94)
		})
	}
}

// dice compares a mask with the truth.
func (t *thumbnail) dice(m *mask.Mask) float64 {
	both, sum := 0, 0
	for i, in := range t.tissue {
		got := m.At(i%caseSide, i/caseSide)
		if in {
			sum++
		}
		if got {
			sum++
		}
		if in && got {
			both++
		}
	}
	return 2 * float64(both) / float64(sum)
}

// share is how much of a set a mask has.
func share(m *mask.Mask, of *[caseSide * caseSide]bool) float64 {
	got, all := 0, 0
	for i, in := range of {
		if in {
			all++
			if m.At(i%caseSide, i/caseSide) {
				got++
			}
		}
	}
	return float64(got) / float64(max(all, 1))
}

// saveOutline writes the picture with the outline of the mask.
func saveOutline(t *testing.T, path string, pic *image.RGBA, m *mask.Mask) {
	out := image.NewRGBA(pic.Rect)
	draw.Draw(out, out.Rect, pic, image.Point{}, draw.Src)
	for y := range m.Size().H {
		for x := range m.Size().W {
			if m.At(x, y) && !(m.At(x-1, y) && m.At(x+1, y) && m.At(x, y-1) && m.At(x, y+1)) {
				out.SetRGBA(x, y, color.RGBA{G: 160, A: 255})
			}
		}
	}
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, out))
	require.NoError(t, f.Close())
}
