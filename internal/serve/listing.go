package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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

	"github.com/slidesam/sam/internal/wsi"
)

const (
	// maxListed bounds the slides that are listed.
	maxListed = 10_000
	// maxDepth is how many folders below a given one are looked into.
	maxDepth = 4
	// maxStamped bounds the files of one slide that are looked at.
	maxStamped = 1 << 16
)

// slideExts are the ends of names that slides of a file have. Some are those
// of formats that are not read: who misses such a slide is told why.
var slideExts = []string{
	".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".qptiff", ".png", ".jpg", ".jpeg",
	".vms", ".vmu", ".svslide", ".czi", ".vsi", ".isyntax", ".zvi",
}

// slideRoot is a folder that was given, or that a slide lies in that was given.
type slideRoot struct {
	dir  string
	root *os.Root
	only string // name of the one slide, empty: all in the folder

	mu      sync.Mutex
	folders map[string]seenFolder
}

// seenFolder is what a folder held when it was last looked into. Telling which
// files of a folder make a DICOM slide means opening all of them.
type seenFolder struct {
	changed time.Time
	slides  []string
}

// openSlideRoot opens a folder of slides or one slide, which may be a folder.
func openSlideRoot(p string) (*slideRoot, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, err
	}
	r := &slideRoot{dir: abs, folders: map[string]seenFolder{}}
	if info.IsDir() {
		several, err := wsi.SlidesIn(os.DirFS(abs), ".")
		if err != nil {
			return nil, err
		}
		if slices.Equal(several, []string{"."}) && filepath.Dir(abs) != abs { // OME-Zarr
			r.dir, r.only = filepath.Split(abs)
		}
	} else {
		r.dir, r.only = filepath.Split(abs)
	}
	r.root, err = os.OpenRoot(r.dir)
	return r, err
}

// several returns the slides of several files that a folder is or holds.
func (r *slideRoot) several(fsys fs.FS, dir string, d fs.DirEntry) []string {
	info, err := d.Info()
	if err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, ok := r.folders[dir]
	if !ok || !seen.changed.Equal(info.ModTime()) {
		seen = seenFolder{changed: info.ModTime()}
		if seen.slides, err = wsi.SlidesIn(fsys, dir); err != nil {
			return nil // a folder that cannot be read hides what is in it
		}
		r.folders[dir] = seen
	}
	return seen.slides
}

// walk calls add with where each slide lies in the folder and what it is
// called, until add returns false.
// Links that lead out of the folder are left out.
func (r *slideRoot) walk(ctx context.Context, add func(rel, name string) bool) error {
	if r.only != "" {
		if _, err := r.root.Stat(r.only); err == nil {
			add(r.only, r.only)
		}
		return nil
	}
	fsys := r.root.FS()
	return fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && p == ".":
			return err
		case err != nil:
			return nil // a folder that cannot be read hides what is in it
		case p != "." && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			several := r.several(fsys, p, d)
			for _, rel := range several {
				name := path.Base(rel)
				if len(several) == 1 { // the folder is the slide
					name = filepath.Base(filepath.Join(r.dir, p))
				}
				if !add(rel, name) {
					return fs.SkipAll
				}
			}
			if slices.Contains(several, p) || strings.Count(p, "/") >= maxDepth {
				return fs.SkipDir
			}
			return nil
		case !slices.Contains(slideExts, strings.ToLower(path.Ext(p))):
			return nil
		}
		if info, err := r.root.Stat(p); err == nil && info.Mode().IsRegular() && !add(p, path.Base(p)) {
			return fs.SkipAll
		}
		return nil
	})
}

func slideID(dir, rel string) string {
	h := sha256.Sum256([]byte(dir + "\x00" + rel))
	return hex.EncodeToString(h[:8])
}

// list returns all slides by name.
func (s *slides) list(ctx context.Context) ([]slideFile, error) {
	var out []slideFile
	if s.demo != nil {
		out = append(out, slideFile{id: slideID("", "demo"), name: "demo", rel: "demo"})
	}
	for _, r := range s.roots {
		err := r.walk(ctx, func(rel, name string) bool {
			out = append(out, slideFile{id: slideID(r.dir, rel), name: name, dir: r.dir, rel: rel})
			return len(out) < maxListed
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b slideFile) int { return strings.Compare(a.rel, b.rel) })
	return out, nil
}

// file returns the slide of an ID and a stamp that changes with its files.
func (s *slides) file(ctx context.Context, id string) (f slideFile, stamp string, err error) {
	all, err := s.list(ctx)
	if err != nil {
		return slideFile{}, "", err
	}
	i := slices.IndexFunc(all, func(f slideFile) bool { return f.id == id })
	if i < 0 {
		return slideFile{}, "", refuse(http.StatusNotFound, "no such slide; GET /v1/slides lists those there are")
	}
	f = all[i]
	if f.dir == "" {
		return f, id, nil
	}
	for _, r := range s.roots {
		if r.dir == f.dir {
			stamp, err := r.stamp(f.rel)
			if err != nil {
				return f, "", refuse(http.StatusNotFound, "the slide is not there any more")
			}
			return f, id + stamp, nil
		}
	}
	return f, "", refuse(http.StatusNotFound, "no such slide")
}

// stamp is made of the lengths and times of a slide's files: the file's own and
// those of the folder that it stands for.
func (r *slideRoot) stamp(rel string) (string, error) {
	info, err := r.root.Stat(rel)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	put := func(i fs.FileInfo) { fmt.Fprintln(&b, i.Name(), i.Size(), i.ModTime().UnixNano()) }
	put(info)
	folder := ""
	switch end := strings.ToLower(path.Ext(rel)); {
	case info.IsDir():
		folder = rel
	case end == ".mrxs":
		folder = strings.TrimSuffix(rel, path.Ext(rel))
	case !slices.Contains(slideExts, end): // DICOM, with more of the series beside it
		folder = path.Dir(rel)
	}
	if folder == "" {
		return b.String(), nil
	}
	entries, err := fs.ReadDir(r.root.FS(), folder)
	if err != nil {
		return b.String(), nil // opening it says what is wrong
	}
	for _, e := range entries[:min(len(entries), maxStamped)] {
		if i, err := e.Info(); err == nil && !e.IsDir() {
			put(i)
		}
	}
	return b.String(), nil
}
