package wsi

import (
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/slidesam/sam/internal/tiff"
)

// RemoteFS are the files around a slide that is not on this machine.
type RemoteFS interface {
	fs.FS
	io.Closer
}

// Remote opens the folder of the slide at an address, and returns the
// slide's name in it, "." for the folder itself.
type Remote func(address string) (fsys RemoteFS, name string, err error)

var (
	remoteMu sync.RWMutex
	remotes  = map[string]Remote{}
)

// RegisterRemote makes Open read addresses of a scheme such as "https".
func RegisterRemote(scheme string, r Remote) {
	remoteMu.Lock()
	defer remoteMu.Unlock()
	remotes[scheme] = r
}

// remoteOf returns what opens an address; nil for paths of this machine.
func remoteOf(p string) (Remote, error) {
	scheme, _, ok := strings.Cut(p, "://")
	if !ok || scheme == "" || strings.ContainsAny(scheme, `/\.`) {
		return nil, nil
	}
	remoteMu.RLock()
	defer remoteMu.RUnlock()
	if r := remotes[strings.ToLower(scheme)]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("addresses of %s:// need the package github.com/slidesam/sam/remote in the program: %w", scheme, ErrFormat)
}

// Name is what a slide's file or folder is called, without where it lies and
// without the query of an address, which may be a secret.
func Name(p string) string {
	if address, _, ok := cutQuery(p); ok {
		return path.Base(strings.TrimRight(address, "/"))
	}
	return filepath.Base(p)
}

// Beside returns what lies beside a file of this machine or at an address, whose
// query it has too.
func Beside(p, name string) string {
	if address, query, ok := cutQuery(p); ok {
		return address[:strings.LastIndex(address, "/")+1] + name + query
	}
	return filepath.Join(filepath.Dir(p), name)
}

// cutQuery parts an address from its query; ok says that p is an address.
func cutQuery(p string) (address, query string, ok bool) {
	if !strings.Contains(p, "://") {
		return p, "", false
	}
	if i := strings.IndexAny(p, "?#"); i >= 0 {
		return p[:i], p[i:], true
	}
	return p, "", true
}

// openRemote opens the slide at an address.
func openRemote(r Remote, address string, o Options) (*Slide, error) {
	fsys, name, err := r(address)
	if err != nil {
		return nil, err
	}
	s := &Slide{path: name, opt: o, cache: newTileCache(o.CacheBytes), assoc: map[string]func() (image.Image, error){}}
	if err := s.openFrom(fsys, name); err != nil {
		if s.close != nil {
			s.close()
		}
		fsys.Close()
		return nil, err
	}
	inner := s.close
	s.close = func() error { return errors.Join(inner(), fsys.Close()) }
	s.overrideMPP(o)
	return s, nil
}

// openFrom opens the slide that name is in fsys, whatever its format.
func (s *Slide) openFrom(fsys fs.FS, name string) error {
	if name == "." || strings.EqualFold(path.Ext(name), ".mrxs") {
		return s.openIn(fsys, name)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	r, ok := f.(io.ReaderAt)
	if err == nil && !ok {
		err = fmt.Errorf("%s cannot be read in parts: %w", name, ErrFormat)
	}
	head := make([]byte, 512)
	if err == nil {
		var n int
		if n, err = r.ReadAt(head, 0); n > 0 {
			head, err = head[:n], nil
		}
	}
	if err != nil {
		f.Close()
		return err
	}
	if len(head) >= 132 && string(head[128:132]) == "DICM" {
		f.Close()
		return s.openIn(fsys, name)
	}
	if err = foreign(name, head); err == nil {
		err = s.openReader(r, st.Size())
	}
	if errors.Is(err, tiff.ErrNotTIFF) {
		err = fmt.Errorf("neither TIFF nor DICOM: %w", ErrFormat)
	}
	if err != nil {
		f.Close()
		return err
	}
	s.close = f.Close
	return nil
}
