package httpfs_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/httpfs"
)

// content is a file of a megabyte and some bytes.
func content() []byte {
	b := make([]byte, 1<<20+77)
	for i := range b {
		b[i] = byte(i * i >> 7)
	}
	return b
}

// server serves one file, and counts requests and bytes.
type server struct {
	mu       sync.Mutex
	b        []byte
	etag     string
	fail     int // answers with 503 first
	requests atomic.Int64
	ranges   bool
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.URL.Path == "/old/a":
		http.Redirect(w, r, "/a", http.StatusFound)
	case r.URL.Path == "/secret":
		w.WriteHeader(http.StatusForbidden)
	case r.URL.Path != "/a":
		http.NotFound(w, r)
	case s.fail > 0:
		s.fail--
		w.WriteHeader(http.StatusServiceUnavailable)
	case !s.ranges:
		w.Write(s.b)
	default:
		if s.etag != "" {
			w.Header().Set("ETag", s.etag)
		}
		http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), bytes.NewReader(s.b))
	}
}

func start(t *testing.T, s *server) string {
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return h.URL
}

func readAt(t *testing.T, f fs.File, n int, off int64) ([]byte, error) {
	b := make([]byte, n)
	k, err := f.(io.ReaderAt).ReadAt(b, off)
	return b[:k], err
}

func TestReadAt(t *testing.T) {
	s := &server{b: content(), etag: `"1"`, ranges: true}
	for _, tt := range []struct{ name, base, file string }{
		{"plain", start(t, s), "a"}, {"slash", start(t, s) + "/", "a"}, {"redirected", start(t, s), "old/a"}, {"query", start(t, s) + "?k=v", "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fsys := httpfs.New(tt.base, httpfs.Options{})
			defer fsys.Close()
			f, err := fsys.Open(tt.file)
			require.NoError(t, err)
			st, err := f.Stat()
			require.NoError(t, err)
			assert.Equal(t, int64(len(s.b)), st.Size())
			before := s.requests.Load()
			for _, r := range [][2]int{{0, 10}, {131070, 5}, {131072, 131072}, {5, len(s.b) - 5}, {len(s.b) - 3, 3}, {131073, 300000}} {
				got, err := readAt(t, f, r[1], int64(r[0]))
				require.NoError(t, err)
				require.Equal(t, s.b[r[0]:r[0]+r[1]], got)
			}
			if tt.name == "plain" {
				assert.Equal(t, int64(2), s.requests.Load()-before, "one for the second block, one for all others")
			}
			got, err := readAt(t, f, 10, int64(len(s.b))-4)
			assert.ErrorIs(t, err, io.EOF)
			assert.Len(t, got, 4)
			_, err = readAt(t, f, 1, -1)
			assert.ErrorIs(t, err, fs.ErrInvalid)
			all, err := io.ReadAll(f)
			require.NoError(t, err)
			assert.Equal(t, s.b, all)
			require.NoError(t, f.Close())
		})
	}
}

// TestChanges: an answer of another version of the file is an error.
func TestChanges(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(s *server)
	}{
		{"etag", func(s *server) { s.etag = `"2"` }},
		{"length", func(s *server) { s.etag, s.b = `"1"`, append(s.b, 1) }},
		{"ranges", func(s *server) { s.ranges = false }},
		{"gone", func(s *server) { s.b = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &server{b: content(), etag: `"1"`, ranges: true}
			fsys := httpfs.New(start(t, s), httpfs.Options{})
			defer fsys.Close()
			f, err := fsys.Open("a")
			require.NoError(t, err)
			s.mu.Lock()
			tt.change(s)
			s.mu.Unlock()
			_, err = readAt(t, f, 10, 5)
			assert.NoError(t, err, "still in the cache")
			_, err = readAt(t, f, 10, 500_000)
			assert.ErrorIs(t, err, httpfs.ErrChanged)
		})
	}
}

func TestErrors(t *testing.T) {
	s := &server{b: content(), etag: `"1"`}
	base := start(t, s)
	fsys := httpfs.New(base+"?token=secret", httpfs.Options{})
	_, err := fsys.Open("a")
	assert.ErrorIs(t, err, httpfs.ErrNoRanges)
	_, err = fsys.Open("none")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = fsys.Open("secret")
	assert.ErrorIs(t, err, fs.ErrPermission)
	for _, n := range []string{"../a", ".", "/a", ""} {
		_, err = fsys.Open(n)
		assert.ErrorIs(t, err, fs.ErrInvalid, n)
	}
	_, err = fs.ReadDir(fsys, ".")
	assert.Error(t, err)
	s.b, s.ranges = nil, true
	f, err := fsys.Open("a")
	require.NoError(t, err)
	_, err = readAt(t, f, 1, 0)
	assert.ErrorIs(t, err, io.EOF, "an empty file")
	require.NoError(t, fsys.Close())
	_, err = fsys.Open("a")
	assert.ErrorIs(t, err, fs.ErrClosed)
	away := httpfs.New("http://127.0.0.1:1/?token=secret", httpfs.Options{})
	_, err = away.Open("a")
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
}

// TestAgain: an answer of 503 is asked for again.
func TestAgain(t *testing.T) {
	s := &server{b: content(), etag: `"1"`, ranges: true, fail: 2}
	fsys := httpfs.New(start(t, s), httpfs.Options{})
	defer fsys.Close()
	_, err := fsys.Open("a")
	require.NoError(t, err)
	assert.Equal(t, int64(3), s.requests.Load())
}

// TestCacheBound reads a file from many goroutines through two blocks.
func TestCacheBound(t *testing.T) {
	s := &server{b: content(), etag: `"1"`, ranges: true}
	fsys := httpfs.New(start(t, s), httpfs.Options{CacheBytes: 1 << 18})
	defer fsys.Close()
	f, err := fsys.Open("a")
	require.NoError(t, err)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 8 {
				at := (g*300_007 + i*150_001) % (len(s.b) - 1000)
				b, err := readAt(t, f, 1000, int64(at))
				assert.NoError(t, err)
				assert.Equal(t, s.b[at:at+1000], b)
			}
		})
	}
	wg.Wait()
}

// TestBucket lists a folder in two pages.
func TestBucket(t *testing.T) {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.URL.Path == "/bucket/x%20y/b" || r.URL.Path == "/bucket/x y/b":
			http.ServeContent(w, r, "", time.Unix(1, 0), strings.NewReader("hello"))
		case q.Get("list-type") != "2" || q.Get("prefix") != "x y/":
			http.NotFound(w, r)
		case q.Get("continuation-token") == "":
			fmt.Fprint(w, `<ListBucketResult><Contents><Key>x y/</Key></Contents><Contents><Key>x y/b</Key><Size>5</Size></Contents><IsTruncated>true</IsTruncated><NextContinuationToken>n</NextContinuationToken></ListBucketResult>`)
		default:
			fmt.Fprint(w, `<ListBucketResult><Contents><Key>x y/c</Key></Contents><Contents><Key>other/d</Key></Contents></ListBucketResult>`)
		}
	}))
	defer h.Close()
	fsys := httpfs.NewBucket(h.URL+"/bucket", "x y", httpfs.Options{})
	defer fsys.Close()
	list, err := fs.ReadDir(fsys, ".")
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, "b", list[0].Name())
	b, err := fs.ReadFile(fsys, "b")
	require.NoError(t, err)
	assert.Equal(t, "hello", string(b))
	_, err = fs.ReadDir(fsys, "z")
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func Example() {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Unix(1, 0), strings.NewReader("the pixels of a slide"))
	}))
	defer h.Close()
	fsys := httpfs.New(h.URL, httpfs.Options{})
	defer fsys.Close()
	f, err := fsys.Open("a.svs")
	if err != nil {
		fmt.Println(err)
		return
	}
	b := make([]byte, 6)
	_, err = f.(io.ReaderAt).ReadAt(b, 4)
	fmt.Println(string(b), err)
	// Output: pixels <nil>
}
