package serve

import (
	"net/http"
	"slices"
	"strings"
)

// samapiRoutes adds the routes of samapi, each with and without the slash at
// its end: clients differ, and some follow no redirection.
// They are there without /sam as well, for a server URL that lacks it.
func (s *Server) samapiRoutes() {
	both := func(method, path string, h handler) {
		s.handle(method+" /sam"+path, h)
		s.handle(method+" /sam"+path+"/{$}", h)
		if path != "" {
			s.handle(method+" "+path, h)
			s.handle(method+" "+path+"/{$}", h)
		}
	}
	both("POST", "", s.samPredict)
	s.handle("POST /{$}", s.samPredict)
	both("GET", "", s.samStart)
	both("POST", "/automask", s.samAutomask)
	both("GET", "/weights", s.samWeights)
	both("POST", "/weights", s.samRegister)
	both("GET", "/weights/cancel", s.samCancel)
	both("GET", "/progress", s.samProgress)
	both("GET", "/version", func(w http.ResponseWriter, _ *http.Request) error {
		writeText(w, s.c.Version)
		return nil
	})
	for _, p := range []string{"/sam3", "/video", "/sam3video", "/upload"} {
		both("POST", p, func(http.ResponseWriter, *http.Request) error {
			return refuse(http.StatusNotFound, "SAM 2, SAM 3 and videos are other architectures, which are not served here; choose vit_b, vit_l or vit_h")
		})
	}
	s.handle("/sam/", func(http.ResponseWriter, *http.Request) error {
		return refuse(http.StatusNotFound, "no such route: /sam/, /sam/automask/, /sam/weights/, /sam/weights/cancel/, /sam/progress/ and /sam/version/ are served; the URL for QuPath ends in /sam/")
	})
}

// samStart tells a person who opens the URL in a browser what it is for.
func (s *Server) samStart(w http.ResponseWriter, _ *http.Request) error {
	writeText(w, "slidesam answers here. Give this address, with /sam/ at its end, to QuPath's SAM extension as the server URL.")
	return nil
}

func (s *Server) samWeights(w http.ResponseWriter, r *http.Request) error {
	kind := r.URL.Query().Get("type")
	if kind != "" && !slices.Contains(samTypes, kind) && !slices.Contains(otherTypes, kind) {
		return refuse(http.StatusUnprocessableEntity, "type %q, want one of %s", kind, strings.Join(samTypes, ", "))
	}
	list, err := s.models.list(kind)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (s *Server) samRegister(w http.ResponseWriter, r *http.Request) error {
	var q registration
	if _, err := s.readJSON(r, smallBody, &q); err != nil {
		return err
	}
	text, err := s.downloads.register(r.Context(), q)
	if err != nil {
		return err
	}
	s.log.Info("checkpoint registered", "type", q.Type)
	writeText(w, text)
	return nil
}

// samCancel is a GET that changes something, as the extension wants it; a
// page of another site must not reach it.
func (s *Server) samCancel(w http.ResponseWriter, r *http.Request) error {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return refuse(http.StatusForbidden, "requests from other sites' pages are refused")
	}
	s.downloads.cancel()
	writeText(w, "Cancel signal sent")
	return nil
}

func (s *Server) samProgress(w http.ResponseWriter, _ *http.Request) error {
	message, percent, running := s.downloads.get()
	if !running {
		message, percent, _ = s.automask.get()
	}
	writeJSON(w, http.StatusOK, struct {
		Message *string `json:"message"`
		Percent int     `json:"percent"`
	}{message, percent})
	return nil
}
