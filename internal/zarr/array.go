package zarr

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/slidesam/sam/internal/tiff"
)

const (
	maxJSON  = 1 << 24 // bytes of a metadata file
	maxChunk = 1 << 28 // bytes of a chunk, decoded
	maxAxes  = 8
	maxSide  = 1 << 30
)

// Array is an array of unsigned bytes. It is safe for use by many
// goroutines.
type Array struct {
	Shape []int
	Chunk []int // of the chunks that are read alone, inside of shards

	fsys  fs.FS
	dir   string
	sep   string // between the chunk's numbers
	head  string // before them
	order []int  // axes of a chunk as they are stored, nil: as they are
	fill  byte
	chain []decoder
	shard *sharding
}

// sharding is how a file holds several chunks.
type sharding struct {
	shape []int // of a shard, in chunks
	chunk []int // of a shard, in elements
	index int   // bytes of the index
	first bool  // the index lies at the beginning
	sums  bool  // the index ends with its crc32c

	mu    sync.Mutex
	known map[string][]byte
}

// arrayV2 is .zarray.
type arrayV2 struct {
	Shape      []int           `json:"shape"`
	Chunks     []int           `json:"chunks"`
	DType      json.RawMessage `json:"dtype"`
	Order      string          `json:"order"`
	Separator  string          `json:"dimension_separator"`
	Compressor *struct {
		ID string `json:"id"`
	} `json:"compressor"`
	Filters []struct {
		ID string `json:"id"`
	} `json:"filters"`
	Fill json.RawMessage `json:"fill_value"`
}

// arrayV3 is zarr.json of an array.
type arrayV3 struct {
	NodeType string          `json:"node_type"`
	Shape    []int           `json:"shape"`
	DataType json.RawMessage `json:"data_type"`
	Grid     struct {
		Name          string `json:"name"`
		Configuration struct {
			Shape []int `json:"chunk_shape"`
		} `json:"configuration"`
	} `json:"chunk_grid"`
	Keys struct {
		Name          string `json:"name"`
		Configuration struct {
			Separator string `json:"separator"`
		} `json:"configuration"`
	} `json:"chunk_key_encoding"`
	Codecs []codecJSON     `json:"codecs"`
	Fill   json.RawMessage `json:"fill_value"`
}

// readJSON reads a metadata file; fs.ErrNotExist if there is none.
func readJSON(fsys fs.FS, name string, to any) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return err
	}
	if len(b) > maxJSON {
		return fmt.Errorf("%s of over %d bytes: %w", name, maxJSON, tiff.ErrUnsupported)
	}
	if err := json.Unmarshal(b, to); err != nil {
		return fmt.Errorf("%s: %w: %w", name, err, tiff.ErrCorrupt)
	}
	return nil
}

// openArray reads the metadata of an array of either version.
func openArray(fsys fs.FS, dir string) (*Array, error) {
	a := &Array{fsys: fsys, dir: dir}
	var v3 arrayV3
	err := readJSON(fsys, path.Join(dir, "zarr.json"), &v3)
	switch {
	case err == nil:
		err = a.setV3(v3)
	case errors.Is(err, fs.ErrNotExist):
		var v2 arrayV2
		if err = readJSON(fsys, path.Join(dir, ".zarray"), &v2); err == nil {
			err = a.setV2(v2)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("array %s: %w", dir, err)
	}
	return a, nil
}

func (a *Array) setV2(v arrayV2) error {
	if d := string(v.DType); d != `"|u1"` && d != `"u1"` && d != `"<u1"` && d != `">u1"` {
		return fmt.Errorf("samples of type %s, want unsigned bytes: %w", d, tiff.ErrUnsupported)
	}
	if len(v.Filters) > 0 {
		return fmt.Errorf("filter %q: %w", v.Filters[0].ID, tiff.ErrUnsupported)
	}
	if v.Compressor != nil {
		d := codecs[v.Compressor.ID]
		if d == nil {
			return fmt.Errorf("compressor %q: %w", v.Compressor.ID, tiff.ErrUnsupported)
		}
		a.chain = []decoder{d}
	}
	if a.sep = v.Separator; a.sep == "" {
		a.sep = "."
	}
	if v.Order == "F" {
		for i := len(v.Shape) - 1; i >= 0; i-- {
			a.order = append(a.order, i)
		}
	}
	return a.setShape(v.Shape, v.Chunks, v.Fill)
}

func (a *Array) setV3(v arrayV3) error {
	if v.NodeType != "array" || v.Grid.Name != "regular" {
		return fmt.Errorf("node %q with chunks %q, want an array with regular ones: %w", v.NodeType, v.Grid.Name, tiff.ErrUnsupported)
	}
	if d := string(v.DataType); d != `"uint8"` {
		return fmt.Errorf("samples of type %s, want uint8: %w", d, tiff.ErrUnsupported)
	}
	a.sep = v.Keys.Configuration.Separator
	switch v.Keys.Name {
	case "default":
		if a.sep == "" {
			a.sep = "/"
		}
		a.head = "c" + a.sep
	case "v2":
		if a.sep == "" {
			a.sep = "."
		}
	default:
		return fmt.Errorf("chunk keys %q: %w", v.Keys.Name, tiff.ErrUnsupported)
	}
	if err := a.setShape(v.Shape, v.Grid.Configuration.Shape, v.Fill); err != nil {
		return err
	}
	return a.setCodecs(v.Codecs)
}

func (a *Array) setShape(shape, chunk []int, fill json.RawMessage) error {
	if len(shape) < 2 || len(shape) > maxAxes || len(chunk) != len(shape) {
		return fmt.Errorf("shape %v in chunks of %v: %w", shape, chunk, tiff.ErrUnsupported)
	}
	if a.sep != "." && a.sep != "/" {
		return fmt.Errorf("separator %q: %w", a.sep, tiff.ErrUnsupported)
	}
	a.Shape, a.Chunk = shape, chunk
	for i := range shape {
		if shape[i] < 1 || shape[i] > maxSide {
			return fmt.Errorf("shape %v: %w", shape, tiff.ErrCorrupt)
		}
	}
	if s := string(fill); s != "" && s != "null" {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || v < 0 || v > 255 {
			return fmt.Errorf("fill value %s: %w", s, tiff.ErrUnsupported)
		}
		a.fill = byte(v)
	}
	return checkChunk(chunk)
}

func checkChunk(chunk []int) error {
	size := 1
	for _, n := range chunk {
		if n < 1 || n > maxChunk || size > maxChunk/n {
			return fmt.Errorf("chunks of %v, over %d bytes: %w", chunk, maxChunk, tiff.ErrUnsupported)
		}
		size *= n
	}
	return nil
}

// setSharding makes the grid's chunks shards of smaller ones.
func (a *Array) setSharding(raw json.RawMessage) error {
	var c struct {
		Shape    []int       `json:"chunk_shape"`
		Codecs   []codecJSON `json:"codecs"`
		Index    []codecJSON `json:"index_codecs"`
		Location string      `json:"index_location"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("sharding: %w: %w", err, tiff.ErrCorrupt)
	}
	if len(c.Shape) != len(a.Chunk) {
		return fmt.Errorf("chunks of %v in shards of %v: %w", c.Shape, a.Chunk, tiff.ErrCorrupt)
	}
	s := &sharding{chunk: a.Chunk, first: c.Location == "start", known: map[string][]byte{}}
	n := 1
	for i, v := range c.Shape {
		if v < 1 || a.Chunk[i]%v != 0 {
			return fmt.Errorf("chunks of %v in shards of %v: %w", c.Shape, a.Chunk, tiff.ErrCorrupt)
		}
		s.shape = append(s.shape, a.Chunk[i]/v)
		if n *= a.Chunk[i] / v; n > 1<<20 {
			return fmt.Errorf("more than %d chunks in a shard: %w", 1<<20, tiff.ErrUnsupported)
		}
	}
	s.index = 16 * n
	for _, x := range c.Index {
		switch x.Name {
		case "bytes":
		case "crc32c":
			s.sums = true
			s.index += 4
		default:
			return fmt.Errorf("shard index coded by %q: %w", x.Name, tiff.ErrUnsupported)
		}
	}
	a.Chunk, a.shard = c.Shape, s
	if err := checkChunk(a.Chunk); err != nil {
		return err
	}
	return a.setCodecs(c.Codecs)
}

// key is the file of a chunk or shard.
func (a *Array) key(at []int) string {
	f := make([]string, len(at))
	for i, v := range at {
		f[i] = strconv.Itoa(v)
	}
	return path.Join(a.dir, a.head+strings.Join(f, a.sep))
}

// chunk reads the chunk with the given numbers, in the axes' order. A chunk
// that the store leaves out holds the fill value; nil stands for it.
func (a *Array) chunk(at []int) ([]byte, error) {
	size := 1
	for _, n := range a.Chunk {
		size *= n
	}
	b, err := a.stored(at, size)
	if b == nil || err != nil {
		return nil, err
	}
	if b, err = a.decode(b, size); err != nil {
		return nil, err
	}
	return a.reorder(b), nil
}

// stored reads a chunk's bytes as they lie in the store, nil if none do.
func (a *Array) stored(at []int, size int) ([]byte, error) {
	limit := int64(size) + int64(size)/8 + 1<<16 // of data that does not shrink
	if a.shard == nil {
		f, err := a.fsys.Open(a.key(at))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, limit+1))
		if err == nil && int64(len(b)) > limit {
			err = fmt.Errorf("chunk of over %d bytes: %w", limit, tiff.ErrCorrupt)
		}
		return b, err
	}
	s := a.shard
	shard := make([]int, len(at))
	k := 0
	for i, v := range at {
		shard[i] = v / s.shape[i]
		k = k*s.shape[i] + v%s.shape[i]
	}
	name := a.key(shard)
	f, err := a.fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, fmt.Errorf("shard %s cannot be read in parts: %w", name, tiff.ErrUnsupported)
	}
	index, err := s.entries(r, name, st.Size())
	if err != nil {
		return nil, fmt.Errorf("shard %s: %w", name, err)
	}
	off, n := binary.LittleEndian.Uint64(index[16*k:]), binary.LittleEndian.Uint64(index[16*k+8:])
	if off == math.MaxUint64 && n == math.MaxUint64 {
		return nil, nil
	}
	if off > uint64(st.Size()) || n > uint64(st.Size())-off || n > uint64(limit) {
		return nil, fmt.Errorf("shard %s: chunk of %d bytes at %d of %d: %w", name, n, off, st.Size(), tiff.ErrCorrupt)
	}
	b := make([]byte, n)
	if m, err := r.ReadAt(b, int64(off)); m < len(b) {
		return nil, fmt.Errorf("shard %s: %w", name, err)
	}
	return b, nil
}

// entries reads a shard's index, and keeps a few of those read last.
func (s *sharding) entries(r io.ReaderAt, name string, size int64) ([]byte, error) {
	s.mu.Lock()
	b := s.known[name]
	s.mu.Unlock()
	if b != nil {
		return b, nil
	}
	at := size - int64(s.index)
	if at < 0 {
		return nil, fmt.Errorf("%d bytes, the index has %d: %w", size, s.index, tiff.ErrCorrupt)
	}
	if s.first {
		at = 0
	}
	b = make([]byte, s.index)
	if n, err := r.ReadAt(b, at); n < len(b) {
		return nil, fmt.Errorf("index: %w", err)
	}
	if s.sums {
		var err error
		if b, err = unCRC(b, 0); err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known)*s.index > 1<<22 {
		clear(s.known)
	}
	s.known[name] = b
	return b, nil
}

// reorder puts a chunk whose axes are stored in another order right.
func (a *Array) reorder(b []byte) []byte {
	if a.order == nil {
		return b
	}
	n := len(a.Chunk)
	step := make([]int, n) // of axis i in b
	size := 1
	for i := n - 1; i >= 0; i-- {
		step[a.order[i]] = size
		size *= a.Chunk[a.order[i]]
	}
	out := make([]byte, len(b))
	at := make([]int, n)
	from := 0
	for k := range out {
		out[k] = b[from]
		for i := n - 1; i >= 0; i-- {
			at[i]++
			from += step[i]
			if at[i] < a.Chunk[i] {
				break
			}
			from -= step[i] * at[i]
			at[i] = 0
		}
	}
	return out
}
