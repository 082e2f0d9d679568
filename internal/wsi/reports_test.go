package wsi_test

import (
	"context"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/wsi"
)

// report opens a file that was made after a public bug report. They lie in the
// folder slides of SAM_TESTREPORTS, or of reports beside that of SAM_TESTDATA.
func report(t *testing.T, name string) *wsi.Slide {
	t.Helper()
	s, err := wsi.Open(reportPath(t, name), wsi.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func reportPath(t *testing.T, name string) string {
	dir := os.Getenv("SAM_TESTREPORTS")
	if data := os.Getenv("SAM_TESTDATA"); dir == "" && data != "" {
		dir = filepath.Join(data, "..", "reports")
	}
	dir = filepath.Join(dir, "slides")
	if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
		t.Skip("set SAM_TESTREPORTS to the folder of public bug reports")
	}
	return filepath.Join(dir, name)
}

// region reads all of level 0.
func region(t *testing.T, s *wsi.Slide) *image.RGBA {
	l := s.Levels()[0]
	dst := image.NewRGBA(image.Rect(0, 0, l.W, l.H))
	require.NoError(t, s.ReadRegion(context.Background(), 0, image.Point{}, dst))
	return dst
}

// meanGap is the mean difference of two pictures' colours, and the largest.
func meanGap(t *testing.T, a image.Image, b *image.RGBA) (mean float64, most int) {
	require.Equal(t, a.Bounds().Size(), b.Bounds().Size())
	for y := range b.Rect.Dy() {
		for x := range b.Rect.Dx() {
			r, g, bl, _ := a.At(a.Bounds().Min.X+x, a.Bounds().Min.Y+y).RGBA()
			c := b.RGBAAt(x, y)
			for i, v := range []uint32{r, g, bl} {
				d := int(v>>8) - int([]uint8{c.R, c.G, c.B}[i])
				d = max(d, -d)
				mean += float64(d)
				most = max(most, d)
			}
		}
	}
	return mean / float64(3*b.Rect.Dx()*b.Rect.Dy()), most
}

func TestReportedColours(t *testing.T) {
	f, err := os.Open(reportPath(t, "bf_src.png"))
	require.NoError(t, err)
	defer f.Close()
	want, err := png.Decode(f)
	require.NoError(t, err)
	for name, bound := range map[string]float64{
		"03a_bf_j2k_33003_interleaved.ome.tiff": 0, "03b_bf_jpeg_photometric_rgb.ome.tiff": 2.6, "03d_bf_jpeg_planar.ome.tiff": 3.2,
	} {
		t.Run(name, func(t *testing.T) {
			mean, most := meanGap(t, want, region(t, report(t, name)))
			t.Logf("mean %.2f, most %d", mean, most)
			assert.LessOrEqual(t, mean, bound)
		})
	}
}

func TestReportedSlides(t *testing.T) {
	for _, tt := range []struct {
		name       string
		w, h       int
		mpp        float64
		objective  float64
		associated []string
	}{
		{"01_mpp_decimal_comma.svs", 0, 0, 0.5, 20, nil},
		{"02_ome_macro_first.ome.tif", 320, 256, 0.25, 0, []string{"macro"}},
		{"05_ome_latin1_micro.ome.tif", 0, 0, 0.25, 0, nil},
		{"05_ome_decimal_comma.ome.tif", 0, 0, 0.25, 0, nil},
		{"07_gt450_empty_descriptions.svs", 0, 0, 0, 0, []string{"label", "macro"}},
		{"10_smallest_level_first.tif", 320, 256, 0, 0, nil},
		{"12_imagej_unit_um.tif", 0, 0, 0.25, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := report(t, tt.name)
			l := s.Levels()[0]
			t.Log(s.Levels(), s.Meta().Format, s.Meta().MPPX, s.Meta().Objective, s.AssociatedNames())
			if tt.w > 0 {
				assert.Equal(t, []int{tt.w, tt.h}, []int{l.W, l.H})
			}
			if tt.mpp > 0 {
				assert.InDelta(t, tt.mpp, s.Meta().MPPX, 1e-9)
				assert.InDelta(t, tt.mpp, s.Meta().MPPY, 1e-9)
			}
			if tt.objective > 0 {
				assert.Equal(t, tt.objective, s.Meta().Objective)
			}
			assert.Subset(t, s.AssociatedNames(), tt.associated)
			region(t, s)
		})
	}
}

// TestReportedIdentity: two pictures of one size are two slides.
func TestReportedIdentity(t *testing.T) {
	a, err := report(t, "00_A.jpg").Identity(context.Background())
	require.NoError(t, err)
	b, err := report(t, "00_B.jpg").Identity(context.Background())
	require.NoError(t, err)
	assert.NotEqual(t, a, b)
}

// TestReportedGap: tiles of length 0 on level 1 are made of level 0.
func TestReportedGap(t *testing.T) {
	s := report(t, "08_zero_length_tiles_level1.svs")
	ctx := context.Background()
	r := image.Rect(200, 200, 900, 900)
	coarse := image.NewRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
	require.NoError(t, s.ReadRegion(ctx, 1, r.Min, coarse))
	fine := image.NewRGBA(image.Rect(0, 0, 2*r.Dx(), 2*r.Dy()))
	require.NoError(t, s.ReadRegion(ctx, 0, r.Min.Mul(2), fine))
	half := image.NewRGBA(coarse.Rect)
	for y := range r.Dy() {
		for x := range r.Dx() {
			for c := range 4 {
				sum := 2
				for k := range 4 {
					sum += int(fine.Pix[fine.PixOffset(2*x+k%2, 2*y+k/2)+c])
				}
				half.Pix[half.PixOffset(x, y)+c] = byte(sum / 4)
			}
		}
	}
	mean, _ := meanGap(t, half, coarse)
	assert.Less(t, mean, 6.0)
}
