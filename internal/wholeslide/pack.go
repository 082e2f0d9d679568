package wholeslide

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A packed shard is a .tar.gz of plan.json, the shard's description and its
// tiles, in this order and without times or owners, so that attempts of a
// shard give the same bytes: for buckets and engines that hand files on.

// maxPacked bounds one file of a packed shard.
const maxPacked = 1 << 28

// PackShard writes a shard that is done as one file. The errors are those of
// ReadShard.
func PackShard(dir string, index, count int, w io.Writer) (*Shard, error) {
	name := ShardFile(index, count)
	plan, err := os.ReadFile(filepath.Join(dir, planFile))
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	s, err := parseShard(b)
	if err != nil {
		return nil, err
	}
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	put := func(name string, b []byte) error {
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b)), Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err := t.Write(b)
		return err
	}
	if err := errors.Join(put(planFile, plan), put(name, b)); err != nil {
		return nil, err
	}
	for _, f := range s.Tiles {
		b, err := s.tile(dir, f)
		if err != nil {
			return nil, err
		}
		if err := put(f.File, b); err != nil {
			return nil, err
		}
	}
	return s, errors.Join(t.Close(), z.Close())
}

// UnpackShard puts a packed shard into a run's folder, which it makes if there
// is none. The shard's description is written last: a shard that is damaged is
// not there, though some of its tiles, each whole, may be. The error wraps
// ErrShard if it is damaged, and ErrOtherRun if the folder holds another run.
func UnpackShard(dir string, r io.Reader) (*Shard, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrShard, err)
	}
	t := tar.NewReader(z)
	plan, err := unpackFile(t, planFile)
	if err != nil {
		return nil, err
	}
	h, b, err := unpackNext(t)
	if err != nil {
		return nil, err
	}
	s, err := parseShard(b)
	if err != nil {
		return nil, err
	}
	if h != ShardFile(s.Index, s.Count) {
		return nil, fmt.Errorf("%w: %s describes shard %d of %d", ErrShard, h, s.Index, s.Count)
	}
	var of struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(plan, &of); err != nil || of.ID != s.Run {
		return nil, fmt.Errorf("%w: %s of run %q holds a shard of run %s", ErrShard, planFile, of.ID, s.Run)
	}
	if err := claimAs(dir, plan); err != nil {
		return nil, err
	}
	for _, f := range s.Tiles {
		b, err := unpackFile(t, f.File)
		if err != nil {
			return nil, err
		}
		if sum(b) != f.SHA256 {
			return nil, fmt.Errorf("%w: %s is not what it was", ErrShard, f.File)
		}
		if err := writeIn(dir, f.File, b); err != nil {
			return nil, err
		}
	}
	if _, err := t.Next(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than its tiles", ErrShard)
	}
	if _, err := io.Copy(io.Discard, z); err != nil { // the checksum at its end
		return nil, fmt.Errorf("%w: %w", ErrShard, err)
	}
	return s, s.write(dir)
}

// unpackFile reads the next file, which must have the given name.
func unpackFile(t *tar.Reader, name string) ([]byte, error) {
	have, b, err := unpackNext(t)
	if err == nil && have != name {
		err = fmt.Errorf("%w: %q where %s should be", ErrShard, have, name)
	}
	return b, err
}

func unpackNext(t *tar.Reader) (string, []byte, error) {
	h, err := t.Next()
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrShard, err)
	}
	if h.Typeflag != tar.TypeReg || h.Size < 0 || h.Size > maxPacked {
		return "", nil, fmt.Errorf("%w: %q of %d bytes", ErrShard, h.Name, h.Size)
	}
	// Not allocated by what the header says: it may lie.
	b, err := io.ReadAll(io.LimitReader(t, maxPacked))
	if err != nil {
		return "", nil, fmt.Errorf("%w: %s: %w", ErrShard, h.Name, err)
	}
	return h.Name, b, nil
}
