package dataset

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/regular"
)

// maxXML is the largest annotation file that is read. MoNuSeg's have about 5 MB.
const maxXML = 1 << 28

func openXML(path string, parse func(io.Reader) ([]outline, error)) ([]outline, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLayout, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > maxXML {
		return nil, fmt.Errorf("%w: %s: %d bytes, at most %d are read", ErrFormat, path, st.Size(), maxXML)
	}
	list, err := parse(f)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, path, err)
	}
	return list, nil
}

func decodeXML(r io.Reader, v any) error {
	d := xml.NewDecoder(r)
	// annotations hold numbers and class names; other encodings of ASCII do
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	return d.Decode(v)
}

// parseAperio reads the regions of Aperio ImageScope in their order. Group is
// the value of the annotation's attribute "Name" if it has one (MoNuSAC), else
// the annotation's own name. Regions with fewer than three vertices have no
// area and are left out.
func parseAperio(r io.Reader) ([]outline, error) {
	var doc struct {
		XMLName    xml.Name
		Annotation []struct {
			Name       string `xml:"Name,attr"`
			Attributes []struct {
				Name string `xml:"Name,attr"`
			} `xml:"Attributes>Attribute"`
			Region []struct {
				ID          string `xml:"Id,attr"`
				NegativeROA string `xml:"NegativeROA,attr"`
				Vertex      []struct {
					X float64 `xml:"X,attr"`
					Y float64 `xml:"Y,attr"`
				} `xml:"Vertices>Vertex"`
			} `xml:"Regions>Region"`
		}
	}
	if err := decodeXML(r, &doc); err != nil {
		return nil, err
	}
	if doc.XMLName.Local != "Annotations" {
		return nil, fmt.Errorf("root <%s>, want <Annotations> of Aperio ImageScope", doc.XMLName.Local)
	}
	var out []outline
	for _, a := range doc.Annotation {
		group := a.Name
		if len(a.Attributes) > 0 && a.Attributes[0].Name != "" {
			group = a.Attributes[0].Name
		}
		for _, g := range a.Region {
			if len(g.Vertex) < 3 || g.NegativeROA == "1" {
				continue
			}
			ring := make(orb.Ring, 0, len(g.Vertex))
			for i, v := range g.Vertex {
				if !finite(v.X, v.Y) {
					return nil, fmt.Errorf("region %s: vertex %d is (%g, %g)", g.ID, i, v.X, v.Y)
				}
				ring = append(ring, orb.Point{v.X, v.Y})
			}
			out = append(out, outline{id: "region " + g.ID, group: group, area: orb.MultiPolygon{{ring}}})
		}
	}
	return out, nil
}

// parseASAP reads the polygons of ASAP in their order, vertices by their Order.
// Group is PartOfGroup. Annotations that are no areas (dots, measurements) are
// left out.
func parseASAP(r io.Reader) ([]outline, error) {
	type coordinate struct {
		Order float64 `xml:"Order,attr"`
		X     float64 `xml:"X,attr"`
		Y     float64 `xml:"Y,attr"`
	}
	var doc struct {
		XMLName    xml.Name
		Annotation []struct {
			Name       string       `xml:"Name,attr"`
			Type       string       `xml:"Type,attr"`
			Group      string       `xml:"PartOfGroup,attr"`
			Coordinate []coordinate `xml:"Coordinates>Coordinate"`
		} `xml:"Annotations>Annotation"`
	}
	if err := decodeXML(r, &doc); err != nil {
		return nil, err
	}
	if doc.XMLName.Local != "ASAP_Annotations" {
		return nil, fmt.Errorf("root <%s>, want <ASAP_Annotations>", doc.XMLName.Local)
	}
	var out []outline
	for _, a := range doc.Annotation {
		if len(a.Coordinate) < 3 || a.Type == "Dot" || a.Type == "PointSet" || a.Type == "Measurement" {
			continue
		}
		for i, c := range a.Coordinate {
			if !finite(c.Order, c.X, c.Y) {
				return nil, fmt.Errorf("annotation %s: coordinate %d is (%g, %g)", a.Name, i, c.X, c.Y)
			}
		}
		slices.SortStableFunc(a.Coordinate, func(p, q coordinate) int {
			switch {
			case p.Order < q.Order:
				return -1
			case p.Order > q.Order:
				return 1
			}
			return 0
		})
		ring := make(orb.Ring, 0, len(a.Coordinate))
		for _, c := range a.Coordinate {
			ring = append(ring, orb.Point{c.X, c.Y})
		}
		out = append(out, outline{id: a.Name, group: a.Group, area: orb.MultiPolygon{{ring}}})
	}
	return out, nil
}
