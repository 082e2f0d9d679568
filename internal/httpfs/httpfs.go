// Package httpfs reads files of a web server by range requests, as an fs.FS
// whose files are io.ReaderAt.
//
// Blocks of 128 KiB lie in a cache with a bound, neighbours are fetched in
// one request, and requests that fail for a moment are made again. The
// server must answer range requests. Every answer must be of the file as it
// was when it was opened, by its ETag or its time of change and its length:
// a file that changes under a reader is an error, never a mixture.
//
//	fsys := httpfs.New("https://example.org/slides/", httpfs.Options{})
//	f, err := fsys.Open("a.svs")
//	n, err := f.(io.ReaderAt).ReadAt(b, 1<<20)
package httpfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	blockSize    = 1 << 17
	maxRun       = 32      // blocks fetched in one request
	maxFile      = 1 << 44 // bytes
	defaultCache = 64 << 20
	tries        = 4
)

// ErrChanged is wrapped by the error for a file that is no longer what it
// was when it was opened.
var ErrChanged = errors.New("the file has changed on the server")

// ErrNoRanges is wrapped by the error for a server that sends whole files
// only.
var ErrNoRanges = errors.New("the server does not answer range requests")

// Options changes how files are read. The zero value is the default.
type Options struct {
	// CacheBytes bounds the blocks that are kept; 0 means 64 MiB.
	CacheBytes int64
	// Client makes the requests; nil is one that follows up to ten
	// redirects and gives up on an answer after a minute.
	Client *http.Client
	// List returns the entries of a folder; nil means that folders cannot
	// be listed.
	List func(ctx context.Context, dir string) ([]fs.DirEntry, error)
	// Range reads files that lie on no web server: at most n bytes from off
	// on. Its error wraps fs.ErrNotExist or fs.ErrPermission where that is why;
	// after any other it is asked again. With it New's address only says what
	// to call the files.
	Range func(ctx context.Context, name string, off, n int64) ([]byte, State, error)
}

// State tells one version of a file from another.
type State struct {
	Size    int64
	Version string
	Time    time.Time
}

// FS are the files below an address. It is safe for use by many goroutines.
type FS struct {
	base  string
	query string
	opt   Options
	cache *cache
	ctx   context.Context
	stop  context.CancelFunc
}

// New returns the files below base, an address of http or https. A query of
// base, such as the signature of one that is made for a short time, is sent
// with every request.
func New(base string, o Options) *FS {
	if o.Client == nil {
		o.Client = &http.Client{Timeout: time.Minute}
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCache
	}
	base, query, _ := strings.Cut(base, "?")
	f := &FS{base: strings.TrimSuffix(base, "/"), query: query, opt: o, cache: newCache(o.CacheBytes)}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// Close ends requests under way. Files of the FS cannot be read afterwards.
func (f *FS) Close() error {
	f.stop()
	return nil
}

// Open opens a file. The error wraps fs.ErrNotExist or fs.ErrPermission as
// the server's answer says.
func (f *FS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	file := &file{fs: f, name: name, url: f.address(name)}
	if err := file.begin(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return file, nil
}

// ReadDir lists a folder; errors.ErrUnsupported is wrapped if it cannot.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	if f.opt.List == nil {
		return nil, &fs.PathError{Op: "list", Path: name, Err: errors.ErrUnsupported}
	}
	return f.opt.List(f.ctx, name)
}

func (f *FS) address(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	u := f.base + "/" + strings.Join(parts, "/")
	if f.query != "" {
		u += "?" + f.query
	}
	return u
}

// file is an open file.
type file struct {
	fs   *FS
	name string
	url  string
	size int64
	etag string // or the time of change, as the server writes it
	time time.Time
	pos  int64
}

// begin asks for the first block, which tells length and version.
func (f *file) begin() error {
	b, err := f.request(0, blockSize, true)
	if err != nil {
		return err
	}
	if len(b) > 0 {
		f.fs.cache.put(key{f.url, f.etag, 0}, b)
	}
	return nil
}

// request fetches n bytes from off on, fewer at the file's end.
func (f *file) request(off, n int64, first bool) ([]byte, error) {
	var err error
	for try := range tries {
		if try > 0 {
			select {
			case <-f.fs.ctx.Done():
				return nil, fs.ErrClosed
			case <-time.After(time.Duration(100<<(2*try-2)) * time.Millisecond):
			}
		}
		var b []byte
		var again bool
		if b, again, err = f.once(off, n, first); err == nil || !again {
			return b, err
		}
	}
	return nil, fmt.Errorf("after %d tries: %w", tries, err)
}

// once makes a request; again says whether another may do better.
func (f *file) once(off, n int64, first bool) (b []byte, again bool, err error) {
	if f.fs.opt.Range != nil {
		return f.ranged(off, n, first)
	}
	req, err := http.NewRequestWithContext(f.fs.ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	req.Header.Set("Accept-Encoding", "identity")
	if f.etag != "" && !strings.HasPrefix(f.etag, "W/") {
		req.Header.Set("If-Range", f.etag)
	}
	resp, err := f.fs.opt.Client.Do(req)
	if err != nil {
		if f.fs.ctx.Err() != nil {
			return nil, false, fs.ErrClosed
		}
		return nil, true, redact(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusPartialContent:
	case http.StatusOK:
		if !first {
			return nil, false, ErrChanged
		}
		if resp.ContentLength == 0 { // an empty file has no ranges
			f.version(resp)
			return nil, false, nil
		}
		return nil, false, ErrNoRanges
	case http.StatusRequestedRangeNotSatisfiable:
		if first {
			f.version(resp)
			return nil, false, nil
		}
		return nil, false, ErrChanged
	case http.StatusPreconditionFailed:
		return nil, false, ErrChanged
	case http.StatusNotFound, http.StatusGone:
		if !first {
			return nil, false, ErrChanged
		}
		return nil, false, fs.ErrNotExist
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, false, fmt.Errorf("%s: %w", resp.Status, fs.ErrPermission)
	default:
		again := resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests
		return nil, again, errors.New(resp.Status)
	}
	from, to, size, err := contentRange(resp.Header.Get("Content-Range"))
	if err != nil {
		return nil, false, err
	}
	if first {
		f.size = size
		f.version(resp)
	}
	if size != f.size || tag(resp) != f.etag {
		return nil, false, ErrChanged
	}
	want := min(n, f.size-off)
	if from != off || to-from+1 != want {
		return nil, false, fmt.Errorf("bytes %d to %d instead of %d from %d on", from, to, want, off)
	}
	b = make([]byte, want)
	if _, err := io.ReadFull(resp.Body, b); err != nil {
		if f.fs.ctx.Err() != nil {
			return nil, false, fs.ErrClosed
		}
		return nil, true, redact(err)
	}
	return b, false, nil
}

// ranged is once for files of Options.Range.
func (f *file) ranged(off, n int64, first bool) (b []byte, again bool, err error) {
	b, now, err := f.fs.opt.Range(f.fs.ctx, f.name, off, n)
	switch {
	case f.fs.ctx.Err() != nil:
		return nil, false, fs.ErrClosed
	case errors.Is(err, fs.ErrNotExist) && !first:
		return nil, false, ErrChanged
	case err != nil:
		return nil, !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission), err
	case now.Size < 0 || now.Size > maxFile:
		return nil, false, fmt.Errorf("a file of %d bytes", now.Size)
	}
	if first {
		f.size, f.etag, f.time = now.Size, now.Version, now.Time
	}
	if now.Size != f.size || now.Version != f.etag {
		return nil, false, ErrChanged
	}
	if want := min(n, f.size-off); int64(len(b)) != want {
		return nil, true, fmt.Errorf("%d bytes instead of %d from %d on", len(b), want, off)
	}
	return b, false, nil
}

// version remembers which version of the file the first answer was of.
func (f *file) version(resp *http.Response) {
	f.etag = tag(resp)
	f.time, _ = http.ParseTime(resp.Header.Get("Last-Modified"))
}

func tag(resp *http.Response) string {
	if e := resp.Header.Get("ETag"); e != "" {
		return e
	}
	return resp.Header.Get("Last-Modified")
}

// redact leaves the address out of an error: a query may be a secret.
func redact(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// contentRange reads "bytes FROM-TO/SIZE".
func contentRange(s string) (from, to, size int64, err error) {
	if _, err := fmt.Sscanf(s, "bytes %d-%d/%d", &from, &to, &size); err != nil || from < 0 || to < from || size <= to || size > maxFile {
		return 0, 0, 0, fmt.Errorf("content range %s", strconv.Quote(s))
	}
	return from, to, size, nil
}

// ReadAt reads through the cache.
func (f *file) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: fs.ErrInvalid}
	}
	n := 0
	for n < len(b) && off+int64(n) < f.size {
		at := off + int64(n)
		end := min(off+int64(len(b)), f.size)
		blk, err := f.block(at/blockSize, (end-1)/blockSize)
		if err != nil {
			return n, &fs.PathError{Op: "read", Path: f.name, Err: err}
		}
		n += copy(b[n:], blk[at%blockSize:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// block returns block i. Of the blocks up to last that are missing too, a
// run is fetched with it.
func (f *file) block(i, last int64) ([]byte, error) {
	k := key{f.url, f.etag, i}
	return f.fs.cache.get(k, func() ([]byte, error) {
		n := int64(1)
		for n < maxRun && i+n <= last && !f.fs.cache.has(key{f.url, f.etag, i + n}) {
			n++
		}
		b, err := f.request(i*blockSize, n*blockSize, false)
		if err != nil {
			return nil, err
		}
		for j := int64(1); j < n; j++ {
			part := b[j*blockSize : min((j+1)*blockSize, int64(len(b)))]
			f.fs.cache.put(key{f.url, f.etag, i + j}, append([]byte{}, part...))
		}
		return append([]byte{}, b[:min(blockSize, len(b))]...), nil
	})
}

// Read reads on from where the last Read ended.
func (f *file) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := f.ReadAt(b, f.pos)
	f.pos += int64(n)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

func (f *file) Stat() (fs.FileInfo, error) { return f, nil }

func (f *file) Close() error { return nil }

// The methods of fs.FileInfo.

func (f *file) Name() string       { return path.Base(f.name) }
func (f *file) Size() int64        { return f.size }
func (f *file) Mode() fs.FileMode  { return 0o444 }
func (f *file) ModTime() time.Time { return f.time }
func (f *file) IsDir() bool        { return false }
func (f *file) Sys() any           { return nil }
