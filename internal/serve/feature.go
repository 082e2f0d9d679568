package serve

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/geojson"
)

// maxVertices bounds one outline.
const maxVertices = 1 << 18

// annotation is a GeoJSON feature as it was written, whoever wrote it, and
// what has to be known of it.
type annotation struct {
	id       string
	raw      json.RawMessage // compact, one line
	geometry orb.Geometry
	class    string
	name     string
	quality  *float64
}

// rules are those for what is written beside a slide for QuPath to open.
var rules = geojson.Options{Strict: true, MaxPoints: maxVertices}

// parseAnnotation checks a feature. Its id is empty if it is no UUID.
func parseAnnotation(raw json.RawMessage) (*annotation, error) {
	o, err := geojson.Parse(raw, rules)
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	if o.Geometry == nil {
		return nil, refuse(http.StatusUnprocessableEntity, "geometry: missing")
	}
	a := &annotation{id: o.ID, geometry: o.Geometry, class: o.Class, name: o.Name}
	for _, m := range o.Measurements {
		if m.Name == geojson.MeasurePredictedIoU {
			a.quality = &m.Value
		}
	}
	var one bytes.Buffer
	if err := json.Compact(&one, raw); err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "not a feature: %v", err)
	}
	a.raw = one.Bytes()
	return a, nil
}

// setID puts an id into the feature as it is written.
func (a *annotation) setID(id string) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(a.raw, &members); err != nil {
		return err
	}
	a.id = id
	members["id"] = json.RawMessage(`"` + id + `"`)
	raw, err := json.Marshal(members)
	a.raw = raw
	return err
}
