package serve

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/weights"
)

// samTypes are the names that samapi has for the models served here.
var samTypes = []string{"vit_h", "vit_l", "vit_b", "vit_t"}

// otherTypes are samapi's names of models that are not served.
var otherTypes = []string{"sam2_l", "sam2_bp", "sam2_s", "sam2_t", "sam3"}

const (
	// ownURL is the key of the server's own model.
	ownURL = "slidesam:model"
	// noneURL is the key of the entry for models that are not served: QuPath's
	// extension breaks on an empty list.
	noneURL = "slidesam:none"
	// fileURL begins the keys of files in the folder.
	fileURL = "slidesam:file/"
)

// weight is an entry of the list of checkpoints. URL is a key that comes
// back with each request.
type weight struct {
	Type string `json:"type"`
	Name string `json:"name"`
	URL  string `json:"url"`

	file  string // in the folder
	mtime time.Time
}

// models are the checkpoints that can be asked for: the server's own, and
// those of the folder, which are loaded when they are first used.
type models struct {
	own     *sam.Model
	ownName string
	bundled bool
	dir     string
	root    *os.Root // nil: no folder
	loaded  *shelf[*sam.Model]

	mu   sync.Mutex
	seen map[string]sighting // by name of file
}

// sighting is what a look into a file gave.
type sighting struct {
	size  int64
	mtime time.Time
	kind  string // empty: no checkpoint
}

func newModels(c Config) (*models, error) {
	m := &models{own: c.Model, ownName: c.ModelName, bundled: c.Bundled, dir: c.Weights, seen: map[string]sighting{},
		loaded: newShelf(c.ModelBytes, (*sam.Model).Bytes)}
	if c.Weights == "" {
		return m, nil
	}
	if err := os.MkdirAll(c.Weights, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(c.Weights)
	if err != nil {
		return nil, err
	}
	m.root = root
	return m, nil
}

// list returns the entries of a type, or of all, the newest files first and
// the server's own model last. No type's list is empty.
func (m *models) list(kind string) ([]weight, error) {
	files, err := m.files()
	if err != nil {
		return nil, err
	}
	named, err := m.readNames()
	if err != nil {
		return nil, err
	}
	var out []weight
	for _, t := range samTypes {
		if kind != "" && t != kind {
			continue
		}
		for _, f := range files {
			if n, ok := named[f.file]; ok {
				f.Name, f.Type = n.Name, n.Type
			}
			if f.Type == t {
				out = append(out, f)
			}
		}
		out = append(out, weight{Type: t, Name: m.ownName, URL: ownURL})
	}
	if kind != "" && slices.Contains(otherTypes, kind) {
		out = append(out, weight{Type: kind, Name: "not served: choose vit_b", URL: noneURL})
	}
	return out, nil
}

// files returns the checkpoints of the folder, the newest first.
func (m *models) files() ([]weight, error) {
	if m.root == nil {
		return nil, nil
	}
	var out []weight
	err := fs.WalkDir(m.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && p == ".":
			return err
		case err != nil:
			return nil // a folder that cannot be read hides what is in it
		case d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || strings.Count(p, "/") > 1):
			return fs.SkipDir
		case d.IsDir() || !isCheckpointName(p):
			return nil
		}
		info, err := m.root.Stat(p) // follows a link, not out of the folder
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		if kind := m.look(p, info); kind != "" {
			out = append(out, weight{Type: kind, Name: path.Base(p), URL: fileURL + p, file: p, mtime: info.ModTime()})
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b weight) int { return cmp.Or(b.mtime.Compare(a.mtime), strings.Compare(a.file, b.file)) })
	return out, err
}

func isCheckpointName(p string) bool {
	return slices.Contains([]string{".pth", ".pt", ".safetensors", ".npz"}, strings.ToLower(path.Ext(p)))
}

// look returns the type of a file, empty if it is none that is served.
func (m *models) look(p string, info fs.FileInfo) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.seen[p]
	if ok && s.size == info.Size() && s.mtime.Equal(info.ModTime()) {
		return s.kind
	}
	s = sighting{size: info.Size(), mtime: info.ModTime()}
	s.kind, _ = kindOf(filepath.Join(m.dir, filepath.FromSlash(p)))
	m.seen[p] = s
	return s.kind
}

// kindOf returns samapi's name for the shape of a checkpoint; shapes of
// nobody else's go under vit_b.
func kindOf(file string) (string, error) {
	ck, err := weights.Open(file)
	if err != nil {
		return "", err
	}
	defer ck.Close()
	c, err := vit.ConfigOf(ck)
	if err != nil {
		return "", err
	}
	switch c.Width {
	case sam.ViTH().Encoder.Width:
		return "vit_h", nil
	case sam.ViTL().Encoder.Width:
		return "vit_l", nil
	}
	return "vit_b", nil
}

// model returns the model that a request asks for. kind and url may be empty.
func (m *models) model(ctx context.Context, kind, url string) (*sam.Model, string, error) {
	if slices.Contains(otherTypes, kind) || url == noneURL {
		return nil, "", refuse(http.StatusNotFound, "%s is another architecture, which is not served here; choose vit_b, vit_l or vit_h", cmp.Or(kind, "this"))
	}
	if kind != "" && !slices.Contains(samTypes, kind) {
		return nil, "", refuse(http.StatusUnprocessableEntity, "type %q, want one of %s", kind, strings.Join(samTypes, ", "))
	}
	switch {
	case url == ownURL:
		return m.own, m.ownName, nil
	case url == "":
		ws, err := m.list(cmp.Or(kind, "vit_h"))
		if err != nil {
			return nil, "", err
		}
		url = ws[0].URL // the list is never empty
		if url == ownURL {
			return m.own, m.ownName, nil
		}
	}
	file, err := m.fileOf(url)
	if err != nil {
		return nil, "", err
	}
	info, err := m.root.Stat(file)
	if err != nil {
		return nil, "", refuse(http.StatusNotFound, "the checkpoint is not in the folder any more")
	}
	key := fmt.Sprint(file, "\x00", info.Size(), info.ModTime().UnixNano())
	got, err := m.loaded.get(ctx, key, func(context.Context) (*sam.Model, error) {
		return sam.Load(filepath.Join(m.dir, filepath.FromSlash(file)))
	})
	if errors.Is(err, weights.ErrFormat) {
		return nil, "", refuse(http.StatusUnprocessableEntity, "the checkpoint cannot be used: it is damaged or of another model")
	}
	return got, path.Base(file), err
}

// fileOf returns the file of the folder that a key or a registered URL stands
// for.
func (m *models) fileOf(url string) (string, error) {
	files, err := m.files()
	if err != nil {
		return "", err
	}
	named, err := m.readNames()
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if f.URL == url || named[f.file].Source == url {
			return f.file, nil
		}
	}
	return "", refuse(http.StatusNotFound, "no checkpoint is registered as this checkpoint_url; GET weights/ lists those that are")
}

// fingerprint is a model's, in hexadecimal digits.
func fingerprint(m *sam.Model) string {
	f := m.Fingerprint()
	return hex.EncodeToString(f[:])
}

func embeddingBytes(e *sam.Embedding) int64 {
	data, _ := e.Tensor()
	return int64(len(data)) * 4
}
