package slide

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/synth"
)

// TestUnknownResolution: a picture that does not say its resolution is searched
// at one told from its nuclei, and terminal, page and summary say so; a resolution
// that is given is taken, and one that cannot be told is asked for.
func TestUnknownResolution(t *testing.T) {
	dir := t.TempDir()
	tissue, _ := synth.New(102, synth.Options{Solid: true}).Region(9000, 9000, 420, 420, 0.5)
	blank := image.NewRGBA(image.Rect(0, 0, 300, 300))
	for i := range blank.Pix {
		blank.Pix[i] = 255
	}
	write := func(name string, img image.Image) string {
		f, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, img))
		require.NoError(t, f.Close())
		return f.Name()
	}
	for _, tt := range []struct {
		name  string
		slide string
		args  []string
		says  string
		mpp   [2]float64
	}{
		{"told", write("tissue.png", tissue), nil, "it was estimated as", [2]float64{0.35, 0.65}},
		{"given", filepath.Join(dir, "tissue.png"), []string{"-slide-mpp", "0.5"}, "", [2]float64{0.5, 0.5}},
		{"not to be told", write("blank.png", blank), nil, "resolution of the slide is not known", [2]float64{}},
		{"not asked for", filepath.Join(dir, "tissue.png"), []string{"-estimate-mpp=false", "-region", "0,0,64,64"}, "resolution of the slide is not known", [2]float64{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(dir, tt.name)
			var said, log bytes.Buffer
			require.NoError(t, run(context.Background(), append([]string{"-slide", tt.slide, "-out", out}, tt.args...), noEnv, &said, &log))
			page, err := os.ReadFile(filepath.Join(out, pageFile))
			require.NoError(t, err)
			b, err := os.ReadFile(filepath.Join(out, sam.SummaryFile))
			require.NoError(t, err)
			var summary struct {
				MPP  float64 `json:"mpp"`
				Note string  `json:"mpp_note"`
			}
			require.NoError(t, json.Unmarshal(b, &summary))
			assert.GreaterOrEqual(t, summary.MPP, tt.mpp[0])
			assert.LessOrEqual(t, summary.MPP, tt.mpp[1])
			if tt.says == "" {
				assert.NotContains(t, said.String(), "-slide-mpp")
				assert.Empty(t, summary.Note)
				return
			}
			assert.Contains(t, said.String(), tt.says)
			assert.Contains(t, string(page), tt.says)
			assert.Contains(t, said.String(), "-slide-mpp")
			if tt.mpp[0] > 0 {
				assert.Contains(t, log.String(), "resolution estimated")
				assert.Contains(t, summary.Note, tt.says)
			}
		})
	}
}
