// Package buckets lets the library open slides in buckets that need credentials,
// and cohorts keep their results in them. Importing it is all:
//
//	import _ "github.com/slidesam/sam/examples/cloud/buckets"
//
//	s, err := sam.OpenSlide("s3://lab/slides/a.svs?region=eu-central-1")
//
// Addresses are SCHEME://BUCKET/KEY: s3 is Amazon S3 or, with ?endpoint=, whatever
// speaks its protocol, gs is Google Cloud Storage, azblob is Azure Blob Storage, and
// file is a folder of this machine. Credentials and options are those of each
// provider's own tools, and of gocloud.dev, whose parameters may follow a question
// mark: https://gocloud.dev/howto/blob/. Where there are no credentials of Amazon or
// Google at all, slides of their public buckets are read as by package remote.
package buckets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"path"
	"strings"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob"
	_ "gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/gcsblob"
	_ "gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/slidesam/sam/internal/cohort"
	"github.com/slidesam/sam/internal/httpfs"
	"github.com/slidesam/sam/internal/wsi"
	_ "github.com/slidesam/sam/remote" // registers first, so that what is registered here counts
)

// maxEntries is the most files of a folder that are listed.
const maxEntries = 1 << 16

func init() {
	for _, scheme := range []string{"s3", "gs", "azblob", "file"} {
		cohort.RegisterStore(scheme, func(ctx context.Context, address string) (cohort.Store, error) {
			p, err := open(ctx, address)
			if err != nil {
				return nil, err
			}
			return store{p.bucket, prefix(p.key)}, nil
		})
		wsi.RegisterRemote(scheme, func(address string) (wsi.RemoteFS, string, error) {
			ctx := context.Background()
			if anonymous(ctx, scheme) && !strings.Contains(address, "?") {
				return httpfs.Public(address)
			}
			p, err := open(ctx, address)
			if err != nil {
				return nil, "", err
			}
			return p.files()
		})
	}
}

// place is a key of an open bucket.
type place struct {
	bucket *blob.Bucket
	scheme string
	name   string
	key    string
}

// open opens the bucket of an address.
func open(ctx context.Context, address string) (place, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" && u.Scheme != "file" || u.User != nil || u.Fragment != "" {
		return place{}, fmt.Errorf("buckets: want SCHEME://BUCKET/KEY, with a ? in a key written %%3F and a # written %%23")
	}
	p := place{scheme: u.Scheme, name: u.Host, key: strings.TrimPrefix(u.Path, "/")}
	at := url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: u.RawQuery}
	if u.Scheme == "file" { // the whole path is a folder: the last part is the key of a slide
		dir, base := path.Split(u.Path)
		at.Path, p.key = dir, base
		q := u.Query()
		q.Set("no_tmp_dir", "true")
		q.Set("metadata", "skip")
		q.Set("create_dir", "true")
		at.RawQuery = q.Encode()
	}
	if p.bucket, err = blob.OpenBucket(ctx, at.String()); err != nil {
		return place{}, fmt.Errorf("buckets: open %s://%s: %w", u.Scheme, u.Host, err)
	}
	return p, nil
}

// prefix is a folder's key as names of its objects begin.
func prefix(folder string) string {
	if folder = strings.Trim(folder, "/"); folder == "" {
		return ""
	}
	return folder + "/"
}

// files returns the folder that the key of a slide lies in, and the slide's name.
func (p place) files() (wsi.RemoteFS, string, error) {
	folder, name := httpfs.Split("/" + p.key)
	pre := prefix(folder)
	f := httpfs.New(p.scheme+"://"+p.name+"/"+folder, httpfs.Options{
		Range: func(ctx context.Context, name string, off, n int64) ([]byte, httpfs.State, error) {
			return p.read(ctx, pre+name, off, n)
		},
		List: func(ctx context.Context, dir string) ([]fs.DirEntry, error) {
			if dir != "." {
				return p.list(ctx, pre+dir+"/")
			}
			return p.list(ctx, pre)
		},
	})
	return closing{f, p.bucket}, name, nil
}

// closing closes a bucket with its files.
type closing struct {
	*httpfs.FS
	bucket *blob.Bucket
}

func (c closing) Close() error { return errors.Join(c.FS.Close(), c.bucket.Close()) }

func (p place) read(ctx context.Context, key string, off, n int64) (b []byte, s httpfs.State, err error) {
	if off == 0 { // of an object without bytes there is no range
		a, err := p.bucket.Attributes(ctx, key)
		if err != nil {
			return nil, s, cause(err)
		}
		if a.Size == 0 {
			return nil, httpfs.State{Version: a.ModTime.UTC().String(), Time: a.ModTime}, nil
		}
	}
	r, err := p.bucket.NewRangeReader(ctx, key, off, n, nil)
	if err != nil {
		return nil, s, cause(err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	s = httpfs.State{Size: r.Size(), Version: version(r), Time: r.ModTime()}
	b = make([]byte, max(0, min(n, s.Size-off)))
	if _, err = io.ReadFull(r, b); err != nil {
		return nil, s, cause(err)
	}
	return b, s, nil
}

func (p place) list(ctx context.Context, pre string) (out []fs.DirEntry, err error) {
	i := p.bucket.List(&blob.ListOptions{Prefix: pre, Delimiter: "/"})
	for {
		o, err := i.Next(ctx)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, cause(err)
		}
		if name := strings.TrimPrefix(o.Key, pre); !o.IsDir && name != "" {
			if len(out) >= maxEntries {
				return nil, fmt.Errorf("more than %d files below %s", maxEntries, pre)
			}
			out = append(out, httpfs.Entry(name, o.Size))
		}
	}
}

// cause gives the errors of gocloud.dev the meaning that package fs has for them.
func cause(err error) error {
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case gcerrors.PermissionDenied:
		return fmt.Errorf("%w: %w", fs.ErrPermission, err)
	}
	return err
}

// store keeps a cohort below a prefix.
type store struct {
	bucket *blob.Bucket
	prefix string
}

// Get implements [cohort.Store].
func (s store) Get(ctx context.Context, name string, w io.Writer) error {
	r, err := s.bucket.NewReader(ctx, s.prefix+name, nil)
	if err != nil {
		return cause(err)
	}
	_, err = io.Copy(w, r)
	return cause(errors.Join(err, r.Close()))
}

// Put implements [cohort.Store]: gocloud.dev's writers make an object when they
// are closed, and none if their context has ended before.
func (s store) Put(ctx context.Context, name string, r io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.bucket.NewWriter(ctx, s.prefix+name, nil)
	if err != nil {
		return cause(err)
	}
	if _, err := io.Copy(w, r); err != nil {
		cancel()
		_ = w.Close() // it says that it was cancelled
		return cause(err)
	}
	return cause(w.Close())
}

// Delete implements [cohort.Store].
func (s store) Delete(ctx context.Context, name string) error {
	if err := s.bucket.Delete(ctx, s.prefix+name); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return cause(err)
	}
	return nil
}

// List implements [cohort.Store].
func (s store) List(ctx context.Context, pre string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		i := s.bucket.List(&blob.ListOptions{Prefix: s.prefix + pre})
		for {
			o, err := i.Next(ctx)
			if err == io.EOF {
				return
			}
			if err != nil {
				yield("", cause(err))
				return
			}
			if !yield(strings.TrimPrefix(o.Key, s.prefix), nil) {
				return
			}
		}
	}
}

// Close implements [cohort.Store].
func (s store) Close() error { return s.bucket.Close() }
