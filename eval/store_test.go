package eval_test

import (
	"context"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/internal/atomicfile"
)

// A truth, a picture, a class or a scale that changed under the same name is
// measured anew, issue 24: the old scores came back.
func TestRunKnowsPicturesByContent(t *testing.T) {
	for name, change := range map[string]func(p *eval.Picture){
		"truth": func(p *eval.Picture) {
			p.Truth.Pix = append([]int32{}, p.Truth.Pix...)
			for i, v := range p.Truth.Pix {
				if v == 1 {
					p.Truth.Pix[i] = 0
				}
			}
		},
		"picture": func(p *eval.Picture) {
			b := p.Image.Bounds()
			img := image.NewRGBA(b)
			copy(img.Pix, p.Image.(*image.RGBA).Pix)
			img.Set(0, 0, color.RGBA{R: 1, A: 255})
			p.Image = img
		},
		"class": func(p *eval.Picture) { p.Class = map[int32]int{1: 2} },
		"scale": func(p *eval.Picture) { p.MPP = 0.5 },
	} {
		t.Run(name, func(t *testing.T) {
			data := discs(3)
			o := eval.Options{Settings: settings()[:2], Seed: 1, Dir: t.TempDir()}
			_, err := eval.Run(context.Background(), &seer{}, data, o)
			require.NoError(t, err)
			p := *data[1]
			change(&p)
			data[1] = &p
			var resumed []bool
			o.Progress = func(p eval.Progress) { resumed = append(resumed, p.Resumed) }
			got, err := eval.Run(context.Background(), &seer{}, data, o)
			require.NoError(t, err)
			assert.Equal(t, []bool{true, false, true, true}, resumed)
			o.Dir = ""
			want, err := eval.Run(context.Background(), &seer{}, data, o)
			require.NoError(t, err)
			assert.Equal(t, document(t, want), document(t, got))
		})
	}
}

func TestRunRefusesAlteredRecords(t *testing.T) {
	data := discs(1)
	o := eval.Options{Settings: settings()[:1], Dir: t.TempDir()}
	_, err := eval.Run(context.Background(), &seer{}, data, o)
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(o.Dir, "pictures", "0*.json"))
	require.NoError(t, err)
	b, err := os.ReadFile(files[0])
	require.NoError(t, err)
	altered := strings.Replace(string(b), `"Kept": `, `"Kept": 1`, 1)
	require.NotEqual(t, string(b), altered)
	require.NoError(t, os.WriteFile(files[0], []byte(altered), 0o600))
	_, err = eval.Run(context.Background(), &seer{}, data, o)
	require.ErrorContains(t, err, "checksum is wrong")
	// a file of before there were checksums
	require.NoError(t, os.WriteFile(files[0], []byte("[]"), 0o600))
	_, err = eval.Run(context.Background(), &seer{}, data, o)
	require.NoError(t, err)
}

// Starting a run leaves the files that another one is writing.
func TestRunLeavesOthersTemporaryFiles(t *testing.T) {
	data := discs(1)
	o := eval.Options{Settings: settings()[:1], Dir: t.TempDir()}
	require.NoError(t, os.MkdirAll(filepath.Join(o.Dir, "pictures"), 0o777))
	path := filepath.Join(o.Dir, "pictures", "00001-abc.json")
	f, err := atomicfile.Create(path)
	require.NoError(t, err)
	_, err = eval.Run(context.Background(), &seer{}, data, o)
	require.NoError(t, err)
	_, err = f.Write([]byte("mine"))
	require.NoError(t, err)
	require.NoError(t, f.Commit())
	assert.FileExists(t, path)
}
