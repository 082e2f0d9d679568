package serve

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/paulmach/orb/planar"
)

// annotationRoutes adds the routes of what people drew and accepted.
func (s *Server) annotationRoutes() {
	s.handle("GET /v1/slides/{id}/annotations", s.withStore(s.listAnnotations))
	s.handle("GET /v1/slides/{id}/annotations.csv", s.withStore(s.tableAnnotations))
	s.handle("POST /v1/slides/{id}/annotations", s.withStore(s.editAnnotations))
	s.handle("POST /v1/slides/{id}/annotations/undo", s.withStore(stepAnnotations((*store).back)))
	s.handle("POST /v1/slides/{id}/annotations/redo", s.withStore(stepAnnotations((*store).forth)))
	s.handle("POST /v1/slides/{id}/compare", s.withStore(s.compare))
	s.handle("POST /v1/geometry", s.changeGeometry)
}

// stores are the annotations of the slides that were asked for.
type stores struct {
	dir  string // empty: beside each slide
	fail func(error)

	mu   sync.Mutex
	have map[string]*store
}

// of returns the annotations of a slide.
func (s *stores) of(f slideFile) (*store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, ok := s.have[f.id]; ok {
		return st, nil
	}
	path := f.path() + ".geojson"
	if s.dir != "" { // slides of one name from several folders
		path = filepath.Join(s.dir, f.name+"."+f.id+".geojson")
	}
	st, err := openStore(path, s.fail)
	if err != nil {
		return nil, err
	}
	s.have[f.id] = st
	return st, nil
}

func (s *stores) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, st := range s.have {
		errs = append(errs, st.close())
	}
	clear(s.have)
	return errors.Join(errs...)
}

// withStore finds the annotations that a request is about.
func (s *Server) withStore(h func(http.ResponseWriter, *http.Request, *openSlide, *store) error) handler {
	return s.withSlide(func(w http.ResponseWriter, r *http.Request, o *openSlide) error {
		st, err := s.stores.of(o.slideFile)
		if err != nil {
			return err
		}
		return h(w, r, o, st)
	})
}

func (s *Server) listAnnotations(w http.ResponseWriter, r *http.Request, o *openSlide, st *store) error {
	all, state, err := st.all()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/geo+json")
	w.Header().Set("Cache-Control", "no-store")
	if r.URL.Query().Get("download") == "true" {
		w.Header().Set("Content-Disposition", attachment(o.name, ".geojson"))
	}
	_, err = fmt.Fprintf(w, `{"type":"FeatureCollection","slidesam":{"edit":%d,"undo":%d,"redo":%d},"features":[`, state.Revision, state.Undo, state.Redo)
	sep := "\n"
	for _, a := range all {
		if err != nil {
			break
		}
		_, err = fmt.Fprintf(w, "%s%s", sep, a.raw)
		sep = ",\n"
	}
	if err == nil {
		_, _ = io.WriteString(w, "\n]}\n")
	}
	return nil // a client that is gone is its own affair
}

// attachment names a file to save; what is not a letter or digit is left out.
func attachment(name, ext string) string {
	return `attachment; filename="` + strings.Map(func(r rune) rune {
		if tokenRune(r) || r == '.' {
			return r
		}
		return '_'
	}, name) + ext + `"`
}

func (s *Server) tableAnnotations(w http.ResponseWriter, _ *http.Request, o *openSlide, st *store) error {
	all, _, err := st.all()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Disposition", attachment(o.name, ".csv"))
	c := csv.NewWriter(w)
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	_ = c.Write([]string{"id", "class", "name", "centroid_x_px", "centroid_y_px", "area_px2", "area_um2", "predicted_iou"})
	for _, a := range all {
		middle, area := planar.CentroidArea(a.geometry)
		if area < 0 {
			area = -area
		}
		row := []string{a.id, cellText(a.class), cellText(a.name), number(middle[0]), number(middle[1]), number(area), "", ""}
		if o.mpp > 0 {
			row[6] = number(area * o.mpp * o.mpp)
		}
		if a.quality != nil {
			row[7] = number(*a.quality)
		}
		_ = c.Write(row)
	}
	c.Flush()
	return nil
}

// cellText keeps a spreadsheet from taking a text for a formula.
func cellText(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// editBody is a change of annotations.
type editBody struct {
	Add    []json.RawMessage `json:"add"`    // features; one whose id is there replaces it
	Remove []string          `json:"remove"` // ids
}

func (s *Server) editAnnotations(w http.ResponseWriter, r *http.Request, _ *openSlide, st *store) error {
	var b editBody
	leave, err := s.readJSON(r, s.c.MaxBody, &b)
	if err != nil {
		return err
	}
	defer leave()
	a, err := st.apply(b.Add, b.Remove)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, a)
	return nil
}

func stepAnnotations(step func(*store) (*editAnswer, error)) func(http.ResponseWriter, *http.Request, *openSlide, *store) error {
	return func(w http.ResponseWriter, _ *http.Request, _ *openSlide, st *store) error {
		a, err := step(st)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, a)
		return nil
	}
}
