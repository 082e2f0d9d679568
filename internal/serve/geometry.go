package serve

import (
	"encoding/json"
	"math"
	"net/http"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/planar"
	"github.com/paulmach/orb/simplify"

	"github.com/slidesam/sam"
	pixels "github.com/slidesam/sam/internal/geojson"
)

// geometryBody asks for a change of an outline, in pixels of level 0.
type geometryBody struct {
	Op        string          `json:"op"` // add, erase, simplify
	Geometry  json.RawMessage `json:"geometry"`
	Stroke    [][2]float64    `json:"stroke"` // of a brush
	Radius    float64         `json:"radius"`
	Tolerance float64         `json:"tolerance"`
	MPP       float64         `json:"mpp"` // for the area, 0: unknown
}

const (
	maxBrushSide = 4096 // pixels of the mask that a brush works on
	maxStroke    = 4096
)

// changeGeometry answers with the changed outline, null if nothing is left.
func (s *Server) changeGeometry(w http.ResponseWriter, r *http.Request) error {
	var b geometryBody
	leave, err := s.readJSON(r, s.c.MaxBody, &b)
	if err != nil {
		return err
	}
	defer leave()
	var g orb.MultiPolygon
	if len(b.Geometry) > 0 && string(b.Geometry) != "null" {
		if g, err = parseArea(b.Geometry); err != nil {
			return err
		}
	}
	leaveDecode, err := s.decode.enter(r.Context(), 1) // a brush on a large outline is work
	if err != nil {
		return err
	}
	defer leaveDecode()
	var out orb.Geometry
	switch b.Op {
	case "simplify":
		if !(b.Tolerance > 0) {
			return refuse(http.StatusUnprocessableEntity, "tolerance is %g, want more than 0", b.Tolerance)
		}
		out = simple(g, b.Tolerance)
	case "add", "erase":
		if out, err = b.brush(g); err != nil {
			return err
		}
	default:
		return refuse(http.StatusUnprocessableEntity, "op %q, want add, erase or simplify", b.Op)
	}
	answer := map[string]any{"geometry": nil, "measurements": map[string]float64{}}
	if out != nil {
		area := math.Abs(planar.Area(out))
		ms := map[string]float64{sam.MeasureAreaPixels: area}
		if b.MPP > 0 {
			ms[sam.MeasureAreaMicrons] = area * b.MPP * b.MPP
		}
		answer["geometry"], answer["measurements"] = geojson.NewGeometry(out), ms
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// parseArea reads a polygon or several.
func parseArea(raw json.RawMessage) (orb.MultiPolygon, error) {
	g, err := pixels.ParseGeometry(raw, rules)
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	area := pixels.Area(g)
	if area == nil {
		return nil, refuse(http.StatusUnprocessableEntity, "geometry of type %s, want a Polygon or a MultiPolygon", g.GeoJSONType())
	}
	return area, nil
}

// simple drops vertices that lie within tolerance of the line without them;
// rings that are left without an area go.
func simple(g orb.MultiPolygon, tolerance float64) orb.Geometry {
	var out orb.MultiPolygon
	for _, p := range g {
		q := orb.Polygon{}
		for i, ring := range p {
			ring = simplify.DouglasPeucker(tolerance).Ring(ring.Clone())
			if len(ring) < 4 || planar.Area(ring) == 0 {
				if i == 0 {
					break // without its outline a polygon has no holes
				}
				continue
			}
			q = append(q, ring)
		}
		if len(q) > 0 {
			out = append(out, q)
		}
	}
	return single(out)
}

// single is a polygon where one is enough, nil for none.
func single(g orb.MultiPolygon) orb.Geometry {
	switch len(g) {
	case 0:
		return nil
	case 1:
		return g[0]
	}
	return g
}

// brush adds the stroke to an outline or takes it away, on the pixels of a
// mask: of level 0, or coarser ones for large outlines.
func (b *geometryBody) brush(g orb.MultiPolygon) (orb.Geometry, error) {
	if len(b.Stroke) == 0 || len(b.Stroke) > maxStroke || !(b.Radius > 0) || b.Radius > 1e6 {
		return nil, refuse(http.StatusUnprocessableEntity, "want a stroke of 1 to %d points and a radius above 0", maxStroke)
	}
	var stroke orb.MultiPolygon
	for i, p := range b.Stroke {
		if math.Abs(p[0]) > pixels.MaxCoordinate || math.Abs(p[1]) > pixels.MaxCoordinate {
			return nil, refuse(http.StatusUnprocessableEntity, "point %d of the stroke lies beyond any slide", i)
		}
		stroke = append(stroke, orb.Polygon{capsule(b.Stroke[max(i-1, 0)], p, b.Radius)})
	}
	all := stroke.Bound()
	if len(g) > 0 {
		all = all.Union(g.Bound())
	}
	scale := 1.0
	for max(all.Max[0]-all.Min[0], all.Max[1]-all.Min[1])/scale > maxBrushSide {
		scale *= 2
	}
	x, y := math.Floor(all.Min[0]/scale)*scale, math.Floor(all.Min[1]/scale)*scale
	size := sam.Size{H: int((all.Max[1]-y)/scale) + 1, W: int((all.Max[0]-x)/scale) + 1}
	into := func(g orb.MultiPolygon) (*sam.Mask, error) {
		moved := g.Clone()
		for _, p := range moved {
			for _, r := range p {
				for i, v := range r {
					r[i] = orb.Point{(v[0] - x) / scale, (v[1] - y) / scale}
				}
			}
		}
		return sam.MaskFromPolygons(size, moved)
	}
	have, err := into(g)
	if err != nil {
		return nil, err
	}
	drawn, err := into(stroke)
	if err != nil {
		return nil, err
	}
	if b.Op == "add" {
		have, err = have.Union(drawn)
	} else {
		have, err = have.Subtract(drawn)
	}
	if err != nil {
		return nil, err
	}
	return have.Geometry(sam.Frame{OffsetX: x, OffsetY: y, Scale: scale}), nil
}

// capsule is the outline of a round brush on its way from a to b.
func capsule(a, b [2]float64, r float64) orb.Ring {
	const steps = 16 // of half a circle
	along := math.Atan2(b[1]-a[1], b[0]-a[0])
	ring := make(orb.Ring, 0, 2*steps+3)
	for end, c := range [][2]float64{b, a} {
		from := along - math.Pi/2 + float64(end)*math.Pi
		for i := range steps + 1 {
			t := from + math.Pi*float64(i)/steps
			ring = append(ring, orb.Point{c[0] + r*math.Cos(t), c[1] + r*math.Sin(t)})
		}
	}
	return append(ring, ring[0])
}
