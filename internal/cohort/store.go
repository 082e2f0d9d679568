package cohort

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/wholeslide"
)

// Store keeps the results of a cohort where every machine can reach them: a
// bucket. It is safe for use by many goroutines.
type Store interface {
	// Get copies an object to w. The error wraps fs.ErrNotExist if there is none.
	Get(ctx context.Context, name string, w io.Writer) error
	// Put makes an object of what r holds: all of it or nothing.
	Put(ctx context.Context, name string, r io.Reader) error
	// Delete removes an object; that there is none is no error.
	Delete(ctx context.Context, name string) error
	// List yields the names of the objects that begin with prefix.
	List(ctx context.Context, prefix string) iter.Seq2[string, error]
	io.Closer
}

var (
	storesMu sync.RWMutex
	stores   = map[string]func(ctx context.Context, address string) (Store, error){}
)

// RegisterStore makes OpenStore open addresses of a scheme such as "s3".
func RegisterStore(scheme string, open func(ctx context.Context, address string) (Store, error)) {
	storesMu.Lock()
	defer storesMu.Unlock()
	stores[scheme] = open
}

// OpenStore opens the folder of a bucket at an address such as s3://bucket/run.
// For paths of this machine it returns nil and no error.
func OpenStore(ctx context.Context, address string) (Store, error) {
	scheme, _, ok := strings.Cut(address, "://")
	if !ok || scheme == "" || strings.ContainsAny(scheme, `/\.`) {
		return nil, nil
	}
	storesMu.RLock()
	open := stores[scheme]
	storesMu.RUnlock()
	if open == nil {
		return nil, fmt.Errorf("%s://: this program knows no buckets: build that of examples/cloud, or give a file or folder of this machine", scheme)
	}
	return open(ctx, address)
}

// Mirror joins a folder of this machine to a Store. Files are copied when they
// are whole, and those of a cohort never change once they are there, but for the table,
// the report and the reason of a failure: so it needs no locks, and every attempt may
// be made twice.
type Mirror struct {
	Dir   string
	Store Store
}

// transfers is how many files are copied at once.
const transfers = 8

const partsFolder = "parts"

// partFile is where a part of a slide is kept, packed.
func partFile(s Slide, u Unit) string {
	return path.Join(slidesFolder, s.ID, partsFolder, fmt.Sprintf("%05d-of-%05d.tar.gz", u.Part, u.Parts))
}

// GetPlan fetches what the folder must hold before Open: the settings and the
// units.
func (m *Mirror) GetPlan(ctx context.Context) error {
	return m.get(ctx, []string{SettingsFile, UnitsFile})
}

// PutPlan stores the settings and the units.
func (m *Mirror) PutPlan(ctx context.Context) error {
	return m.put(ctx, []string{SettingsFile, UnitsFile})
}

// Begin fetches what is known of a unit's slide, and reports whether the unit
// is stored already.
func (m *Mirror) Begin(ctx context.Context, c *Cohort, u Unit) (stored bool, err error) {
	s := c.Slides[u.Slide]
	folder := path.Join(slidesFolder, s.ID)
	if err := m.get(ctx, []string{path.Join(folder, recordFile), path.Join(folder, failureFile)}); err != nil {
		return false, err
	}
	if done, err := c.Finished(s); done || err != nil {
		return done, err
	}
	if u.Parts == 1 {
		return false, nil
	}
	for name, err := range m.Store.List(ctx, partFile(s, u)) {
		if err != nil || name == partFile(s, u) {
			return err == nil, err
		}
	}
	return false, nil
}

// End stores what Search left of a unit: all outputs of a slide, or a part,
// packed, and of a slide that failed the reason.
func (m *Mirror) End(ctx context.Context, c *Cohort, u Unit, failed bool) error {
	s := c.Slides[u.Slide]
	if u.Parts == 1 || failed {
		return m.PutSlide(ctx, c, u.Slide)
	}
	pack, err := os.CreateTemp("", "slidesam-part-*")
	if err != nil {
		return err
	}
	defer os.Remove(pack.Name())
	defer pack.Close()
	if _, err := wholeslide.PackShard(c.folder(s), u.Part, u.Parts, pack); err != nil {
		return err
	}
	if _, err := pack.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := m.putTimes(ctx, s); err != nil {
		return err
	}
	if err := m.Store.Put(ctx, partFile(s, u), pack); err != nil {
		return fmt.Errorf("store %s: %w", partFile(s, u), err)
	}
	return nil
}

// PutSlide stores the outputs of a slide; the record goes last, so that
// a slide that is done has them all.
func (m *Mirror) PutSlide(ctx context.Context, c *Cohort, slide int) error {
	s := c.Slides[slide]
	files, err := os.ReadDir(c.folder(s))
	if err != nil {
		return err
	}
	var names, last []string
	for _, f := range files {
		switch {
		case !f.Type().IsRegular() || strings.HasPrefix(f.Name(), "."):
		case f.Name() == recordFile || f.Name() == failureFile:
			last = append(last, path.Join(slidesFolder, s.ID, f.Name()))
		default:
			names = append(names, path.Join(slidesFolder, s.ID, f.Name()))
		}
	}
	if err := m.putTimes(ctx, s); err != nil {
		return err
	}
	if err := m.put(ctx, names); err != nil {
		return err
	}
	if err := m.put(ctx, last); err != nil {
		return err
	}
	if done, err := c.Finished(s); !done || err != nil {
		return err
	}
	failure := path.Join(slidesFolder, s.ID, failureFile)
	if err := m.Store.Delete(ctx, failure); err != nil {
		return fmt.Errorf("remove %s: %w", failure, err)
	}
	return nil
}

func (m *Mirror) putTimes(ctx context.Context, s Slide) error {
	files, err := os.ReadDir(filepath.Join(m.Dir, slidesFolder, s.ID, timesFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var names []string
	for _, f := range files {
		if f.Type().IsRegular() && !strings.HasPrefix(f.Name(), ".") {
			names = append(names, path.Join(slidesFolder, s.ID, timesFolder, f.Name()))
		}
	}
	return m.put(ctx, names)
}

// GetParts fetches the parts of a slide that are stored.
func (m *Mirror) GetParts(ctx context.Context, c *Cohort, u Unit) error {
	s := c.Slides[u.Slide]
	for k := range u.Parts {
		name := partFile(s, Unit{u.Slide, k, u.Parts, 0})
		var b bytes.Buffer
		err := m.Store.Get(ctx, name, &b)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the merge says that it is missing
		}
		if err == nil {
			_, err = wholeslide.UnpackShard(c.folder(s), &b)
		}
		if err != nil {
			return fmt.Errorf("fetch %s: %w", name, err)
		}
	}
	return nil
}

// Forget removes what this machine has of a slide.
func (m *Mirror) Forget(c *Cohort, slide int) error { return os.RemoveAll(c.folder(c.Slides[slide])) }

// GetRecords fetches the records and times of all slides. Overlays follow as the
// report shows them.
func (m *Mirror) GetRecords(ctx context.Context, c *Cohort) error {
	known := map[string]bool{}
	for _, s := range c.Slides {
		known[s.ID] = true
	}
	var names []string
	for name, err := range m.Store.List(ctx, slidesFolder+"/") {
		if err != nil {
			return fmt.Errorf("list %s: %w", slidesFolder, err)
		}
		parts := strings.Split(name, "/")
		if len(parts) < 3 || !known[parts[1]] {
			continue
		}
		switch rest := parts[2:]; {
		case len(rest) == 1 && rest[0] == recordFile || rest[0] == failureFile:
		case len(rest) == 2 && rest[0] == timesFolder && filepath.IsLocal(rest[1]) && !strings.Contains(rest[1], `\`):
		default:
			continue
		}
		names = append(names, name)
	}
	c.fetch = func(s Slide, name string) error { return m.get(ctx, []string{path.Join(slidesFolder, s.ID, name)}) }
	return m.get(ctx, names)
}

// PutReport stores the table and the report.
func (m *Mirror) PutReport(ctx context.Context) error {
	return m.put(ctx, []string{TableFile, ParquetFile, TimesFile, ReportFile})
}

// get fetches files; those that the store does not have stay as they are.
func (m *Mirror) get(ctx context.Context, names []string) error {
	return each(ctx, names, func(ctx context.Context, name string) error {
		dir, file := filepath.Split(filepath.Join(m.Dir, filepath.FromSlash(name)))
		err := os.MkdirAll(dir, 0o777)
		if err == nil {
			err = atomicfile.WriteIn(filepath.Clean(dir), file, func(w io.Writer) error { return m.Store.Get(ctx, name, w) })
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("fetch %s: %w", name, err)
		}
		return nil
	})
}

// put stores files; those that are not there are left out.
func (m *Mirror) put(ctx context.Context, names []string) error {
	return each(ctx, names, func(ctx context.Context, name string) error {
		f, err := os.Open(filepath.Join(m.Dir, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			defer f.Close()
			err = m.Store.Put(ctx, name, f)
		}
		if err != nil {
			return fmt.Errorf("store %s: %w", name, err)
		}
		return nil
	})
}

func each(ctx context.Context, names []string, do func(ctx context.Context, name string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(transfers)
	for _, name := range names {
		g.Go(func() error { return do(ctx, name) })
	}
	return g.Wait()
}
