// Package golden reads the reference files that PyTorch, Pillow and
// pycocotools wrote, and repeats the counter-based pictures they were made
// from.
//
// A reference file is an .npz in testdata, made by reference/make.py. It holds
// arrays, a version and a description in JSON. Large tensors are stored as
// samples: every stride-th element of the flattened, row-major tensor. Package
// golden is for tests only: it embeds every file.
//
//	f, err := golden.Load("small_a")
//	want, err := f.Float32s("p0/embedding")   // shape [C, H, W], maybe sampled
//	got, err := want.Pick(embedding)          // the same elements of ours
//	tensortest.Close(t, want.Data, got, 1e-6, 1e-5)
package golden

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/sbinet/npyio/npz"
)

// Version is the version of the reference files this package reads.
const Version = 1

//go:embed testdata/*.npz testdata/*.safetensors
var files embed.FS

// Size is a height and a width in pixels.
type Size struct{ H, W int }

// UnmarshalJSON reads [H, W].
func (s *Size) UnmarshalJSON(b []byte) error {
	var hw [2]int
	if err := json.Unmarshal(b, &hw); err != nil {
		return err
	}
	s.H, s.W = hw[0], hw[1]
	return nil
}

// File is one open reference file.
type File struct {
	name  string
	size  int
	names []string
	index index
	r     *npz.Reader
}

// List returns the names of all reference files, sorted, without ".npz".
func List() []string {
	paths, err := fs.Glob(files, "testdata/*.npz")
	if err != nil { // only for a malformed pattern
		panic(err)
	}
	for i, p := range paths {
		paths[i] = strings.TrimSuffix(strings.TrimPrefix(p, "testdata/"), ".npz")
	}
	slices.Sort(paths)
	return paths
}

// Load opens the reference file testdata/<name>.npz.
//
// It returns an error that names the command to run if the file is missing or
// has another version.
func Load(name string) (*File, error) {
	data, err := files.ReadFile("testdata/" + name + ".npz")
	if err != nil {
		return nil, fmt.Errorf("golden: load %s: %w; %s", name, err, rebuild(name))
	}
	return open(name, data)
}

// rebuild says how to make a reference file anew.
func rebuild(name string) string {
	return fmt.Sprintf("rebuild it with internal/golden/reference/make.py (see the README there), job %q", Job(name))
}

// Job returns the argument of make.py that makes the reference file name.
func Job(name string) string {
	job, _, _ := strings.Cut(name, "_")
	return job
}

func open(name string, data []byte) (*File, error) {
	r, err := npz.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("golden: load %s: %w; %s", name, err, rebuild(name))
	}
	f := &File{name: name, size: len(data), r: r}
	for _, k := range r.Keys() {
		f.names = append(f.names, strings.TrimSuffix(k, ".npy"))
	}
	slices.Sort(f.names)
	version, _, err := read[int64](f, "version")
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, rebuild(name))
	}
	if len(version) != 1 || version[0] != Version {
		return nil, fmt.Errorf("golden: load %s: version %v, want %d; %s", name, version, Version, rebuild(name))
	}
	if err := f.decode("index", &f.index); err != nil {
		return nil, err
	}
	return f, nil
}

// Bytesize returns the size of the file in bytes.
func (f *File) Bytesize() int { return f.size }

// Names returns the names of the stored arrays, sorted. "version", "index" and
// "meta" are among them.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Has tells whether the file holds an array of that name.
func (f *File) Has(name string) bool {
	_, ok := slices.BinarySearch(f.names, name)
	return ok
}

// Meta decodes the file's JSON description into dst. Fields of the
// description that dst lacks are an error, so that nothing is overlooked.
func (f *File) Meta(dst any) error { return f.decode("meta", dst) }

// decode decodes the JSON stored under name into dst.
func (f *File) decode(name string, dst any) error {
	b, _, err := read[uint8](f, name)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(dst); err != nil {
		return fmt.Errorf("golden: read %s: %s: %w", f.name, name, err)
	}
	return nil
}

// Float32s returns a stored float32 tensor, whole or sampled.
func (f *File) Float32s(name string) (*Tensor[float32], error) { return tensor[float32](f, name) }

// Bytes returns a stored uint8 tensor, whole or sampled.
func (f *File) Bytes(name string) (*Tensor[uint8], error) { return tensor[uint8](f, name) }

// read returns an array as it is stored, with its shape.
func read[T int64 | uint8 | float32](f *File, name string) ([]T, []int, error) {
	if !f.Has(name) {
		return nil, nil, fmt.Errorf("golden: read %s: %s: no such array, have %s", f.name, name, strings.Join(f.names, " "))
	}
	h := f.r.Header(name + ".npy")
	if h == nil {
		return nil, nil, fmt.Errorf("golden: read %s: %s: bad array header", f.name, name)
	}
	shape := slices.Clone(h.Descr.Shape)
	if h.Descr.Fortran {
		return nil, nil, fmt.Errorf("golden: read %s: %s: stored column-major", f.name, name)
	}
	var data []T
	if slices.Contains(shape, 0) {
		return data, shape, nil
	}
	if err := f.r.Read(name+".npy", &data); err != nil {
		return nil, nil, fmt.Errorf("golden: read %s: %s: %w", f.name, name, err)
	}
	return data, shape, nil
}
