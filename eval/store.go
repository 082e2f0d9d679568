package eval

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/regular"
)

// Digest is a hash of all of a picture that results depend on: its pixels as
// the model sees them, its truth, its classes and its scale. Names are not part
// of it.
func (p *Picture) Digest() (string, error) {
	src, err := picture.New(p.Image)
	if err != nil {
		return "", fmt.Errorf("eval: digest of picture %s: %w", p.ID, err)
	}
	h, size := sha256.New(), src.Bounds()
	fmt.Fprintf(h, "%d %d %x ", size.H, size.W, math.Float64bits(p.MPP))
	row := make([]byte, 3*size.W)
	for y := range size.H {
		h.Write(src.Row(y, row))
	}
	buf := make([]byte, 0, 1<<16)
	for part := range slices.Chunk(p.Truth.Pix, 1<<14) {
		buf = buf[:0]
		for _, v := range part {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(v))
		}
		h.Write(buf)
	}
	fmt.Fprintf(h, "%t", p.Class != nil)
	for _, k := range slices.Sorted(maps.Keys(p.Class)) {
		fmt.Fprintf(h, " %d %d", k, p.Class[k])
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// store keeps the records of pictures that are done.
type store struct {
	dir  string
	plan Plan
}

// kept is the file of one picture.
type kept struct {
	Picture string // its Digest
	Sum     string // of Records as they stand, without white space
	Records json.RawMessage
}

func openStore(dir string, plan Plan) (*store, error) {
	s := &store{dir: dir, plan: plan}
	if dir == "" {
		return s, nil
	}
	pictures := filepath.Join(dir, "pictures")
	if err := os.MkdirAll(pictures, 0o777); err != nil {
		return nil, err
	}
	// What a kill left half written; another run's files on their way stay.
	if err := errors.Join(atomicfile.Sweep(dir), atomicfile.Sweep(pictures)); err != nil {
		return nil, err
	}
	want, err := encode(plan)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "plan.json")
	have, err := regular.ReadFile(path, maxKept)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, write(path, want)
	case err != nil:
		return nil, err
	case !bytes.Equal(have, want):
		return nil, fmt.Errorf("%w: %s differs; choose another folder or remove this one", ErrOtherPlan, path)
	}
	return s, nil
}

// maxKept is the largest file that is read back, in bytes.
const maxKept = 1 << 30

// path names a picture's file by a hash, since names may hold slashes.
func (s *store) path(i int) string {
	h := sha256.Sum256([]byte(s.plan.Items[i].ID))
	return filepath.Join(s.dir, "pictures", fmt.Sprintf("%05d-%s.json", i, hex.EncodeToString(h[:6])))
}

// load returns a picture's records. They are nil if there are none yet, or if
// they are of another picture or another truth under the same name.
func (s *store) load(i int, digest string) ([]Record, error) {
	if s.dir == "" {
		return nil, nil
	}
	b, err := regular.ReadFile(s.path(i), maxKept)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(b, []byte("[")) && json.Valid(b) {
		return nil, nil // of an earlier version, which did not say of what picture
	}
	out, of, err := parseKept(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to measure the picture again", s.path(i), err)
	}
	if of != digest {
		return nil, nil
	}
	if want := len(s.plan.Settings) * max(1, len(s.plan.MPP)); len(out) != want {
		return nil, fmt.Errorf("%s: %d records, want %d; remove it to measure the picture again", s.path(i), len(out), want)
	}
	return out, nil
}

func parseKept(b []byte) (records []Record, digest string, err error) {
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		return nil, "", err
	}
	sum, err := k.sum()
	if err != nil {
		return nil, "", err
	}
	if sum != k.Sum {
		return nil, "", errors.New("its checksum is wrong: it is damaged or was altered")
	}
	err = json.Unmarshal(k.Records, &records)
	return records, k.Picture, err
}

// sum is the checksum of the digest and the records.
func (k kept) sum() (string, error) {
	var b bytes.Buffer
	b.WriteString(k.Picture)
	if err := json.Compact(&b, k.Records); err != nil {
		return "", err
	}
	h := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(h[:16]), nil
}

func (s *store) save(i int, digest string, records []Record) error {
	if s.dir == "" {
		return nil
	}
	var err error
	k := kept{Picture: digest}
	if k.Records, err = json.Marshal(records); err != nil {
		return err
	}
	if k.Sum, err = k.sum(); err != nil {
		return err
	}
	b, err := encode(k)
	if err != nil {
		return err
	}
	return write(s.path(i), b)
}

func encode(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "\t")
	return append(b, '\n'), err
}

// write leaves the whole file or none.
func write(path string, b []byte) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Commit()
}
