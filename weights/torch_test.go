package weights_test

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// num, tuple and rebuild write pickles by hand.
func num(n int64) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func tuple(items ...string) string { return "(" + strings.Join(items, "") + "t" }

func nums(list ...int64) string {
	items := make([]string, len(list))
	for i, n := range list {
		items[i] = num(n)
	}
	return tuple(items...)
}

func str(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func storage(class, key string, numel int64) string {
	return tuple(str("storage"), "ctorch\n"+class+"\n", str(key), str("cpu"), num(numel)) + "Q"
}

func rebuild(storage string, off int64, shape, strides string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n" + tuple(storage, num(off), shape, strides, "\x89", "}") + "R"
}

// openPickle opens a state dict of one tensor, over storage 0 of 24 bytes: the
// float32 numbers 0 to 5.
func openPickle(t testing.TB, value string) (*weights.Checkpoint, error) {
	t.Helper()
	return openState(t, "}"+str("mask_decoder.a")+value+"s.")
}

func openState(t testing.TB, pickle string) (*weights.Checkpoint, error) {
	t.Helper()
	var b []byte
	for i := range 6 {
		b = binary.LittleEndian.AppendUint32(b, [...]uint32{0, 0x3f800000, 0x40000000, 0x40400000, 0x40800000, 0x40a00000}[i])
	}
	return weights.OpenBytes(zipped(t, zip.Store, map[string][]byte{"x/data.pkl": []byte(pickle), "x/data/0": b}))
}

func TestTorchTensors(t *testing.T) {
	six := storage("FloatStorage", "0", 6)
	plain := rebuild(six, 0, nums(2, 3), nums(3, 1))
	for _, tt := range []struct {
		name, value string
		want        []float32
	}{
		{"plain", plain, []float32{0, 1, 2, 3, 4, 5}},
		{"transposed", rebuild(six, 0, nums(3, 2), nums(1, 3)), []float32{0, 3, 1, 4, 2, 5}},
		{"offset", rebuild(six, 4, nums(2), nums(1)), []float32{4, 5}},
		{"strides of an axis of one", rebuild(six, 0, nums(1, 6, 1), nums(99, 1, 77)), []float32{0, 1, 2, 3, 4, 5}},
		{"every other", rebuild(six, 1, nums(3), nums(2)), []float32{1, 3, 5}},
		{"scalar", rebuild(six, 2, nums(), nums()), []float32{2}},
		{"empty", rebuild(six, 6, nums(0, 3), nums(3, 1)), nil},
		{"first version", "ctorch._utils\n_rebuild_tensor\n" + tuple(six, num(3), nums(1), nums(1)) + "R", []float32{3}},
		{"parameter", "ctorch._utils\n_rebuild_parameter\n" + tuple(plain, "\x88", "}") + "R", []float32{0, 1, 2, 3, 4, 5}},
		{"subclass", "ctorch._tensor\n_rebuild_from_type_v2\n" + tuple("ctorch._utils\n_rebuild_tensor_v2\n", "cmy\nTensor\n",
			tuple(six, num(0), "ctorch\nSize\n"+nums(2)+"\x85R", nums(1), "\x89", "}"), "}") + "R", []float32{0, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := openPickle(t, tt.value)
			require.NoError(t, err)
			assert.Equal(t, tt.want, values(t, c, "mask_decoder.a"))
		})
	}
}

// TestTorchRefuses: tensors that claim what is not there, and other damage.
func TestTorchRefuses(t *testing.T) {
	six := storage("FloatStorage", "0", 6)
	for _, tt := range []struct{ name, value, want string }{
		{"storage too large", rebuild(storage("FloatStorage", "0", 7), 0, nums(7), nums(1)), `storage "0": 7 elements of float32 in 24 bytes`},
		{"storage of a wider type", rebuild(storage("DoubleStorage", "0", 6), 0, nums(6), nums(1)), `storage "0": 6 elements of float64 in 24 bytes`},
		{"storage absent", rebuild(storage("FloatStorage", "1", 6), 0, nums(6), nums(1)), `storage "1" is not in the archive`},
		{"negative storage", rebuild(storage("FloatStorage", "0", -1), 0, nums(6), nums(1)), "damaged storage"},
		{"not a storage", num(1) + "Q", "persistent id of a int, want a storage"},
		{"shape too large", rebuild(six, 0, nums(7), nums(1)), "shape [7] of float32 needs 7 elements, the file holds 6"},
		{"beyond with the offset", rebuild(six, 5, nums(2), nums(1)), "needs 2 elements, the file holds 1"},
		{"offset beyond", rebuild(six, 7, nums(0), nums(1)), "offset 7 in a storage of 6"},
		{"negative offset", rebuild(six, -1, nums(2), nums(1)), "damaged tensor"},
		{"negative size", rebuild(six, 0, nums(-2), nums(1)), "damaged tensor"},
		{"negative stride", rebuild(six, 0, nums(2), nums(-1)), "damaged tensor"},
		{"sizes that overflow", rebuild(six, 0, nums(1<<40, 1<<40), nums(1, 1)), "too large"},
		{"strides that overflow", rebuild(six, 0, nums(1<<20, 1<<20, 2), nums(1<<40, 1<<40, 1)), "strides"},
		{"strides beyond", rebuild(six, 0, nums(2, 3), nums(4, 1)), "needs 7 elements, the file holds 6"},
		{"repeated elements", rebuild(six, 0, nums(1<<30), nums(0)), "repeats elements: save the tensor with .contiguous()"},
		{"other number of strides", rebuild(six, 0, nums(2, 3), nums(1)), "1 strides for shape [2 3]"},
		{"too many axes", rebuild(six, 0, nums(1, 1, 1, 1, 1, 1, 1, 1, 1), nums(1, 1, 1, 1, 1, 1, 1, 1, 1)), "damaged tensor"},
		{"shape of strings", rebuild(six, 0, tuple(str("a")), nums(1)), "damaged tensor"},
		{"shape of a number", rebuild(six, 0, num(6), nums(1)), "damaged tensor"},
		{"few arguments", "ctorch._utils\n_rebuild_tensor_v2\n" + tuple(six) + "R", "1 arguments, want 4 or more"},
		{"parameter of nothing", "ctorch._utils\n_rebuild_parameter\n)R", "no tensor"},
		{"subclass of nothing", "ctorch._tensor\n_rebuild_from_type_v2\n)R", "damaged tensor"},
		{"complex", rebuild(storage("ComplexFloatStorage", "0", 3), 0, nums(3), nums(1)), "mask_decoder.a: cannot read a torch._utils._rebuild_tensor_v2"},
		{"code", "cos\nsystem\n" + tuple(str("touch pwned")) + "R", "mask_decoder.a: cannot read a os.system"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := openPickle(t, tt.value)
			require.ErrorContains(t, err, tt.want)
			require.ErrorIs(t, err, weights.ErrFormat)
		})
	}
}

// TestTorchBombs: dicts that hold each other, many times over.
func TestTorchBombs(t *testing.T) {
	tensor := str("mask_decoder.a") + rebuild(storage("FloatStorage", "0", 6), 0, nums(6), nums(1)) + "s"
	t.Run("a dict in itself", func(t *testing.T) {
		c, err := openState(t, "}\x94"+str("self")+"h\x00s"+tensor+".")
		require.NoError(t, err)
		assert.Equal(t, []string{"mask_decoder.a"}, c.Names())
	})
	t.Run("a tree of one dict", func(t *testing.T) {
		// Each level holds the next 100 times: 10^14 paths.
		p := "}" + tensor + "\x94"
		for level := range 7 {
			p += "0}("
			for i := range 100 {
				p += str(fmt.Sprint(i)) + fmt.Sprintf("h%c", level)
			}
			p += "u\x94"
		}
		_, err := openState(t, p+".")
		require.ErrorContains(t, err, "more names than the file has room for")
	})
	t.Run("a large dict without names many times", func(t *testing.T) {
		p := "}" + tensor + "}\x94(" + strings.Repeat("K\x01N", 2000) + "u0("
		for i := range 2000 {
			p += str(fmt.Sprint(i)) + "h\x00"
		}
		_, err := openState(t, p+"u.")
		require.ErrorContains(t, err, "more names than the file has room for")
	})
	t.Run("a large dict without names once", func(t *testing.T) {
		p := "}" + tensor + str("optimizer") + "}(" + strings.Repeat("NN", 2000) + "us"
		_, err := openState(t, p+".")
		require.NoError(t, err)
	})
	t.Run("one storage many times", func(t *testing.T) {
		const n = 1 << 14
		for count, refused := range map[int]bool{8: false, 100: true} {
			p := "}"
			for i := range count {
				p += str(fmt.Sprint("mask_decoder.", i)) + rebuild(storage("FloatStorage", "0", n), 0, nums(n), nums(1)) + "s"
			}
			_, err := weights.OpenBytes(zipped(t, zip.Store, map[string][]byte{"x/data.pkl": []byte(p + "."), "x/data/0": make([]byte, 4*n)}))
			if refused {
				require.ErrorContains(t, err, "tensors that share storages take more than 16 times the file")
			} else {
				require.NoError(t, err)
			}
		}
	})
	t.Run("two tensors of one name", func(t *testing.T) {
		_, err := openState(t, "}"+tensor+str("mask_decoder")+"}"+strings.ReplaceAll(tensor, str("mask_decoder.a"), str("a"))+"s.")
		require.ErrorContains(t, err, "two tensors named mask_decoder.a")
	})
}

func TestTorchArchives(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"two pickles", map[string]string{"x/data.pkl": "}.", "x/x/data.pkl": "}."}, ""},
		{"byte order", map[string]string{"x/data.pkl": "}.", "x/byteorder": "middle"}, `byte order "middle" is unknown`},
		{"number", map[string]string{"x/data.pkl": "K\x01."}, "a int, not a state dict"},
		{"empty dict", map[string]string{"data.pkl": "}."}, "no tensors in the file"},
		{"nothing", map[string]string{"readme.txt": "hello"}, "a zip archive without a state dict (data.pkl) or arrays (.npy)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string][]byte{}
			for name, s := range tt.files {
				files[name] = []byte(s)
			}
			_, err := weights.OpenBytes(zipped(t, zip.Store, files))
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestNPZRefuses(t *testing.T) {
	npy := func(dict, values string) string {
		return "\x93NUMPY\x01\x00" + string([]byte{byte(len(dict)), 0}) + dict + values
	}
	const ok = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n"
	for _, tt := range []struct{ name, array, want string }{
		{"not an array", "hello", "not a .npy array"},
		{"version", strings.Replace(npy(ok, "1234"), "\x01\x00", "\x03\x00", 1), "version 3 of .npy"},
		{"no newline", npy(strings.TrimSpace(ok), "1234"), "is not that of a plain array"},
		{"keys in another order", npy("{'shape': (, 'descr': '<f4', 'fortran_order': }\n", ""), "is not that of a plain array"},
		{"object", npy("{'descr': '|O8', 'fortran_order': False, 'shape': (1,), }\n", "1234"), `type "|O8": save it as float32`},
		{"bfloat16", npy("{'descr': '<V2', 'fortran_order': False, 'shape': (1,), }\n", "12"), `type "<V2": save it as float32`},
		{"too few values", npy(ok, "123"), "needs 1 elements, the file holds 0"},
		{"too many values", npy(ok, "12345"), "5 bytes of values, want 4 for shape [1]"},
		{"huge", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }\n", "1234"), "too large"},
		{"beyond int", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }\n", "1234"), "out of range"},
		{"axes", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1), }\n", "1234"), "9 axes, at most 8"},
		{"header beyond", "\x93NUMPY\x01\x00\xff\x00" + ok, "a header of 255 bytes: damaged"},
		{"header of 4 GB", "\x93NUMPY\x02\x00\xff\xff\xff\xff" + ok, "bytes: damaged"},
	} {
		for name, method := range map[string]uint16{"stored": zip.Store, "deflated": zip.Deflate} {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				_, err := weights.OpenBytes(zipped(t, method, map[string][]byte{"mask_decoder.a.npy": []byte(tt.array)}))
				require.ErrorContains(t, err, tt.want)
				require.ErrorIs(t, err, weights.ErrFormat)
			})
		}
	}
}

// TestNPZBomb: an entry that claims far more than it can inflate to.
func TestNPZBomb(t *testing.T) {
	const n = 1 << 28
	dict := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }\n", n)
	data := zipped(t, zip.Deflate, map[string][]byte{"mask_decoder.a.npy": []byte("\x93NUMPY\x01\x00" + string([]byte{byte(len(dict)), 0}) + dict)})
	at := strings.LastIndex(string(data), "PK\x01\x02")
	size := binary.LittleEndian.Uint32(data[at+24:])
	binary.LittleEndian.PutUint32(data[at+24:], size+4*n)
	_, err := readAll(t, data)
	require.ErrorContains(t, err, "weights do not compress so well")
}

// TestNPZOfZeros: arrays that do inflate to what they claim, which is far more
// than weights of that many bytes would.
func TestNPZOfZeros(t *testing.T) {
	const n = 1 << 25
	dict := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }\n", n)
	head := "\x93NUMPY\x01\x00" + string([]byte{byte(len(dict)), 0}) + dict
	data := zipped(t, zip.Deflate, map[string][]byte{"mask_decoder.a.npy": append([]byte(head), make([]byte, 4*n)...)})
	require.Less(t, len(data), 1<<18)
	_, err := readAll(t, data)
	require.ErrorContains(t, err, "weights do not compress so well")
}
