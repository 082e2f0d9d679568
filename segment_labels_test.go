package sam_test

import (
	"compress/zlib"
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/tiff"
)

// readLabels returns the number of pixels of each label in the finest level
// of a file of labels.
func readLabels(t *testing.T, path string) map[uint32]int {
	f, err := tiff.Open(path)
	require.NoError(t, err)
	defer f.Close()
	raw, err := os.Open(path)
	require.NoError(t, err)
	defer raw.Close()
	d := f.Dirs()[0]
	offs, err := d.Uints(tiff.TileOffsets)
	require.NoError(t, err)
	sizes, err := d.Uints(tiff.TileByteCounts)
	require.NoError(t, err)
	out := map[uint32]int{}
	for i, at := range offs {
		z, err := zlib.NewReader(io.NewSectionReader(raw, int64(at), int64(sizes[i])))
		require.NoError(t, err)
		b, err := io.ReadAll(z)
		require.NoError(t, err)
		for ; len(b) > 0; b = b[4:] {
			out[binary.LittleEndian.Uint32(b)]++
		}
	}
	delete(out, 0)
	return out
}

// TestLabels counts each object's pixels in the labels of its scale. Objects
// of truth do not overlap.
func TestLabels(t *testing.T) {
	s, err := sam.NewSlide(truthPyramid{}, 0.5)
	require.NoError(t, err)
	for name, scales := range map[string][]sam.SegmentScale{"one": fineAndCoarse().Scales[:1], "several": fineAndCoarse().Scales} {
		t.Run(name, func(t *testing.T) {
			o, dir := fineAndCoarse(), t.TempDir()
			o.Scales = scales
			res, err := segmentWith(context.Background(), s, dir, o, findColours)
			require.NoError(t, err)
			want := map[float64]map[uint32]int{}
			for i, r := range readObjects(t, dir) {
				if want[r.MPP] == nil {
					want[r.MPP] = map[uint32]int{}
				}
				want[r.MPP][uint32(i+1)] = int(r.Area * 0.25 / (r.MPP * r.MPP))
			}
			for _, sc := range res.Scales {
				have, wrong := readLabels(t, filepath.Join(dir, sc.Labels)), 0
				for n, area := range want[sc.MPP] {
					if have[n] != area {
						wrong++
					}
				}
				require.Len(t, have, sc.Objects, sc.Labels)
				require.NotZero(t, sc.Objects)
				require.Zero(t, wrong, "objects of another area in %s", sc.Labels)
			}
		})
	}
}
