package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slidesam/sam/eval"
)

// ErrLayout is wrapped by every error about files that are missing or of
// another shape than the data set should have.
var ErrLayout = errors.New("not as this data set should be")

// ErrFormat is wrapped by every error about a file's content.
var ErrFormat = errors.New("malformed file")

// Set is a data set on disk. It is safe for any number of goroutines.
type Set struct {
	name    string
	classes []string
	entries []entry
}

type entry struct {
	item eval.Item
	load func(ctx context.Context) (*eval.Picture, error)
}

// Name returns the data set's name.
func (s *Set) Name() string { return s.name }

// Classes returns the names of the classes that instances may have, nil if
// they have none.
func (s *Set) Classes() []string { return slices.Clone(s.classes) }

// Len returns the number of pictures.
func (s *Set) Len() int { return len(s.entries) }

// Item names picture i, 0 <= i < Len.
func (s *Set) Item(i int) eval.Item { return s.entries[i].item }

// Load reads picture i.
func (s *Set) Load(ctx context.Context, i int) (*eval.Picture, error) {
	if i < 0 || i >= len(s.entries) {
		return nil, fmt.Errorf("dataset: load %s: picture %d of %d", s.name, i, len(s.entries))
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("dataset: load %s: %w", s.name, err)
	}
	e := s.entries[i]
	p, err := e.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("dataset: load %s %s: %w", s.name, e.item.ID, err)
	}
	p.Item = e.item
	if err := p.Check(); err != nil {
		return nil, fmt.Errorf("dataset: load %s: %w", s.name, err)
	}
	return p, nil
}

// First returns the set of the first n pictures, all if there are fewer.
func (s *Set) First(n int) *Set {
	out := *s
	out.entries = s.entries[:min(max(n, 0), len(s.entries))]
	return &out
}

func (s *Set) add(item eval.Item, load func(ctx context.Context) (*eval.Picture, error)) {
	s.entries = append(s.entries, entry{item, load})
}

func (s *Set) has(id string) bool {
	return slices.ContainsFunc(s.entries, func(e entry) bool { return e.item.ID == id })
}

// finish checks that there is something, and that names are unique.
func (s *Set) finish(dir, expected string) (*Set, error) {
	if len(s.entries) == 0 {
		return nil, fmt.Errorf("dataset: open %s: %w: nothing in %s, want %s", s.name, ErrLayout, dir, expected)
	}
	seen := map[string]bool{}
	for _, e := range s.entries {
		if seen[e.item.ID] {
			return nil, fmt.Errorf("dataset: open %s: %w: two pictures named %s in %s", s.name, ErrLayout, e.item.ID, dir)
		}
		seen[e.item.ID] = true
	}
	return s, nil
}

func (s *Set) wrap(err error) error { return fmt.Errorf("dataset: open %s: %w", s.name, err) }

// files returns the files of dir with one of the extensions (".png", lower
// case), sorted by name. Names that begin with a dot are left out.
func files(dir string, exts ...string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLayout, err)
	}
	var out []string
	for _, e := range list {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || !slices.Contains(exts, strings.ToLower(filepath.Ext(e.Name()))) {
			continue
		}
		out = append(out, filepath.Join(dir, e.Name()))
	}
	return out, nil
}

// folders returns the folders of dir, sorted by name.
func folders(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLayout, err)
	}
	var out []string
	for _, e := range list {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// stem returns a file's name without folder and extension.
func stem(path string) string {
	b := filepath.Base(path)
	return strings.TrimSuffix(b, filepath.Ext(b))
}

// partners finds for each file the one with the same stem among others, and
// says which have none, on both sides.
func partners(list, others []string, what string) (map[string]string, error) {
	by := map[string]string{}
	for _, o := range others {
		if p, ok := by[stem(o)]; ok {
			return nil, fmt.Errorf("%w: both %s and %s could be the %s of %s", ErrLayout, p, o, what, stem(o))
		}
		by[stem(o)] = o
	}
	out := map[string]string{}
	var alone []string
	for _, f := range list {
		o, ok := by[stem(f)]
		if !ok {
			alone = append(alone, filepath.Base(f))
			continue
		}
		out[f] = o
		delete(by, stem(f))
	}
	if len(alone) > 0 {
		return nil, fmt.Errorf("%w: no %s for %s", ErrLayout, what, few(alone))
	}
	if len(by) > 0 {
		var rest []string
		for _, o := range by {
			rest = append(rest, filepath.Base(o))
		}
		slices.Sort(rest)
		return nil, fmt.Errorf("%w: no picture for %s %s", ErrLayout, what, few(rest))
	}
	return out, nil
}

func few(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}
