package sam_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/cellpose"
	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/weights"
)

// BenchmarkNuclei times what examples/slidesam/benchmark/peers/nuclei.py times
// in other packages, on the files that it writes to the folder of
// SAM_BENCH_NUCLEI: MobileSAM's embedding; the maps of an instance decoder; the
// instances of given maps; Cellpose-SAM's maps.
func BenchmarkNuclei(b *testing.B) {
	dir := os.Getenv("SAM_BENCH_NUCLEI")
	if dir == "" {
		b.Skip("SAM_BENCH_NUCLEI is not set")
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	b.Run("mobile", func(b *testing.B) {
		m, err := sam.Load(file("mobile_sam.pt"))
		require.NoError(b, err)
		pic := golden.Picture(golden.Size{H: 1024, W: 1024}, 1)
		for b.Loop() {
			_, err := m.Embed(b.Context(), pic)
			require.NoError(b, err)
		}
	})
	b.Run("ais", func(b *testing.B) {
		m, err := sam.LoadInstances(file("ais.pt"))
		require.NoError(b, err)
		pic := golden.Picture(golden.Size{H: 2048, W: 2048}, 1)
		for b.Loop() {
			_, err := m.Predict(b.Context(), pic, sam.InstanceOptions{})
			require.NoError(b, err)
		}
	})
	b.Run("watershed", func(b *testing.B) {
		raw, err := os.ReadFile(file("maps.float32"))
		require.NoError(b, err)
		const n = 2048 * 2048
		require.Len(b, raw, 3*4*n)
		all := make([]float32, 3*n)
		for i := range all {
			all[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		found := 0
		for b.Loop() {
			labels, err := instance.Segment(b.Context(), instance.Maps{H: 2048, W: 2048, Foreground: all[:n], Centre: all[n : 2*n], Boundary: all[2*n:]}, instance.Defaults())
			require.NoError(b, err)
			found = 0
			for _, l := range labels {
				found = max(found, int(l))
			}
		}
		b.ReportMetric(float64(found), "objects")
	})
	b.Run("cellpose", func(b *testing.B) {
		ck, err := weights.OpenCellpose(file("cpsam"))
		require.NoError(b, err)
		defer ck.Close()
		n, err := cellpose.NewNetwork(cpu.Backend{}, ck)
		require.NoError(b, err)
		pic := resample.RGB{Size: resample.Size{H: 300, W: 280}, Pix: golden.PictureRGB(golden.Size{H: 300, W: 280}, 1)}
		for b.Loop() {
			_, err := n.Predict(b.Context(), pic, nil)
			require.NoError(b, err)
		}
	})
}
