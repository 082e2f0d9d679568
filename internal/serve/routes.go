package serve

import (
	_ "embed"
	"net/http"
)

// openAPI describes the native interface.
//
//go:embed openapi.json
var openAPI []byte

// routes adds all routes to the server.
func (s *Server) routes() error {
	s.samapiRoutes()
	s.slideRoutes()
	s.segmentRoutes()
	s.annotationRoutes()
	s.jobRoutes()
	s.handle("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openAPI)
		return nil
	})
	s.handle("/v1/", func(http.ResponseWriter, *http.Request) error {
		return refuse(http.StatusNotFound, "no such route; GET /v1/openapi.json describes those there are")
	})
	return s.webRoutes()
}
