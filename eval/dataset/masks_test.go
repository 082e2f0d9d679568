package dataset_test

import (
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/eval/dataset"
	"github.com/slidesam/sam/internal/picfile"
)

// Masks of every compression and photometric tag are the same mask, issue 24:
// faxes with BlackIsZero were read inside out.
func TestFaxMasks(t *testing.T) {
	want := 0
	for _, name := range []string{"packbits_0", "packbits_1", "group3_0", "group3_1", "group4_0", "group4_1"} {
		b, err := os.ReadFile(filepath.Join("../../internal/picfile/testdata", name+".tif"))
		require.NoError(t, err)
		dir := tree(t, map[string]any{"images/a.png": rgb(45, 34), "masks/a.tif": string(b)})
		s, err := dataset.Pairs("x", filepath.Join(dir, "images"), filepath.Join(dir, "masks"), dataset.MaskBinary, 0)
		require.NoError(t, err)
		p, err := s.Load(t.Context(), 0)
		require.NoError(t, err)
		n := 0
		for _, v := range p.Truth.Pix {
			if v != 0 {
				n++
			}
		}
		ref, _, err := picfile.Open(filepath.Join("../../internal/picfile/testdata", name+".tif.png"), picfile.Options{})
		require.NoError(t, err)
		want = 0
		for _, v := range ref.(*image.Gray).Pix {
			if v != 0 {
				want++
			}
		}
		assert.Equal(t, want, n, name)
	}
	assert.Positive(t, want)
}
