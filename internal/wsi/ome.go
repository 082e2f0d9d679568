package wsi

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// omeXML is the part of the OME data model that is used. Numbers are texts:
// some writers have decimal commas.
type omeXML struct {
	UUID        string `xml:"UUID,attr"`
	Instruments []struct {
		Objectives []struct {
			ID                   string `xml:"ID,attr"`
			NominalMagnification string `xml:"NominalMagnification,attr"`
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
		Order         string `xml:"DimensionOrder,attr"`
		SizeC         int    `xml:"SizeC,attr"`
		SizeZ         int    `xml:"SizeZ,attr"`
		SizeT         int    `xml:"SizeT,attr"`
		PhysicalSizeX string `xml:"PhysicalSizeX,attr"`
		PhysicalSizeY string `xml:"PhysicalSizeY,attr"`
		UnitX         string `xml:"PhysicalSizeXUnit,attr"`
		UnitY         string `xml:"PhysicalSizeYUnit,attr"`
		Channels      []struct {
			Name string `xml:"Name,attr"`
		} `xml:"Channel"`
		TiffData []omeTiffData `xml:"TiffData"`
	} `xml:"Pixels"`
}

type omeTiffData struct {
	IFD    int `xml:"IFD,attr"`
	FirstC int `xml:"FirstC,attr"`
	FirstZ int `xml:"FirstZ,attr"`
	FirstT int `xml:"FirstT,attr"`
	UUID   struct {
		FileName string `xml:"FileName,attr"`
		Text     string `xml:",chardata"`
	} `xml:"UUID"`
}

// omeUnits turns the units that the schema allows and that slides use into
// micrometres.
var omeUnits = map[string]float64{"": 1, "µm": 1, "μm": 1, "um": 1, "Âµm": 1, "Î¼m": 1, "micron": 1, "micrometer": 1, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6}

// omePlanes is an image of the XML and the pages of it that are in this file.
type omePlanes struct {
	omeImage
	pages []page // one, or red, green and blue
}

// openOME reads an OME-TIFF: the image of most pixels that no name calls a
// label, a macro or a thumbnail is the slide, its levels are SubIFDs; images of
// those names are associated, and so is what is no slide by its name.
func (s *Slide) openOME() error {
	s.meta.Format = "ome-tiff"
	var x omeXML
	if err := newXML(s.meta.Description).Decode(&x); err != nil {
		return fmt.Errorf("OME-XML: %w: %w", err, tiff.ErrCorrupt)
	}
	if len(x.Images) == 0 {
		return fmt.Errorf("OME-XML names no image (companion file?): %w", ErrFormat)
	}
	var all []omePlanes
	var first error
	for _, im := range x.Images {
		p, err := s.omePages(x, im)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		all = append(all, p)
	}
	main, ok := omeSlide(all)
	if !ok {
		return first
	}
	if err := s.addOME(main, all); err != nil {
		return err
	}
	px := main.Pixels
	s.setMPP(decimal(px.PhysicalSizeX)*omeUnits[px.UnitX], decimal(px.PhysicalSizeY)*omeUnits[px.UnitY])
	for _, in := range x.Instruments {
		for _, o := range in.Objectives {
			if main.Objective.ID == "" || o.ID == main.Objective.ID {
				s.meta.Objective = decimal(o.NominalMagnification)
			}
		}
	}
	for _, p := range all {
		if name := omeAssociated(p.Name); name != "" && p.pages[0].dir != main.pages[0].dir {
			s.associate(name, p.pages[0].dir)
		}
	}
	return s.checkLevels()
}

// omeSlide returns the image that is the slide.
func omeSlide(all []omePlanes) (omePlanes, bool) {
	best, found := omePlanes{}, false
	for _, named := range []bool{false, true} { // one with an associated picture's name only if there is no other
		for _, p := range all {
			if (omeAssociated(p.Name) != "") == named && (!found || p.larger(best)) {
				best, found = p, true
			}
		}
		if found {
			return best, true
		}
	}
	return best, false
}

// larger is page.larger for images; three planes are one in colour.
func (p omePlanes) larger(q omePlanes) bool {
	if len(p.pages) != len(q.pages) {
		a, b := p.pages[0].im, q.pages[0].im
		return len(p.pages) > 1 && a.W*a.H*colourShare >= b.W*b.H || a.W*a.H > b.W*b.H*colourShare
	}
	return p.pages[0].larger(q.pages[0])
}

// addOME adds the levels of the slide.
func (s *Slide) addOME(main omePlanes, all []omePlanes) error {
	if px := main.Pixels; px.SizeZ > 1 || px.SizeT > 1 {
		s.warn("OME-TIFF of %d depths and %d times: only the first is read", max(px.SizeZ, 1), max(px.SizeT, 1))
	}
	if len(main.pages) == 3 {
		return s.addPlanes(main.pages)
	}
	// Without SubIFDs, reduced pages that no image of the XML claims.
	claimed := map[*tiff.Dir]bool{}
	for _, p := range all {
		for _, q := range p.pages {
			claimed[q.dir] = true
		}
	}
	var others []*tiff.Dir
	for _, o := range s.file.Dirs() {
		if !claimed[o] {
			others = append(others, o)
		}
	}
	return s.addPyramid(main.pages[0].dir, others)
}

// omePages finds the pages of an image: that of its first depth and time, or
// one for each of red, green and blue.
func (s *Slide) omePages(x omeXML, im omeImage) (omePlanes, error) {
	out := omePlanes{omeImage: im}
	at, elsewhere := []omeTiffData{}, ""
	for _, d := range im.Pixels.TiffData {
		if name := d.UUID.FileName; name != "" && name != filepath.Base(s.path) && (x.UUID == "" || strings.TrimSpace(d.UUID.Text) != x.UUID) {
			elsewhere = name
			continue
		}
		if d.FirstZ == 0 && d.FirstT == 0 {
			at = append(at, d)
		}
	}
	if len(at) == 0 && elsewhere != "" {
		return out, refuse("OME-TIFF of several files: image %q lies in %s: open that file", im.Name, elsewhere)
	}
	ifd := 0
	if len(at) > 0 {
		slices.SortStableFunc(at, func(a, b omeTiffData) int { return a.FirstC - b.FirstC })
		ifd = at[0].IFD
	}
	first, err := s.omePage(ifd)
	if err != nil {
		return out, err
	}
	out.pages = []page{first}
	if im.Pixels.SizeC <= 1 || !first.im.Gray() {
		return out, nil
	}
	if err := omeColours(im); err != nil {
		return out, err
	}
	for c := 1; c < 3; c++ {
		next := ifd + c // planes follow one another unless the file says otherwise
		if order := im.Pixels.Order; len(order) == 5 && order[2] != 'C' {
			next = ifd + c*max(im.Pixels.SizeZ, 1)*max(im.Pixels.SizeT, 1)
		}
		for _, d := range at {
			if d.FirstC == c {
				next = d.IFD
			}
		}
		p, err := s.omePage(next)
		if err != nil {
			return out, err
		}
		out.pages = append(out.pages, p)
	}
	return out, nil
}

// omeColours returns an error unless the image's channels are red, green and
// blue, by their names or for want of names.
func omeColours(im omeImage) error {
	names := make([]string, 0, len(im.Pixels.Channels))
	for _, c := range im.Pixels.Channels {
		names = append(names, c.Name)
	}
	ok := im.Pixels.SizeC == 3
	for i, n := range names {
		n = strings.ToLower(strings.TrimSpace(n))
		ok = ok && (n == "" || i < 3 && (n == "rgb"[i:i+1] || n == []string{"red", "green", "blue"}[i]))
	}
	if !ok {
		return refuse("OME-TIFF of %d channels %q in pages of their own: only red, green and blue are read; export it as brightfield RGB", im.Pixels.SizeC, names)
	}
	return nil
}

// omePage returns the picture of a directory.
func (s *Slide) omePage(i int) (page, error) {
	if i < 0 || i >= len(s.file.Dirs()) {
		return page{}, fmt.Errorf("OME-XML: image in directory %d of %d: %w", i, len(s.file.Dirs()), tiff.ErrCorrupt)
	}
	d := s.file.Dirs()[i]
	im, err := d.Image()
	return page{d, im}, err
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
