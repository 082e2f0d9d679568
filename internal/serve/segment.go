package serve

import (
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/paulmach/orb/geojson"

	"github.com/slidesam/sam"
)

// segmentBody asks for the object under points or in a box, in pixels of
// level 0.
type segmentBody struct {
	Points     []segmentPoint `json:"points"`
	Box        []float64      `json:"box"`        // x0, y0, x1, y1
	Downsample float64        `json:"downsample"` // of the view; 0 means 1
	State      string         `json:"state"`      // of the answer that this corrects
	Candidate  int            `json:"candidate"`  // of that answer
	Checkpoint string         `json:"checkpoint"` // its url; empty: the viewer's
}

type segmentPoint struct {
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
	Label int     `json:"label"`
}

// segmentAnswer has the candidates in the decoder's order.
type segmentAnswer struct {
	Candidates []*geojson.Feature `json:"candidates"`
	Best       int                `json:"best"`
	State      string             `json:"state"`
	Cell       cell               `json:"cell"`
}

// segmentState is what a correction goes on from.
type segmentState struct {
	digest string
	model  *sam.Model
	cell   cell
	lowRes []sam.Logits // of all masks
	shown  []int        // index in lowRes of each candidate
}

const stateBytes = 64 << 20 // of states that are kept

func (st *segmentState) bytes() int64 {
	n := int64(256)
	for _, l := range st.lowRes {
		n += int64(len(l.Data)) * 4
	}
	return n
}

// segmentRoutes adds the routes that the viewer clicks with.
func (s *Server) segmentRoutes() {
	s.handle("POST /v1/slides/{id}/segment", s.withSlide(s.segment))
	s.handle("POST /v1/slides/{id}/prefetch", s.withSlide(s.prefetch))
}

// check returns a refusal for a body that means nothing on a slide.
func (b *segmentBody) check(size sam.Size, most int) error {
	inside := func(x, y float64) bool { return x >= 0 && y >= 0 && x <= float64(size.W) && y <= float64(size.H) }
	if len(b.Points) > most {
		return refuse(http.StatusUnprocessableEntity, "%d points, want at most %d", len(b.Points), most)
	}
	for i, p := range b.Points {
		if !inside(p.X, p.Y) {
			return refuse(http.StatusUnprocessableEntity, "point %d lies outside the slide of %d x %d pixels", i, size.W, size.H)
		}
		if p.Label != 0 && p.Label != 1 {
			return refuse(http.StatusUnprocessableEntity, "point %d has label %d, want 1 (inside) or 0 (outside)", i, p.Label)
		}
	}
	if b.Box != nil && (len(b.Box) != 4 || b.Box[0] >= b.Box[2] || b.Box[1] >= b.Box[3] || !inside(b.Box[0], b.Box[1]) || !inside(b.Box[2], b.Box[3])) {
		return refuse(http.StatusUnprocessableEntity, "box %v, want x0, y0, x1, y1 within the slide of %d x %d pixels", b.Box, size.W, size.H)
	}
	if b.Box == nil && !slices.ContainsFunc(b.Points, func(p segmentPoint) bool { return p.Label == 1 }) {
		return refuse(http.StatusUnprocessableEntity, "neither a box nor a point of label 1")
	}
	return nil
}

// cell returns where to look.
func (b *segmentBody) cell(size sam.Size, side int) cell {
	down := snapDown(b.Downsample)
	if b.Box != nil {
		return cellFor(size, side, down, sam.Box{X0: b.Box[0], Y0: b.Box[1], X1: b.Box[2], Y1: b.Box[3]})
	}
	first := slices.IndexFunc(b.Points, func(p segmentPoint) bool { return p.Label == 1 })
	around := sam.Box{X0: b.Points[first].X, Y0: b.Points[first].Y, X1: b.Points[first].X, Y1: b.Points[first].Y}
	for _, p := range b.Points {
		if p.Label == 1 {
			around.X0, around.Y0 = min(around.X0, p.X), min(around.Y0, p.Y)
			around.X1, around.Y1 = max(around.X1, p.X), max(around.Y1, p.Y)
		}
	}
	return cellFor(size, side, down, around)
}

// prompt is the body in the cell's pixels. Background points outside of it
// say nothing about it.
func (b *segmentBody) prompt(c cell) sam.Prompt {
	var p sam.Prompt
	for _, pt := range b.Points {
		if pt.Label == 0 && !c.holds(pt.X, pt.Y) {
			continue
		}
		x, y := c.in(pt.X, pt.Y)
		p.Points = append(p.Points, sam.Point{X: x, Y: y, Label: sam.Label(pt.Label)})
	}
	if b.Box != nil {
		x0, y0 := c.in(b.Box[0], b.Box[1])
		x1, y1 := c.in(b.Box[2], b.Box[3])
		p.Box = &sam.Box{X0: x0, Y0: y0, X1: x1, Y1: y1}
	}
	return p
}

func (s *Server) segment(w http.ResponseWriter, r *http.Request, o *openSlide) error {
	var b segmentBody
	if _, err := s.readJSON(r, smallBody, &b); err != nil {
		return err
	}
	if err := b.check(o.size, s.c.MaxPrompts); err != nil {
		return err
	}
	m, err := s.viewerModel(r, b.Checkpoint)
	if err != nil {
		return err
	}
	side := m.Config().Encoder.ImageSize
	c := b.cell(o.size, side)
	prompt := b.prompt(c)
	// A correction goes on where the answer it corrects was found.
	if st, ok := s.states.peek(b.State); ok && st.digest == o.digest && st.model == m && b.Candidate >= 0 && b.Candidate < len(st.shown) {
		c = st.cell
		prompt = b.prompt(c)
		prompt.Mask = &st.lowRes[st.shown[b.Candidate]]
	}
	e, err := s.embedCell(r.Context(), m, o, c)
	if err != nil {
		return err
	}
	out, err := s.predict(r.Context(), m, e, prompt, sam.PredictOptions{Local: s.localFor(m)})
	if err != nil {
		return err
	}
	a := segmentAnswer{Candidates: []*geojson.Feature{}, State: uuid.NewString(), Cell: c}
	st := &segmentState{digest: o.digest, model: m, cell: c, lowRes: out.LowRes}
	best := out.Best()
	for i, mask := range out.Masks {
		f := maskFeature(mask, out.IoUPred[i], c, o.mpp)
		if f == nil {
			continue
		}
		if i == best {
			a.Best = len(a.Candidates)
		}
		a.Candidates, st.shown = append(a.Candidates, f), append(st.shown, i)
	}
	s.states.add(a.State, st)
	writeJSON(w, http.StatusOK, a)
	return nil
}

// viewerModel is the model of a key, the server's own if it is empty.
func (s *Server) viewerModel(r *http.Request, key string) (*sam.Model, error) {
	if key == "" {
		key = ownURL
	}
	m, _, err := s.models.model(r.Context(), "", key)
	return m, err
}

// maskFeature is a mask of a cell as an annotation on the slide, nil if it is
// empty.
func maskFeature(mask *sam.Mask, quality float32, c cell, mpp float64) *geojson.Feature {
	g := mask.Geometry(c.frame())
	if g == nil {
		return nil
	}
	f := newFeature(g)
	area := float64(mask.Area()) * c.Down * c.Down
	ms := map[string]float64{sam.MeasurePredictedIoU: float64(quality), sam.MeasureAreaPixels: area}
	if mpp > 0 {
		ms[sam.MeasureAreaMicrons] = area * mpp * mpp
	}
	f.Properties["measurements"] = ms
	return f
}

// prefetchBody says where the view is.
type prefetchBody struct {
	X          float64 `json:"x"` // its middle, pixels of level 0
	Y          float64 `json:"y"`
	Downsample float64 `json:"downsample"`
	Checkpoint string  `json:"checkpoint"`
}

// prefetch embeds the cell under a view if the encoder has nothing else to
// do, so that the first click finds it ready.
func (s *Server) prefetch(w http.ResponseWriter, r *http.Request, o *openSlide) error {
	var b prefetchBody
	if _, err := s.readJSON(r, smallBody, &b); err != nil {
		return err
	}
	m, err := s.viewerModel(r, b.Checkpoint)
	if err != nil {
		return err
	}
	c := cellAt(o.size, m.Config().Encoder.ImageSize, snapDown(b.Downsample), clamp(b.X, o.size.W), clamp(b.Y, o.size.H))
	ready := true
	if _, have := s.embeddings.peek(fingerprint(m) + " " + cellKey(o, c)); !have {
		if leave, idle := s.encode.tryEnter(1); idle {
			leave()
			if _, err := s.embedCell(r.Context(), m, o, c); err != nil {
				return err
			}
		} else {
			ready = false
		}
	}
	writeJSON(w, http.StatusOK, struct {
		Ready bool `json:"ready"`
		Cell  cell `json:"cell"`
	}{ready, c})
	return nil
}
