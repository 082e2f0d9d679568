package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/slidesam/sam"
)

// refusal is the answer to a request that cannot be granted: a status and a
// reason that says what to do.
type refusal struct {
	status int
	reason string
	retry  int // seconds after which to ask again; 0: not said
}

// Error returns the reason.
func (r *refusal) Error() string { return r.reason }

// refuse returns a refusal with a reason.
func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, reason: fmt.Sprintf(format, args...)}
}

// busy returns a refusal that asks to try again.
func busy(status int, format string, args ...any) error {
	return &refusal{status: status, reason: fmt.Sprintf(format, args...), retry: 2}
}

// handler answers a request, or returns why not.
type handler func(w http.ResponseWriter, r *http.Request) error

// refusalOf is how an error is told to the client, nil if it is the server's
// own fault.
func refusalOf(err error) *refusal {
	var r *refusal
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &big):
		return &refusal{status: http.StatusRequestEntityTooLarge, reason: fmt.Sprintf("the request is larger than %d bytes", big.Limit)}
	case errors.Is(err, sam.ErrPrompt), errors.Is(err, sam.ErrMask), errors.Is(err, sam.ErrFeature):
		return &refusal{status: http.StatusUnprocessableEntity, reason: err.Error()}
	}
	return nil
}

// serveHandler answers with h and tells what went wrong.
func (s *Server) serveHandler(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
			return // nobody is listening any more
		}
		if f := refusalOf(err); f != nil {
			writeRefusal(w, f)
			return
		}
		if errors.Is(err, context.Canceled) {
			writeRefusal(w, &refusal{status: http.StatusServiceUnavailable, reason: "the server is shutting down", retry: 10})
			return
		}
		s.log.Error("request ended in an error of the server's", "route", r.Pattern, "error", s.hush(err))
		writeRefusal(w, &refusal{status: http.StatusInternalServerError, reason: "an error of the server's own; its log says more"})
	})
}

// hush returns the text of an error for the log, or only its type, if it may
// hold the name of a file that must not be logged.
func (s *Server) hush(err error) string {
	if s.c.LogNames {
		return err.Error()
	}
	return fmt.Sprintf("%T (names are not logged)", err)
}

func writeRefusal(w http.ResponseWriter, f *refusal) {
	if f.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.retry))
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, f.status, map[string]string{"detail": f.reason})
}

// writeJSON writes v; v must be of a kind that always marshals.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"detail":"the answer cannot be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // a client that is gone is its own affair
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintln(w, text)
}
