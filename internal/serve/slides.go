package serve

import (
	"cmp"
	"context"
	"crypto/sha256"
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

	"github.com/slidesam/sam"
)

const (
	// maxOpenSlides is how many slides are kept open that nobody reads.
	maxOpenSlides = 8
	// maxListed bounds the slides that are listed.
	maxListed = 10_000
	// maxDepth is how many folders below a given one are looked into.
	maxDepth = 4
)

// slideExts are the ends of names that slides have.
var slideExts = []string{".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".qptiff", ".png", ".jpg", ".jpeg"}

// slideFile is a slide that can be asked for. Its ID says nothing about where
// it lies.
type slideFile struct {
	id   string
	name string // of the file
	dir  string // of the folder given; empty for the demonstration
	rel  string // in it
}

// path is where the slide lies.
func (f slideFile) path() string { return filepath.Join(f.dir, filepath.FromSlash(f.rel)) }

// slides are the slides in the folders given.
type slides struct {
	roots []slideRoot
	demo  *sam.Slide

	mu   sync.Mutex
	open map[string]*openSlide
	tick int64
}

type slideRoot struct {
	dir  string
	root *os.Root
	only string // name of the one slide, empty: all in the folder
}

// openSlide is a slide while somebody reads it, and for a while after.
type openSlide struct {
	slideFile
	slide  *sam.Slide
	size   sam.Size
	mpp    float64 // of the file, 0: unknown
	digest string  // of what the file is like: it changes with the file

	users int
	used  int64
}

// pixel is the mpp that the slide was opened with, which serves for reading.
func (o *openSlide) pixel() float64 { return cmp.Or(o.mpp, 1) }

func newSlides(c Config) (*slides, error) {
	s := &slides{demo: c.Demo, open: map[string]*openSlide{}}
	for _, p := range c.Slides {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(abs)
		if err != nil {
			return nil, fmt.Errorf("slides: %w", err)
		}
		r := slideRoot{dir: abs}
		if !info.IsDir() {
			r.dir, r.only = filepath.Split(abs)
		}
		if r.root, err = os.OpenRoot(r.dir); err != nil {
			return nil, fmt.Errorf("slides: %w", err)
		}
		s.roots = append(s.roots, r)
	}
	return s, nil
}

func slideID(dir, rel string) string {
	h := sha256.Sum256([]byte(dir + "\x00" + rel))
	return hex.EncodeToString(h[:8])
}

// list returns all slides by name. Links that lead out of their folder are
// left out.
func (s *slides) list(ctx context.Context) ([]slideFile, error) {
	var out []slideFile
	if s.demo != nil {
		out = append(out, slideFile{id: slideID("", "demo"), name: "demo", rel: "demo"})
	}
	for _, r := range s.roots {
		err := fs.WalkDir(r.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil && p == ".":
				return err
			case err != nil:
				return nil // a folder that cannot be read hides what is in it
			case d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || r.only != "" || strings.Count(p, "/") >= maxDepth):
				return fs.SkipDir
			case d.IsDir() || strings.HasPrefix(d.Name(), ".") || !slices.Contains(slideExts, strings.ToLower(path.Ext(p))) || r.only != "" && p != r.only:
				return nil
			case len(out) >= maxListed:
				return fs.SkipAll
			}
			if info, err := r.root.Stat(p); err == nil && info.Mode().IsRegular() {
				out = append(out, slideFile{id: slideID(r.dir, p), name: path.Base(p), dir: r.dir, rel: p})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b slideFile) int { return strings.Compare(a.rel, b.rel) })
	return out, nil
}

// file returns the slide of an ID and what the file is like.
func (s *slides) file(ctx context.Context, id string) (slideFile, fs.FileInfo, error) {
	all, err := s.list(ctx)
	if err != nil {
		return slideFile{}, nil, err
	}
	i := slices.IndexFunc(all, func(f slideFile) bool { return f.id == id })
	if i < 0 {
		return slideFile{}, nil, refuse(http.StatusNotFound, "no such slide; GET /v1/slides lists those there are")
	}
	f := all[i]
	if f.dir == "" {
		return f, nil, nil
	}
	for _, r := range s.roots {
		if r.dir == f.dir {
			info, err := r.root.Stat(f.rel)
			if err != nil {
				return f, nil, refuse(http.StatusNotFound, "the slide is not there any more")
			}
			return f, info, nil
		}
	}
	return f, nil, refuse(http.StatusNotFound, "no such slide")
}

// acquire opens a slide, or returns it if it is open. The caller calls release
// once when done.
func (s *slides) acquire(ctx context.Context, id string) (o *openSlide, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o = s.open[id]
	if o == nil {
		if o, err = s.openFile(ctx, id); err != nil {
			return nil, nil, err
		}
		s.open[id] = o
	}
	s.tick++
	o.used = s.tick
	o.users++
	s.trim()
	return o, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		o.users--
		s.trim()
	}, nil
}

func (s *slides) openFile(ctx context.Context, id string) (*openSlide, error) {
	f, info, err := s.file(ctx, id)
	if err != nil {
		return nil, err
	}
	o := &openSlide{slideFile: f, slide: s.demo}
	stamp := id
	if info != nil {
		stamp = fmt.Sprint(id, info.Size(), info.ModTime().UnixNano())
		if o.slide, err = openEven(f.path()); err != nil {
			return nil, err
		}
		real, err := sam.OpenSlide(f.path())
		if err != nil {
			return nil, slideRefusal(err)
		}
		o.mpp, _ = real.MPP()
		if err := real.Close(); err != nil {
			return nil, err
		}
	} else {
		o.mpp, _ = s.demo.MPP()
	}
	h := sha256.Sum256([]byte(stamp))
	o.digest, o.size = hex.EncodeToString(h[:8]), o.slide.Size()
	return o, nil
}

// openEven opens a slide with the same pixel size along both axes, 1 if it is
// unknown, so that every slide can be read at any reduction of its pixels.
func openEven(file string) (*sam.Slide, error) {
	s, err := sam.OpenSlide(file)
	if err != nil {
		return nil, slideRefusal(err)
	}
	x, y := s.MPP()
	if x > 0 && x == y {
		return s, nil
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	s, err = sam.OpenSlideWith(file, sam.SlideOptions{MPP: cmp.Or(x, 1)})
	if err != nil {
		return nil, slideRefusal(err)
	}
	return s, nil
}

// slideRefusal tells a file that is no slide from a failure of the server's.
func slideRefusal(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return refuse(http.StatusForbidden, "the slide may not be read")
	}
	return refuse(http.StatusUnprocessableEntity, "the file is damaged or no slide that can be read")
}

// trim closes the slides that were not used for longest.
func (s *slides) trim() {
	for len(s.open) > maxOpenSlides {
		var oldest *openSlide
		for _, o := range s.open {
			if o.users == 0 && (oldest == nil || o.used < oldest.used) {
				oldest = o
			}
		}
		if oldest == nil {
			return
		}
		delete(s.open, oldest.id)
		_ = oldest.close() // it was only read
	}
}

func (o *openSlide) close() error {
	if o.dir == "" {
		return nil
	}
	return o.slide.Close()
}

// close closes all slides; nobody may read any more.
func (s *slides) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, o := range s.open {
		errs = append(errs, o.close())
	}
	clear(s.open)
	for _, r := range s.roots {
		errs = append(errs, r.root.Close())
	}
	return errors.Join(errs...)
}
