package wsi

import (
	"encoding/xml"
	"fmt"
	"image"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// omeXML is the part of the OME data model that is used.
type omeXML struct {
	Instruments []struct {
		Objectives []struct {
			ID                      string  `xml:"ID,attr"`
			NominalMagnification    float64 `xml:"NominalMagnification,attr"`
			CalibratedMagnification float64 `xml:"CalibratedMagnification,attr"`
		} `xml:"Objective"`
	} `xml:"Instrument"`
	Images []omeImage `xml:"Image"`
}

type omeImage struct {
	Name      string `xml:"Name,attr"`
	Objective struct {
		ID string `xml:"ID,attr"`
	} `xml:"ObjectiveSettings"`
	Pixels struct {
		SizeX         int     `xml:"SizeX,attr"`
		SizeY         int     `xml:"SizeY,attr"`
		SizeC         int     `xml:"SizeC,attr"`
		SizeZ         int     `xml:"SizeZ,attr"`
		SizeT         int     `xml:"SizeT,attr"`
		PhysicalSizeX float64 `xml:"PhysicalSizeX,attr"`
		PhysicalSizeY float64 `xml:"PhysicalSizeY,attr"`
		UnitX         string  `xml:"PhysicalSizeXUnit,attr"`
		UnitY         string  `xml:"PhysicalSizeYUnit,attr"`
		TiffData      []struct {
			IFD int `xml:"IFD,attr"`
		} `xml:"TiffData"`
	} `xml:"Pixels"`
}

// omeUnits turns the units that the schema allows and that slides use into
// micrometres.
var omeUnits = map[string]float64{"": 1, "µm": 1, "μm": 1, "um": 1, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6}

// openOME reads an OME-TIFF: the first image of the XML is the slide, its
// levels are SubIFDs; images named label, macro or thumbnail are associated.
func (s *Slide) openOME() error {
	s.meta.Format = "ome-tiff"
	var x omeXML
	if err := xml.Unmarshal([]byte(s.meta.Description), &x); err != nil {
		return fmt.Errorf("OME-XML: %w: %w", err, tiff.ErrCorrupt)
	}
	if len(x.Images) == 0 {
		return fmt.Errorf("OME-XML names no image (companion file?): %w", ErrFormat)
	}
	main := x.Images[0]
	d, err := s.omeDir(main)
	if err != nil {
		return err
	}
	spp, err := d.Uint(tiff.SamplesPerPixel, 1)
	if err != nil {
		return err
	}
	if px := main.Pixels; px.SizeZ > 1 || px.SizeT > 1 || px.SizeC > 1 && int(spp) != px.SizeC {
		return fmt.Errorf("OME-TIFF of %d channels in planes of %d, %d depths, %d times: only one plane of brightfield RGB is read; export it so: %w",
			px.SizeC, spp, px.SizeZ, px.SizeT, ErrFormat)
	}
	// Without SubIFDs, reduced pages that no image of the XML claims.
	claimed := map[*tiff.Dir]bool{}
	for _, im := range x.Images {
		if o, err := s.omeDir(im); err == nil {
			claimed[o] = true
		}
	}
	var others []*tiff.Dir
	for _, o := range s.file.Dirs() {
		if !claimed[o] {
			others = append(others, o)
		}
	}
	if err := s.addPyramid(d, others); err != nil {
		return err
	}
	px := main.Pixels
	s.setMPP(px.PhysicalSizeX*omeUnits[px.UnitX], px.PhysicalSizeY*omeUnits[px.UnitY])
	for _, in := range x.Instruments {
		for _, o := range in.Objectives {
			if main.Objective.ID == "" || o.ID == main.Objective.ID {
				s.meta.Objective = max(o.NominalMagnification, 0)
			}
		}
	}
	for _, im := range x.Images[1:] {
		name := omeAssociated(im.Name)
		if o, err := s.omeDir(im); err == nil && name != "" {
			s.addAssociated(name, func() (image.Image, error) { return wholeImage(o) })
		}
	}
	return s.checkLevels()
}

// omeDir finds the directory of an image.
func (s *Slide) omeDir(im omeImage) (*tiff.Dir, error) {
	i := 0
	if len(im.Pixels.TiffData) > 0 {
		i = im.Pixels.TiffData[0].IFD
	}
	if i < 0 || i >= len(s.file.Dirs()) {
		return nil, fmt.Errorf("OME-XML: image in directory %d of %d: %w", i, len(s.file.Dirs()), tiff.ErrCorrupt)
	}
	return s.file.Dirs()[i], nil
}

func omeAssociated(name string) string {
	n := strings.ToLower(name)
	for _, k := range []string{"label", "macro", "thumbnail"} {
		if strings.Contains(n, k) {
			return k
		}
	}
	if strings.Contains(n, "overview") {
		return "macro"
	}
	return ""
}
