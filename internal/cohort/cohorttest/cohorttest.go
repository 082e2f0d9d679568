// Package cohorttest is what tests of programs that do cohorts share.
//
//	want := cohorttest.Sums(t, plain, "times", cohort.TimesFile)
package cohorttest

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/maskdec"
	"github.com/slidesam/sam/promptenc"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/weights"
)

// TinyModel writes a checkpoint of a hundred thousand random weights and returns
// its path: what it finds means nothing, and takes no time.
func TinyModel(t *testing.T) string {
	t.Helper()
	p := struct {
		Encoder *vit.Params       `weight:"image_encoder"`
		Prompt  *promptenc.Params `weight:"prompt_encoder"`
		Decoder *maskdec.Params   `weight:"mask_decoder"`
	}{
		vit.NewParams(vit.Config{ImageSize: 128, Patch: 8, Width: 32, Depth: 3, Heads: 2, HeadDim: 16, MLP: 64, Window: 7, Global: []int{1}, Out: 32}),
		promptenc.NewParams(promptenc.Config{ImageSize: 128, Grid: 16, Channels: 32, MaskChannels: 16}),
		maskdec.NewParams(maskdec.Config{
			Grid: 16, Channels: 32, Depth: 2, Heads: 8, SelfDim: 32, CrossDim: 16, MLP: 64, MaskTokens: 4,
			IoUHidden: 32, IoUDepth: 3, Up1: 8, Up2: 4, HyperHidden: 32, HyperDepth: 3,
		}),
	}
	path := filepath.Join(t.TempDir(), "tiny.safetensors")
	require.NoError(t, weights.Random(weights.Specs(&p), 3).Save(t.Context(), path, weights.ConvertOptions{}))
	return path
}

// Sums returns the hashes of the files below dir, by their paths from there with
// slashes, but for files and folders with one of the names to skip.
func Sums(t *testing.T, dir string, skip ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains(skip, d.Name()) && d.IsDir():
			return fs.SkipDir
		case slices.Contains(skip, d.Name()) || d.IsDir():
			return nil
		}
		b, err := os.ReadFile(p)
		name, _ := filepath.Rel(dir, p)
		out[filepath.ToSlash(name)] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	}))
	return out
}
