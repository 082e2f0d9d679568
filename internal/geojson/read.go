package geojson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/regular"
)

// Object types of QuPath that are only read.
const (
	Cell    ObjectType = "cell"
	Tile    ObjectType = "tile"
	TMACore ObjectType = "tmaCore"
	Root    ObjectType = "root" // the whole slide: it has no outline
)

// legacyTypes are the object types as QuPath 0.2 wrote them, in the id.
var legacyTypes = map[string]ObjectType{
	"PathAnnotationObject": Annotation, "PathDetectionObject": Detection, "PathCellObject": Cell, "PathTileObject": Tile,
	"TMACoreObject": TMACore, "PathRootObject": Root,
}

// Object is a feature as it is read: an object of QuPath, or of whoever else
// writes GeoJSON in pixels.
type Object struct {
	ID       string       // a UUID; empty if the feature has none
	Type     ObjectType   // Annotation if the feature does not say
	Name     string       // empty: none
	Class    string       // as QuPath shows it, derived classes as "Tumor: Positive"; empty: none
	Geometry orb.Geometry // nil: none; an empty orb.Collection: one that is not looked into
	Nucleus  orb.Geometry // of a cell; nil: none
	Locked   bool
	// Measurements are in the feature's order, those of a list as well; what is
	// no number is left out.
	Measurements []Measurement
}

// Options changes what is read. The zero value takes all geometries that have
// a place.
type Options struct {
	// Strict refuses outlines that QuPath does not read: empty ones, and rings
	// that are not closed. Else rings are closed, and those without an area are
	// left as they are.
	Strict bool
	// MaxPoints bounds the points of one geometry; 0: no bound.
	MaxPoints int
}

// feature is a feature as it is written.
type feature struct {
	Type       string          `json:"type"`
	ID         any             `json:"id"`
	Geometry   json.RawMessage `json:"geometry"`
	Nucleus    json.RawMessage `json:"nucleusGeometry"`
	Properties *struct {
		ObjectType     any             `json:"objectType"`
		OldType        any             `json:"object_type"`
		Name           any             `json:"name"`
		Classification json.RawMessage `json:"classification"`
		Locked         any             `json:"isLocked"`
		Measurements   json.RawMessage `json:"measurements"`
	} `json:"properties"`
}

// Parse reads a feature. The error wraps [ErrFormat].
//
// Whatever of the properties is of another kind than QuPath writes is passed
// over, as QuPath does. What decides about places is not: a geometry of an
// unknown type, a point of one number, a coordinate beyond 1e9 are errors.
//
// Source: qupath-core, PathObjectTypeAdapters.java and ROITypeAdapters.java
// (QuPath 0.2 to 0.6).
func Parse(raw []byte, o Options) (*Object, error) {
	var f feature
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if f.Type != "Feature" {
		return nil, fmt.Errorf("%w: type %q, want Feature", ErrFormat, f.Type)
	}
	out := &Object{Type: Annotation}
	id, _ := f.ID.(string)
	if t, ok := legacyTypes[id]; ok {
		out.Type = t
	} else if isUUID(id) {
		out.ID = id
	}
	var err error
	if out.Geometry, err = parseOptional(f.Geometry, o); err != nil {
		return nil, err
	}
	if out.Nucleus, err = parseOptional(f.Nucleus, o); err != nil {
		return nil, fmt.Errorf("nucleus: %w", err)
	}
	p := f.Properties
	if p == nil {
		return out, nil
	}
	out.Name, _ = p.Name.(string)
	out.Locked, _ = p.Locked.(bool)
	for _, t := range []any{p.OldType, p.ObjectType} {
		if s, _ := t.(string); s != "" {
			out.Type = ObjectType(s)
			if old, ok := legacyTypes[s]; ok {
				out.Type = old
			}
		}
	}
	out.Class = className(p.Classification)
	out.Measurements = measurementsOf(p.Measurements)
	return out, nil
}

func parseOptional(raw json.RawMessage, o Options) (orb.Geometry, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	return ParseGeometry(raw, o)
}

// Read parses the features of a text one by one. Its error says which one
// cannot be used, and ends it.
func Read(r io.Reader, o Options) iter.Seq2[*Object, error] {
	return func(yield func(*Object, error) bool) {
		s := NewScanner(r)
		for n := 0; s.Scan(); n++ {
			obj, err := Parse(s.Bytes(), o)
			if err != nil {
				yield(nil, fmt.Errorf("feature %d: %w", n, err))
				return
			}
			if !yield(obj, nil) {
				return
			}
		}
		if s.Err() != nil {
			yield(nil, s.Err())
		}
	}
}

// ReadFile is Read of the file at a path.
func ReadFile(path string, o Options) iter.Seq2[*Object, error] {
	return func(yield func(*Object, error) bool) {
		f, err := regular.Open(path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		for obj, err := range Read(f, o) {
			if !yield(obj, err) {
				return
			}
		}
	}
}

// isUUID reports whether s is a UUID in its canonical form.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}

// className reads the ways in which QuPath has written a class.
func className(raw json.RawMessage) string {
	var c struct {
		Name  string   `json:"name"`
		Names []string `json:"names"`
	}
	if json.Unmarshal(raw, &c) != nil {
		var name string
		if json.Unmarshal(raw, &name) != nil {
			return ""
		}
		return name
	}
	if c.Name == "" {
		return strings.Join(c.Names, classSeparator)
	}
	return c.Name
}

// classSeparator stands between a class and what is derived from it.
const classSeparator = ": "

// IsClass reports whether a class, as QuPath shows it, is the one that is
// called name, or derived from it: "Tumor: Positive" is "Tumor", "Positive"
// and "Tumor: Positive".
func IsClass(class, name string) bool {
	return class == name || slices.Contains(strings.Split(class, classSeparator), name)
}

// measurementsOf reads both forms of measurements: an object, and a list of
// names and values as before QuPath 0.4.
func measurementsOf(raw json.RawMessage) []Measurement {
	var out []Measurement
	var list []struct {
		Name  string   `json:"name"`
		Value *float64 `json:"value"`
	}
	if json.Unmarshal(raw, &list) == nil {
		for _, m := range list {
			if m.Value != nil {
				out = append(out, Measurement{m.Name, *m.Value})
			}
		}
		return out
	}
	for _, m := range membersOf(raw) {
		var v *float64
		if json.Unmarshal(m.value, &v) == nil && v != nil {
			out = append(out, Measurement{m.name, *v})
		}
	}
	return out
}

// member is a member of an object.
type member struct {
	name  string
	value json.RawMessage
}

// membersOf returns the members of an object in their order; nil if raw is
// none.
func membersOf(raw json.RawMessage) []member {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var out []member
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		var v json.RawMessage
		if err != nil || !ok || d.Decode(&v) != nil {
			return nil
		}
		out = append(out, member{name, v})
	}
	return out
}

// appendMembers writes an object.
func appendMembers(b []byte, ms []member) []byte {
	b = append(b, '{')
	for i, m := range ms {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, m.name), ':')
		b = append(b, m.value...)
	}
	return append(b, '}')
}

// setMember replaces a member or adds it at the end.
func setMember(ms []member, name string, value json.RawMessage) []member {
	for i := range ms {
		if ms[i].name == name {
			ms[i].value = value
			return ms
		}
	}
	return append(ms, member{name, value})
}

// memberOf returns a member's value, nil if there is none.
func memberOf(ms []member, name string) json.RawMessage {
	for _, m := range ms {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// withoutNulls leaves the measurements that are null out of a feature.
func withoutNulls(raw []byte) ([]byte, error) {
	f := membersOf(raw)
	p := membersOf(memberOf(f, "properties"))
	ms := memberOf(p, "measurements")
	if ms == nil {
		return raw, nil
	}
	var list []json.RawMessage
	if json.Unmarshal(ms, &list) == nil {
		list = slices.DeleteFunc(list, func(m json.RawMessage) bool { return string(memberOf(membersOf(m), "value")) == "null" })
		b, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		ms = b
	} else {
		ms = appendMembers(nil, slices.DeleteFunc(membersOf(ms), func(m member) bool { return string(m.value) == "null" }))
	}
	p = setMember(p, "measurements", ms)
	return appendMembers(nil, setMember(f, "properties", appendMembers(nil, p))), nil
}
