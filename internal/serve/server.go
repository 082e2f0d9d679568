package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"github.com/slidesam/sam"
)

// Server answers requests. It is safe for any number of goroutines.
type Server struct {
	c   Config
	log *slog.Logger
	mux *http.ServeMux
	// patterns are those of mux, for the test of openapi.json.
	patterns []string
	// handler is mux with what guards it.
	handler http.Handler

	models     *models
	downloads  *downloads
	embeddings *shelf[*sam.Embedding]
	encode     *gate // one picture at a time: the encoder uses all cores
	decode     *gate
	search     *gate // everything on a picture
	bodies     *gate // bytes of requests in memory
	automask   progress
	slides     *slides
	stores     *stores
	jobs       *jobs
	states     *shelf[*segmentState]
	tiles      *shelf[[]byte]
	render     *gate
	streams    *gate        // of events
	encoded    atomic.Int64 // pictures, so far
}

// maxStreams bounds the clients that follow jobs at once.
const maxStreams = 64

// bodyBytes bounds the requests that are in memory at once.
const bodyBytes = 512 << 20

// New returns a server. It loads the bundled model unless the configuration
// has one. Close it when done.
func New(c Config) (*Server, error) {
	s, err := newServer(c)
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	return s, nil
}

func newServer(c Config) (*Server, error) {
	if err := c.fill(); err != nil {
		return nil, err
	}
	slides, err := newSlides(c)
	if err != nil {
		return nil, err
	}
	if c.Model == nil {
		m, err := sam.Bundled()
		if err != nil {
			return nil, err
		}
		c.Model, c.Bundled = m, true
	}
	ms, err := newModels(c)
	if err != nil {
		return nil, err
	}
	s := &Server{
		c: c, log: c.Log, mux: http.NewServeMux(), models: ms, slides: slides,
		embeddings: newShelf(c.CacheBytes, embeddingBytes),
		encode:     newGate("the image encoder", 1, c.MaxWaiting),
		decode:     newGate("the mask decoder", int64(runtime.GOMAXPROCS(0)), c.MaxWaiting),
		search:     newGate("a search of a whole picture", 1, min(c.MaxWaiting, 4)),
		bodies:     newGate("memory", max(bodyBytes, c.MaxBody), c.MaxWaiting),
	}
	s.downloads = newDownloads(c, ms)
	s.states = newShelf(stateBytes, (*segmentState).bytes)
	s.tiles = newShelf(tileBytes, func(b []byte) int64 { return int64(len(b)) })
	s.streams = newGate("progress", maxStreams, 0)
	s.render = newGate("the slide reader", int64(runtime.GOMAXPROCS(0)), 4*c.MaxWaiting)
	s.stores = &stores{dir: c.Annotations, have: map[string]*store{}, fail: func(err error) {
		s.log.Error("annotations are not written, only their history is", "error", s.hush(err))
	}}
	if s.jobs, err = newJobs(s); err != nil {
		return nil, err
	}
	if err := s.routes(); err != nil {
		return nil, err
	}
	compress, err := gzhttp.NewWrapper(gzhttp.MinSize(4096), gzhttp.ContentTypes([]string{"application/json", "application/geo+json", "text/csv", "text/html", "text/javascript", "text/css"}))
	if err != nil {
		return nil, err
	}
	s.handler = s.record(s.guard(compress(s.mux)))
	return s, nil
}

// handle answers a pattern.
func (s *Server) handle(pattern string, h handler) {
	s.patterns = append(s.patterns, pattern)
	s.mux.Handle(pattern, s.serveHandler(h))
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Close ends what the server does in the background and waits for it.
func (s *Server) Close() error {
	s.downloads.cancel()
	s.jobs.close()
	if err := errors.Join(s.stores.close(), s.slides.close()); err != nil {
		return fmt.Errorf("serve: close: %w", err)
	}
	return nil
}

// shutdownTime is how long requests under way have to finish.
const shutdownTime = 20 * time.Second

// Run listens and serves until ctx is done, then finishes the requests that are
// under way. ready, if not nil, is told the address it listens on.
func (s *Server) Run(ctx context.Context, ready func(addr string)) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.c.Addr)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	if err := s.serve(ctx, l, ready); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func (s *Server) serve(ctx context.Context, l net.Listener, ready func(string)) error {
	base, stop := context.WithCancel(context.Background())
	defer stop()
	h := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	if ready != nil {
		ready(l.Addr().String())
	}
	s.log.Info("listening", "address", l.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.log.Info("shutting down")
	s.downloads.cancel()
	s.jobs.stop() // its tiles stay; the next server goes on
	end, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	err := h.Shutdown(end)
	if errors.Is(err, context.DeadlineExceeded) { // the rest gets its context's end
		stop()
		return h.Close()
	}
	return err
}

// record logs each request without what it asks about: the route, not the
// path, which may hold a token or a name.
func (s *Server) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		sw := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(sw, r)
		level := slog.LevelDebug
		if sw.status >= 400 {
			level = slog.LevelInfo
		}
		s.log.Log(r.Context(), level, "request", "method", r.Method, "status", sw.status, "time", time.Since(begun).Round(time.Millisecond).String())
	})
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader writes the status and remembers it.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write writes p.
func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController the writer below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
