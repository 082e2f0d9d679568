package wsi

import (
	"fmt"
	"image"
	"math"
	"sort"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// scnXML is the part of Leica's XML that is used. Lengths are nanometres.
type scnXML struct {
	Collection struct {
		SizeX  int64      `xml:"sizeX,attr"`
		SizeY  int64      `xml:"sizeY,attr"`
		Images []scnImage `xml:"image"`
	} `xml:"collection"`
}

type scnImage struct {
	View struct {
		SizeX   int64 `xml:"sizeX,attr"`
		SizeY   int64 `xml:"sizeY,attr"`
		OffsetX int64 `xml:"offsetX,attr"`
		OffsetY int64 `xml:"offsetY,attr"`
	} `xml:"view"`
	Light      string `xml:"scanSettings>illuminationSettings>illuminationSource"`
	Objective  string `xml:"scanSettings>objectiveSettings>objective"`
	Dimensions []struct {
		IFD   int    `xml:"ifd,attr"`
		SizeX int64  `xml:"sizeX,attr"`
		SizeY int64  `xml:"sizeY,attr"`
		Z     string `xml:"z,attr"`
	} `xml:"pixels>dimension"`
}

// openSCN reads a Leica SCN: the brightfield images of the collection that
// do not cover all of it are areas of one slide, in the frame of their
// bounds; the one that does is the macro picture. Focal plane 0 is read.
func (s *Slide) openSCN() error {
	s.meta.Format = "leica"
	var x scnXML
	if err := newXML(s.meta.Description).Decode(&x); err != nil {
		return fmt.Errorf("XML of Leica: %w: %w", err, tiff.ErrCorrupt)
	}
	var mains []scnImage
	light := ""
	for _, im := range x.Collection.Images {
		v := im.View
		dims := im.Dimensions[:0]
		for _, d := range im.Dimensions {
			if d.Z == "" || d.Z == "0" {
				dims = append(dims, d)
			}
		}
		im.Dimensions = dims
		sort.SliceStable(dims, func(i, j int) bool { return dims[i].SizeX > dims[j].SizeX })
		switch {
		case len(dims) == 0 || v.SizeX <= 0 || v.SizeY <= 0 || dims[0].SizeX <= 0:
			return fmt.Errorf("XML of Leica: image of %d x %d nm in %d sizes: %w", v.SizeX, v.SizeY, len(dims), tiff.ErrCorrupt)
		case im.Light != "brightfield":
			light = im.Light
		case v.OffsetX == 0 && v.OffsetY == 0 && v.SizeX == x.Collection.SizeX && v.SizeY == x.Collection.SizeY:
			d, err := s.scnDir(dims[0].IFD)
			if err != nil {
				return err
			}
			s.addAssociated("macro", func() (image.Image, error) { return wholeImage(d) })
		default:
			mains = append(mains, im)
		}
	}
	if len(mains) == 0 {
		return fmt.Errorf("no brightfield image in the Leica SCN (illumination %q): only brightfield is read: %w", light, tiff.ErrUnsupported)
	}
	return s.addSCN(mains)
}

// addSCN adds the levels that the images make up together.
func (s *Slide) addSCN(mains []scnImage) error {
	first := mains[0]
	left, top := first.View.OffsetX, first.View.OffsetY
	for _, im := range mains {
		if im.Objective != first.Objective || len(im.Dimensions) != len(first.Dimensions) {
			return fmt.Errorf("unlike images in the Leica SCN (objectives %q and %q, %d and %d levels): %w",
				first.Objective, im.Objective, len(first.Dimensions), len(im.Dimensions), ErrFormat)
		}
		left, top = min(left, im.View.OffsetX), min(top, im.View.OffsetY)
	}
	for k := range first.Dimensions {
		scale := math.Inf(1) // nanometres per pixel, the finest of the areas
		for _, im := range mains {
			scale = min(scale, float64(im.View.SizeX)/float64(max(im.Dimensions[k].SizeX, 1)))
		}
		var areas []mosaicArea
		w, h := 0, 0
		for _, im := range mains {
			d, err := s.scnDir(im.Dimensions[k].IFD)
			if err != nil {
				return err
			}
			pic, err := d.Image()
			if err != nil {
				return err
			}
			a := mosaicArea{r: tiffRaster{pic}, w: pic.W, h: pic.H,
				at: image.Pt(scnPixel(im.View.OffsetX, left, scale), scnPixel(im.View.OffsetY, top, scale))}
			areas = append(areas, a)
			w, h = max(w, a.at.X+a.w), max(h, a.at.Y+a.h)
			if w > 1<<30 || h > 1<<30 {
				return fmt.Errorf("XML of Leica: area at %v: %w", a.at, tiff.ErrCorrupt)
			}
			if k == 0 && len(areas) == 1 {
				s.setMPP(scale/1000, float64(im.View.SizeY)/float64(max(im.Dimensions[k].SizeY, 1))/1000)
				s.setMPP(resolution(d))
			}
		}
		s.addMosaic(w, h, areas)
	}
	s.meta.Objective = decimal(strings.TrimSpace(first.Objective))
	return s.checkLevels()
}

// scnPixel is where an area begins on a level, relative to the first one.
func scnPixel(off, from int64, scale float64) int {
	v := float64(off)/scale - math.Floor(float64(from)/scale)
	return int(min(max(math.Floor(v), 0), 1<<31))
}

func (s *Slide) scnDir(i int) (*tiff.Dir, error) {
	if i < 0 || i >= len(s.file.Dirs()) {
		return nil, fmt.Errorf("XML of Leica: image in directory %d of %d: %w", i, len(s.file.Dirs()), tiff.ErrCorrupt)
	}
	return s.file.Dirs()[i], nil
}
