package geojson

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/paulmach/orb"
)

// Change is what [Edit] changes of a feature. All else stays as it was written.
type Change struct {
	// Geometry is the new outline, of the nucleus if Nucleus is set; nil: as it
	// was. It lies in the plane that the old one does, and is no ellipse.
	Geometry orb.Geometry
	Nucleus  bool
	// ID replaces the id; empty: as it was.
	ID string
	// Measurements replace those of the same name and come behind the others.
	Measurements []Measurement
	// Note, if it is not empty, is put into the object's metadata under the name
	// slidesam, where QuPath shows it.
	Note string
}

// Edit returns a feature with a change. The error wraps [ErrFormat] or
// [ErrFeature].
func Edit(raw []byte, c Change) ([]byte, error) {
	f := membersOf(raw)
	if f == nil {
		return nil, fmt.Errorf("%w: no feature", ErrFormat)
	}
	if c.ID != "" {
		f = setMember(f, "id", appendString(nil, c.ID))
	}
	if c.Geometry != nil {
		name := "geometry"
		if c.Nucleus {
			name = "nucleusGeometry"
		}
		g, err := appendGeometry(nil, c.Geometry)
		if err != nil {
			return nil, err
		}
		if plane := memberOf(membersOf(memberOf(f, name)), "plane"); plane != nil {
			g = append(append(g[:len(g)-1], `,"plane":`...), plane...)
			g = append(g, '}')
		}
		f = setMember(f, name, g)
	}
	p := membersOf(memberOf(f, "properties"))
	if len(c.Measurements) > 0 {
		ms, err := changedMeasurements(memberOf(p, "measurements"), c.Measurements)
		if err != nil {
			return nil, err
		}
		p = setMember(p, "measurements", ms)
	}
	if c.Note != "" {
		p = setMember(p, "metadata", appendMembers(nil, setMember(membersOf(memberOf(p, "metadata")), "slidesam", appendString(nil, c.Note))))
	}
	return appendMembers(nil, setMember(f, "properties", appendMembers(nil, p))), nil
}

// changedMeasurements sets measurements of either form; lists become objects,
// as QuPath 0.4 and later write them.
func changedMeasurements(raw json.RawMessage, set []Measurement) (json.RawMessage, error) {
	ms := membersOf(raw)
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		for _, m := range measurementsOf(raw) {
			ms = setMember(ms, m.Name, appendNumber(nil, m.Value))
		}
	}
	for _, m := range set {
		if v := m.Value; v-v != 0 { // NaN and infinite
			return nil, errors.Join(ErrFeature, fmt.Errorf("measurement %q is %g", m.Name, v))
		}
		ms = setMember(ms, m.Name, appendNumber(nil, m.Value))
	}
	return appendMembers(nil, ms), nil
}

// DerivedID returns the id of the n-th object that is made of a feature: the
// same for the same feature.
func DerivedID(raw []byte, n int) string { return featureID(raw, n) }

// WriteRaw writes a feature as it is, which must be valid JSON of one line.
func (w *Writer) WriteRaw(raw []byte) error {
	return w.write(func(b []byte) ([]byte, error) { return append(b, raw...), nil })
}
