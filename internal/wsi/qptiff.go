package wsi

import (
	"fmt"
	"image"
	"sort"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// qpiXML is the part of Akoya's description of a directory that is used.
type qpiXML struct {
	ImageType     string `xml:"ImageType"`
	Name          string `xml:"Name"`
	Objective     string `xml:"Objective"`
	Magnification string `xml:"ScanProfile>root>Magnification"`
}

// isQPI recognises the description of a Vectra or PhenoImager QPTIFF.
func isQPI(desc string) bool { return strings.Contains(desc, "<PerkinElmer-QPI-ImageDescription") }

// openQPTIFF reads a QPTIFF of brightfield: the directory FullResolution and
// those of ReducedResolution are levels; Thumbnail, Overview and Label are
// associated. Fluorescence, one gray directory a channel, is refused.
func (s *Slide) openQPTIFF() error {
	s.meta.Format = "qptiff"
	var levels []*tiff.Image
	full := 0
	for _, d := range s.file.Dirs() {
		var x qpiXML
		desc := d.Text(tiff.ImageDescription)
		if i := strings.Index(desc, "<PerkinElmer"); i > 0 {
			desc = desc[i:] // without the declaration, whose encoding may be wrong
		}
		if err := newXML(desc).Decode(&x); err != nil {
			return fmt.Errorf("XML of QPTIFF: %w: %w", err, tiff.ErrCorrupt)
		}
		switch x.ImageType {
		case "FullResolution", "ReducedResolution":
			im, err := d.Image()
			if err != nil {
				return err
			}
			spp, err := d.Uint(tiff.SamplesPerPixel, 1)
			if err != nil {
				return err
			}
			if x.ImageType == "FullResolution" {
				full++
			}
			if full > 1 || spp < 3 {
				return fmt.Errorf("QPTIFF of fluorescence (channel %q): only brightfield is read: %w", x.Name, tiff.ErrUnsupported)
			}
			if x.ImageType == "FullResolution" {
				s.setMPP(resolution(d))
				s.meta.Objective = decimal(strings.TrimRight(x.Objective, "xX"))
				if s.meta.Objective == 0 {
					s.meta.Objective = decimal(strings.TrimRight(x.Magnification, "xX"))
				}
			}
			levels = append(levels, im)
		case "Thumbnail", "Overview", "Label":
			name := map[string]string{"Thumbnail": "thumbnail", "Overview": "macro", "Label": "label"}[x.ImageType]
			s.addAssociated(name, func() (image.Image, error) { return wholeImage(d) })
		}
	}
	if full == 0 {
		return fmt.Errorf("QPTIFF without a picture of full resolution: %w", ErrFormat)
	}
	sort.SliceStable(levels, func(i, j int) bool { return levels[i].W > levels[j].W })
	for _, im := range levels {
		s.addLevel(tiffRaster{im}, im.W, im.H)
	}
	return s.checkLevels()
}
