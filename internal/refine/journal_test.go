package refine

import (
	"fmt"
	"image"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/paulmach/orb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/wsi"
)

// TestWindows puts objects of all sizes at all places into windows: each lies
// in its own, whole, with room around it, but where the slide ends.
func TestWindows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []image.Point{{3000, 2000}, {1000, 5000}, {300, 200}, {700, 100}} {
		p := &plan{o: Options{Window: 512}, slide: wsi.FromImage(image.NewRGBA(image.Rectangle{Max: size}), 0.5, 0.4), mpp: 0.25, own: 0.45}
		for range 3000 {
			w, h := r.Float64()*r.Float64()*float64(size.X), r.Float64()*r.Float64()*float64(size.Y)
			x, y := r.Float64()*(float64(size.X)-w), r.Float64()*(float64(size.Y)-h)
			k := p.key(orb.Bound{Min: orb.Point{x, y}, Max: orb.Point{x + w, y + h}})
			at := p.rectangle(k)
			fx, fy := p.scale(k.level)
			room := func(lo, hi float64, from, to, end int) {
				if from > 0 {
					assert.GreaterOrEqual(t, lo, float64(from)+10)
				}
				if to < end {
					assert.LessOrEqual(t, hi, float64(to)-10)
				}
			}
			z := p.sizeAt(k.level)
			room(x/fx, (x+w)/fx, at.Min.X, at.Max.X, z.X)
			room(y/fy, (y+h)/fy, at.Min.Y, at.Max.Y, z.Y)
			require.True(t, at.In(image.Rectangle{Max: z}))
			require.False(t, at.Empty())
		}
	}
}

// FuzzJournal opens altered journals.
func FuzzJournal(f *testing.F) {
	const head = "slidesam refine x\n"
	body := "[]\n" + `{"object":1,"iou":0.5,"stability":1,"coarse":-1,"outline":[[[[1,2],[3,4]]]]}` + "\n"
	f.Add(fmt.Sprintf("page 0 %d %s\n%s", len(body), sumOf([]byte(body)), body))
	f.Add("page 0 99999999 x\n")
	f.Add("page -1 3 x\n[]\n")
	path := filepath.Join(f.TempDir(), "j")
	f.Fuzz(func(t *testing.T, rest string) {
		for _, text := range []string{head + rest, head + fmt.Sprintf("page 1 %d %s\n%s", len(rest), sumOf([]byte(rest)), rest)} {
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			j, err := openJournal(path, "x", 2, 3)
			require.NoError(t, err)
			for i, at := range j.at {
				if at > 0 {
					_, err := j.get(i)
					require.NoError(t, err)
				}
			}
			require.LessOrEqual(t, j.size, int64(len(text)))
			require.NoError(t, j.f.Close())
		}
	})
}
