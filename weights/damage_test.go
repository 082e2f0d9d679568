package weights_test

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// allocated returns the bytes that the program has allocated so far.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// maxAlloc bounds what opening n bytes may allocate, all garbage included: a
// few fixed buffers (flate's window and tables, regular expressions) and, for
// each byte, what the worst legal input needs: a pickle's opcode that makes a
// dict.
func maxAlloc(n int) uint64 { return 4<<20 + 256*uint64(n) }

// readAll opens and reads everything in data. It fails the test on a panic and
// on allocations that data do not account for; errors are fine.
func readAll(t testing.TB, data []byte) (*weights.Checkpoint, error) {
	t.Helper()
	before := allocated()
	c, err := weights.OpenBytes(data)
	if got := allocated() - before; got > maxAlloc(len(data)) {
		t.Fatalf("opening %d bytes allocated %d", len(data), got)
	}
	if err != nil {
		require.ErrorIs(t, err, weights.ErrFormat)
		return nil, err
	}
	var values error
	for _, name := range c.Names() {
		tensor, err := c.Tensor(name)
		require.NoError(t, err)
		if _, err := tensor.Float32s(); err != nil {
			values = err
		}
		tensor.Release()
	}
	return c, values
}

// damaged are small files of each format.
func damaged(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	for _, name := range []string{"protocol4.pth", "storages.pth", "storages.npz", "big_endian.pth", "torchscript.pt"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		files[name] = b
	}
	z, err := zip.NewReader(bytes.NewReader(files["storages.npz"]), int64(len(files["storages.npz"])))
	require.NoError(t, err)
	arrays := map[string][]byte{}
	for _, e := range z.File[:2] {
		r, err := e.Open()
		require.NoError(t, err)
		arrays[e.Name], err = io.ReadAll(r)
		require.NoError(t, err)
	}
	files["deflated.npz"] = zipped(t, zip.Deflate, arrays)
	c := weights.FromTensors(map[string]weights.TensorData{
		"mask_decoder.iou_token.weight": data(1, 8), "mask_decoder.mask_tokens.weight": data(4, 8)})
	for _, name := range []string{"small.safetensors", "small.npz", "small.pth"} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, c.Save(t.Context(), path, weights.ConvertOptions{}))
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		files[name] = b
	}
	return files
}

// TestTruncated cuts small real files at every byte: each prefix is refused.
func TestTruncated(t *testing.T) {
	for name, data := range damaged(t) {
		t.Run(name, func(t *testing.T) {
			for n := range data {
				_, err := readAll(t, data[:n:n])
				require.Error(t, err, "%d bytes", n)
			}
		})
	}
}

// TestBitFlips flips every bit of small real files. Archives have checksums:
// there, a flip is found or changes nothing.
func TestBitFlips(t *testing.T) {
	for name, data := range damaged(t) {
		t.Run(name, func(t *testing.T) {
			want, wantErr := readAll(t, data)
			var sum [16]byte
			if wantErr == nil {
				var err error
				sum, err = want.Fingerprint()
				require.NoError(t, err)
			}
			data := slices.Clone(data)
			found := 0
			for bit := range 8 * len(data) {
				data[bit/8] ^= 1 << (bit % 8)
				c, err := readAll(t, data)
				if err != nil {
					found++
				} else if filepath.Ext(name) != ".safetensors" {
					require.NoError(t, wantErr)
					got, err := c.Fingerprint()
					require.NoError(t, err)
					require.Equal(t, sum, got, "bit %d of byte %d", bit%8, bit/8)
				}
				data[bit/8] ^= 1 << (bit % 8)
			}
			t.Logf("%d of %d flips found", found, 8*len(data))
		})
	}
}
