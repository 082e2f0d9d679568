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
	"path/filepath"
	"strings"
	"sync"

	"github.com/slidesam/sam"
)

// maxOpenSlides is how many slides are kept open that nobody reads.
const maxOpenSlides = 8

// slideFile is a slide that can be asked for. Its ID says nothing about where
// it lies.
type slideFile struct {
	id   string
	name string // of the file, or of the folder that holds nothing else
	dir  string // of the folder given; empty for the demonstration
	rel  string // in it
}

// path is where the slide lies.
func (f slideFile) path() string { return filepath.Join(f.dir, filepath.FromSlash(f.rel)) }

// slides are the slides in the folders given.
type slides struct {
	roots []*slideRoot
	demo  *sam.Slide

	mu   sync.Mutex
	open map[string]*openSlide
	tick int64
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
		r, err := openSlideRoot(p)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("slides: %w", err), s.close())
		}
		s.roots = append(s.roots, r)
	}
	return s, nil
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
	f, stamp, err := s.file(ctx, id)
	if err != nil {
		return nil, err
	}
	o := &openSlide{slideFile: f, slide: s.demo}
	if f.dir == "" {
		o.mpp, _ = s.demo.MPP()
	} else {
		if o.slide, err = openEven(f); err != nil {
			return nil, err
		}
		real, err := sam.OpenSlide(f.path())
		if err != nil {
			return nil, f.refusal(err)
		}
		o.mpp, _ = real.MPP()
		if err := real.Close(); err != nil {
			return nil, err
		}
	}
	h := sha256.Sum256([]byte(stamp))
	o.digest, o.size = hex.EncodeToString(h[:8]), o.slide.Size()
	return o, nil
}

// openEven opens a slide with the same pixel size along both axes, 1 if it is
// unknown, so that every slide can be read at any reduction of its pixels.
func openEven(f slideFile) (*sam.Slide, error) {
	s, err := sam.OpenSlide(f.path())
	if err != nil {
		return nil, f.refusal(err)
	}
	x, y := s.MPP()
	if x > 0 && x == y {
		return s, nil
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	s, err = sam.OpenSlideWith(f.path(), sam.SlideOptions{MPP: cmp.Or(x, 1)})
	if err != nil {
		return nil, f.refusal(err)
	}
	return s, nil
}

// refusal tells a file that is no slide, or of a format that is not read, from
// a failure of the server's. The reason names the file, not where it lies.
func (f slideFile) refusal(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return refuse(http.StatusForbidden, "the slide may not be read")
	}
	if errors.Is(err, sam.ErrSlideFormat) {
		_, reason, ok := strings.Cut(err.Error(), f.path()+": ")
		if ok && !strings.Contains(reason, f.dir) {
			return refuse(http.StatusUnprocessableEntity, "%s: %s", f.name, reason)
		}
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
