package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// writeTime is how long a client may take to take in any part of an answer.
const writeTime = 30 * time.Second

// guard lets through only requests that may come in, and bounds them.
func (s *Server) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeRefusal(w, &refusal{status: http.StatusForbidden, reason: "requests from other sites' pages are refused"})
	}))
	inner := cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if !s.hostKnown(r.Host) {
			writeRefusal(w, &refusal{status: http.StatusMisdirectedRequest, reason: "the Host header names another server; allow the name when starting this one"})
			return
		}
		path, ok := s.admit(r)
		if !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeRefusal(w, &refusal{status: http.StatusUnauthorized, reason: "a token is needed, as `Authorization: Bearer TOKEN` or in the address, /t/TOKEN/"})
			return
		}
		// A page elsewhere may link to the viewer, nothing more.
		if r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
			writeRefusal(w, &refusal{status: http.StatusForbidden, reason: "requests from other sites' pages are refused"})
			return
		}
		u := *r.URL
		u.Path, u.RawPath = path, ""
		q := r.Clone(r.Context())
		q.URL = &u
		rc := http.NewResponseController(w)
		if r.ContentLength != 0 {
			_ = rc.SetReadDeadline(time.Now().Add(s.c.Slow)) // a recorder in tests has none
			q.Body = &patientBody{http.MaxBytesReader(w, r.Body, s.c.MaxBody), rc}
		}
		inner.ServeHTTP(&slowWriter{w, rc}, q)
	})
}

// secure sets the headers of every answer.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store") // unless the route knows better
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// hostKnown reports whether a request was meant for this server: a name that
// someone else's DNS points here is refused, numbers cannot be pointed.
func (s *Server) hostKnown(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	return host == "localhost" || net.ParseIP(host) != nil || hostAllowed(host, s.c.Hosts)
}

// admit checks the token and returns the path without it. Double slashes are
// made one, as URLs put together by hand have them, and white space around
// the path is dropped.
func (s *Server) admit(r *http.Request) (path string, ok bool) {
	path = "/" + strings.TrimLeft(strings.TrimSpace(r.URL.Path), "/")
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if rest, prefixed := strings.CutPrefix(path, "/t/"); prefixed {
		token, rest, _ := strings.Cut(rest, "/")
		path = "/" + rest
		if !bearer {
			given = token
		}
	}
	if s.c.Token == "" {
		return path, true
	}
	// Hashes have one length: the time of comparing says nothing.
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s.c.Token))
	return path, subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// patientBody is a body that must come in time; the handler that reads
// it to its end has all the time it needs.
type patientBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

// Read reads, and lifts the deadline at the end.
func (b *patientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// slowWriter gives each part of an answer its time, however long the whole
// takes.
type slowWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

// Write writes p within writeTime.
func (w *slowWriter) Write(p []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(writeTime))
	return w.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController the writer below.
func (w *slowWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
