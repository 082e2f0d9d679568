package wholeslide

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"

	"github.com/slidesam/sam/internal/atomicfile"
)

// ErrShard is wrapped by the errors for a shard that is not what it says.
var ErrShard = errors.New("shard is damaged")

// Shard says what a shard of a run holds. It is the content of a file in the
// folder shards that appears when all tiles of the shard are done. Attempts of
// a shard on one kind of machine give the same bytes.
type Shard struct {
	Run     string      `json:"run"` // Plan.ID
	Index   int         `json:"shard"`
	Count   int         `json:"shards"`
	Objects int         `json:"objects"` // before seams are merged
	Tally   Tally       `json:"tally"`
	Tiles   []ShardTile `json:"tiles"`
}

// ShardTile is one tile of a shard.
type ShardTile struct {
	File    string `json:"file"` // in the run's folder, with slashes
	Objects int    `json:"objects"`
	SHA256  string `json:"sha256"` // of the file
}

// shardFolder is where the descriptions lie in a run's folder.
const shardFolder = "shards"

// ShardFile names the file that describes a shard, in the run's folder, with
// a slash.
func ShardFile(index, count int) string {
	return fmt.Sprintf("%s/%05d-of-%05d.json", shardFolder, index, count)
}

// describeShard writes the file of the plan's shard, all of whose tiles are
// done.
func (p *Plan) describeShard(dir string) error {
	if err := atomicfile.Sweep(filepath.Join(dir, shardFolder)); err != nil {
		return err
	}
	s := Shard{Run: p.id, Index: p.shard, Count: p.shards, Tiles: []ShardTile{}}
	k := -1
	for _, q := range p.scales {
		for _, i := range q.tiles {
			if k++; k%p.shards != p.shard {
				continue
			}
			name := tilePath(dir, q, i)
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			c, err := parseTile(b, q, i)
			if err != nil {
				return err
			}
			file, err := filepath.Rel(dir, name)
			if err != nil {
				return err
			}
			s.Objects += c.objects()
			s.Tally.Add(c.tally)
			s.Tiles = append(s.Tiles, ShardTile{filepath.ToSlash(file), c.objects(), sum(b)})
		}
	}
	return s.write(dir)
}

func (s *Shard) write(dir string) error {
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return writeIn(dir, ShardFile(s.Index, s.Count), append(b, '\n'))
}

// writeIn writes a file of a run's folder whose name has slashes.
func writeIn(dir, name string, b []byte) error {
	at := filepath.Join(dir, filepath.FromSlash(path.Dir(name)))
	if err := os.MkdirAll(at, 0o777); err != nil {
		return err
	}
	return atomicfile.WriteIn(at, path.Base(name), func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

var (
	// tileName matches what tilePath gives.
	tileName = regexp.MustCompile(`^tiles/[0-9]{1,4}/[0-9]{4,5}/[0-9]{8}\.json$`)
	runName  = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// parseShard reads and checks a shard's description.
func parseShard(b []byte) (*Shard, error) {
	var s Shard
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrShard, err)
	}
	switch {
	case !runName.MatchString(s.Run):
		return nil, fmt.Errorf("%w: run %q", ErrShard, s.Run)
	case s.Index < 0 || s.Index >= s.Count || s.Count > maxTiles:
		return nil, fmt.Errorf("%w: shard %d of %d", ErrShard, s.Index, s.Count)
	}
	objects, known := 0, map[string]bool{}
	for _, t := range s.Tiles {
		if !tileName.MatchString(t.File) || known[t.File] || t.Objects < 0 || len(t.SHA256) != 2*sha256.Size {
			return nil, fmt.Errorf("%w: tile %q", ErrShard, t.File)
		}
		known[t.File] = true
		objects += t.Objects
	}
	if objects != s.Objects {
		return nil, fmt.Errorf("%w: %d objects, %d in its tiles", ErrShard, s.Objects, objects)
	}
	return &s, nil
}

// ReadShard returns what a shard in a run's folder holds, and has looked at
// each of its files. The error wraps os.ErrNotExist if the shard is not done,
// and ErrShard if a file is not what it was: then the run does it again.
func ReadShard(dir string, index, count int) (*Shard, error) {
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(ShardFile(index, count))))
	if err != nil {
		return nil, err
	}
	s, err := parseShard(b)
	if err != nil {
		return nil, err
	}
	for _, t := range s.Tiles {
		if _, err := s.tile(dir, t); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// tile returns the content of one of the shard's files.
func (s *Shard) tile(dir string, t ShardTile) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(t.File)))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: shard %d of %d: %s is missing: run it again", ErrShard, s.Index, s.Count, t.File)
	}
	if err == nil && sum(b) != t.SHA256 {
		err = fmt.Errorf("%w: shard %d of %d: %s is not what it was: run it again", ErrShard, s.Index, s.Count, t.File)
	}
	return b, err
}
