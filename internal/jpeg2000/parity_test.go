package jpeg2000_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/jpeg2000"
)

// refCase is what testdata/reference.py writes of a codestream.
type refCase struct {
	Name       string
	Params     json.RawMessage
	W, H, Bits int
	Signed     bool
	Lossy      bool
	Planes     []refPlane
}

type refPlane struct {
	Reduce, Comp, W, H int
	Exact              bool // the wavelet is reversible
	Raw, SHA256        string
	Every7             []int32
}

func readCases(t *testing.T, dir string) []refCase {
	b, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	require.NoError(t, err)
	var cases []refCase
	require.NoError(t, json.Unmarshal(b, &cases))
	require.NotEmpty(t, cases)
	return cases
}

// TestSmall decodes the committed codestreams: of all code block styles,
// progressions, layers, precincts, tiles, origins, subsamplings, sizes of samples.
func TestSmall(t *testing.T) {
	dir := filepath.Join("testdata", "small")
	for _, c := range readCases(t, dir) {
		t.Run(c.Name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, c.Name+".j2k"))
			require.NoError(t, err)
			h, err := jpeg2000.ReadHeader(b)
			require.NoError(t, err)
			assert.Equal(t, [2]int{c.W, c.H}, [2]int{h.W, h.H})
			for _, p := range c.Planes {
				pic, err := jpeg2000.Decode(b, jpeg2000.Options{Reduce: p.Reduce})
				require.NoError(t, err, "%s", c.Params)
				g := pic.Planes[p.Comp]
				require.Equal(t, [4]int{p.W, p.H, c.Bits}, [4]int{g.W, g.H, g.Bits})
				assert.Equal(t, c.Signed, g.Signed)
				if p.Exact {
					assert.Equal(t, p.SHA256, digest(g.Pix), "reduced %d, component %d: %s", p.Reduce, p.Comp, c.Params)
					continue
				}
				require.NotEmpty(t, p.Every7)
				for i, v := range p.Every7 {
					require.InDelta(t, v, g.Pix[7*i], tolerance(c.Bits), "reduced %d, component %d, sample %d: %s", p.Reduce, p.Comp, 7*i, c.Params)
				}
			}
		})
	}
}

func digest(x []int32) string {
	var b []byte
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// tolerance is for the irreversible wavelet: both round to whole numbers, and
// OpenJPEG's scale of high frequencies is 3.3e-5 less than T.800's, which many
// bits show.
func tolerance(bits int) float64 { return 1 + math.Ldexp(1, bits-13) }

// TestParity compares with OpenJPEG over random parameters. Run
//
//	testdata/reference.py OUT 300
//	SAM_J2KREF=OUT go test -run TestParity ./internal/jpeg2000
func TestParity(t *testing.T) {
	dir := os.Getenv("SAM_J2KREF")
	if dir == "" {
		t.Skip("SAM_J2KREF is not set: no output of testdata/reference.py to compare with")
	}
	worst, n, differ, planes := 0, 0, 0, 0
	for _, c := range readCases(t, dir) {
		if c.Lossy { // OpenJPEG's encoder failed: its decoder does not get the picture back
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, c.Name+".j2k"))
		require.NoError(t, err)
		got := map[int]*jpeg2000.Picture{}
		for _, p := range c.Planes {
			pic := got[p.Reduce]
			if pic == nil {
				pic, err = jpeg2000.Decode(b, jpeg2000.Options{Reduce: p.Reduce})
				if !assert.NoError(t, err, "%s %s", c.Name, c.Params) {
					break
				}
				got[p.Reduce] = pic
			}
			g := pic.Planes[p.Comp]
			if !assert.Equal(t, [2]int{p.W, p.H}, [2]int{g.W, g.H}, "%s reduced %d", c.Name, p.Reduce) {
				continue
			}
			raw, err := os.ReadFile(filepath.Join(dir, p.Raw))
			require.NoError(t, err)
			tol := 0 // of the reversible wavelet nothing may differ
			if !p.Exact {
				tol = int(tolerance(c.Bits))
			}
			planes++
			top := 0
			for i, v := range g.Pix {
				d := int(v) - int(int32(binary.LittleEndian.Uint32(raw[4*i:])))
				top = max(top, d, -d)
				if !p.Exact {
					n++
					differ += min(max(d, -d), 1)
				}
			}
			assert.LessOrEqual(t, top, tol, "%s reduced %d component %d %d x %d: %s", c.Name, p.Reduce, p.Comp, p.W, p.H, c.Params)
			worst = max(worst, top)
		}
	}
	t.Logf("%d planes, worst %d, of the irreversible wavelet %.4f%% of samples differ", planes, worst, 100*float64(differ)/float64(n))
}
