package weights_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each fuzzer opens what it makes and reads all of it: errors are fine, panics
// and allocations that the file's size does not account for are not.

func FuzzOpen(f *testing.F) {
	for _, data := range damaged(f) {
		f.Add(data)
	}
	for _, name := range []string{"legacy.pth", "quantized.pth", "sam2.pt"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = readAll(t, data) })
}

// FuzzOpenSafetensors puts any header before any values.
func FuzzOpenSafetensors(f *testing.F) {
	const tensor = `{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`
	f.Add(`{"mask_decoder.a":`+tensor+`}`, []byte{0, 0, 0x80, 0x3f})
	f.Add(`{"__metadata__":{"format":"pt"},"mask_decoder.a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}`, []byte{0x80, 0x3f})
	f.Add(`{"mask_decoder.a":`+tensor+`,"mask_decoder.a":`+tensor+`}`, []byte{0, 0, 0, 0})
	f.Add(`{"mask_decoder.a":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}}`, []byte{})
	f.Fuzz(func(t *testing.T, header string, values []byte) {
		b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
		b = append(append(b, header...), values...)
		_, _ = readAll(t, b)
	})
}

// FuzzOpenPickle puts any pickle into an archive with one storage.
func FuzzOpenPickle(f *testing.F) {
	for _, name := range []string{"storages.pth", "protocol4.pth", "trainer.pt", "module.pth", "quantized.pth"} {
		z, err := zip.OpenReader(filepath.Join("testdata", name))
		require.NoError(f, err)
		for _, e := range z.File {
			if filepath.Base(e.Name) != "data.pkl" {
				continue
			}
			r, err := e.Open()
			require.NoError(f, err)
			b, err := io.ReadAll(r)
			require.NoError(f, err)
			f.Add(b)
		}
		require.NoError(f, z.Close())
	}
	storage := make([]byte, 256)
	f.Fuzz(func(t *testing.T, pickle []byte) {
		_, _ = readAll(t, zipped(t, zip.Store, map[string][]byte{"x/data.pkl": pickle, "x/data/0": storage, "x/data/1": storage}))
	})
}

// FuzzOpenNPY puts any array into an archive, compressed or not.
func FuzzOpenNPY(f *testing.F) {
	z, err := zip.OpenReader("testdata/storages.npz")
	require.NoError(f, err)
	for _, e := range z.File {
		r, err := e.Open()
		require.NoError(f, err)
		b, err := io.ReadAll(r)
		require.NoError(f, err)
		f.Add(b, false)
		f.Add(b, true)
	}
	require.NoError(f, z.Close())
	for _, dict := range []string{"", "\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", "{'shape': (, 'descr': '<f4', 'fortran_order': }\n"} {
		f.Add(append([]byte{0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, byte(len(dict)), 0}, dict...), false)
	}
	f.Fuzz(func(t *testing.T, array []byte, compress bool) {
		method := zip.Store
		if compress {
			method = zip.Deflate
		}
		_, _ = readAll(t, zipped(t, method, map[string][]byte{"mask_decoder.a.npy": array}))
	})
}

// zipped returns an archive of the files.
func zipped(t testing.TB, method uint16, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range files {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		require.NoError(t, err)
		_, err = w.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return b.Bytes()
}
