package wsi

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"image"
	"math"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// openPhilips reads a Philips TIFF: tiled directories are levels, padded to
// whole tiles, so that the true size comes from the pixel spacings in the
// XML; blank tiles are left out and stay transparent.
func (s *Slide) openPhilips() error {
	s.meta.Format, s.sparse = "philips", true
	x, err := parsePhilips(s.meta.Description)
	if err != nil {
		return err
	}
	if len(x.spacings) > 0 {
		s.setMPP(x.spacings[0][0]*1000, x.spacings[0][1]*1000)
	}
	for _, d := range s.file.Dirs() {
		if !d.Has(tiff.TileWidth) {
			name, _, _ := strings.Cut(strings.ToLower(d.Text(tiff.ImageDescription)), " ")
			if name == "label" || name == "macro" {
				s.addAssociated(name, func() (image.Image, error) { return wholeImage(d) })
			}
			continue
		}
		im, err := d.Image()
		if err != nil {
			return err
		}
		w, h := im.W, im.H
		if k := len(s.levels); k > 0 {
			z := s.levels[0]
			dx, dy := math.Round(float64(z.W)/float64(w)), math.Round(float64(z.H)/float64(h))
			if k < len(x.spacings) {
				dx, dy = x.spacings[k][0]/x.spacings[0][0], x.spacings[k][1]/x.spacings[0][1]
			}
			w = min(w, max(1, int(float64(z.W)/max(dx, 1))))
			h = min(h, max(1, int(float64(z.H)/max(dy, 1))))
		}
		s.addLevel(tiffRaster{im}, w, h)
	}
	for name, b := range x.pictures {
		s.addAssociated(name, func() (image.Image, error) { return decodeJPEG(bytes.NewReader(b)) })
	}
	return s.checkLevels()
}

// philipsXML is what is used of the XML.
type philipsXML struct {
	spacings [][2]float64 // mm, x and y, the pyramid's levels in order
	pictures map[string][]byte
}

const (
	philipsSequence = "PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"
	maxDepth        = 256 // of elements inside one another
)

var philipsPictures = map[string]string{"MACROIMAGE": "macro", "LABELIMAGE": "label"}

// parsePhilips walks over the nested DataObjects. The pixel spacings of the
// levels are those inside the pixel data representations; the first one
// outside stands for the slide where those are missing.
func parsePhilips(desc string) (philipsXML, error) {
	out := philipsXML{pictures: map[string][]byte{}}
	var single [][2]float64
	var names []string // of the open Attribute elements
	var kind string    // of the last scanned image
	var data strings.Builder
	inside := 0 // open pixel data representations
	dec := newXML(desc)
	flush := func() {
		if n := philipsPictures[kind]; n != "" && data.Len() > 0 {
			if b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(data.String()), "")); err == nil {
				out.pictures[n] = b
			}
		}
		kind = ""
		data.Reset()
	}
	for {
		tok, err := dec.Token()
		if tok == nil && err != nil {
			if err.Error() == "EOF" {
				break
			}
			return out, fmt.Errorf("XML of Philips: %w: %w", err, tiff.ErrCorrupt)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			name := ""
			for _, a := range t.Attr {
				if a.Name.Local == "Name" {
					name = a.Value
				}
				if a.Name.Local == "ObjectType" && a.Value == "DPScannedImage" {
					flush()
				}
			}
			if len(names) >= maxDepth {
				return out, fmt.Errorf("XML of Philips: more than %d elements inside one another: %w", maxDepth, tiff.ErrCorrupt)
			}
			if name == philipsSequence {
				inside++
			}
			names = append(names, name)
		case xml.EndElement:
			if len(names) > 0 {
				if names[len(names)-1] == philipsSequence {
					inside--
				}
				names = names[:len(names)-1]
			}
		case xml.CharData:
			if len(names) == 0 {
				continue
			}
			text := strings.TrimSpace(string(t))
			switch names[len(names)-1] {
			case "DICOM_PIXEL_SPACING":
				v, ok := parseSpacing(text)
				if !ok {
					continue
				}
				if inside > 0 {
					out.spacings = append(out.spacings, v)
				} else {
					single = append(single, v)
				}
			case "PIM_DP_IMAGE_TYPE":
				kind = text
			case "PIM_DP_IMAGE_DATA":
				data.WriteString(text)
			}
		}
	}
	flush()
	if len(out.spacings) == 0 && len(single) > 0 {
		out.spacings = single[:1]
	}
	return out, nil
}

// parseSpacing reads two quoted numbers, the spacing of rows and of columns,
// and returns x, y.
func parseSpacing(s string) (v [2]float64, ok bool) {
	f := strings.Fields(strings.ReplaceAll(s, `"`, " "))
	if len(f) != 2 {
		return v, false
	}
	for i := range v {
		x := decimal(f[i])
		if x == 0 || x > 1 {
			return v, false
		}
		v[i] = x
	}
	v[0], v[1] = v[1], v[0] // the file has rows first
	return v, true
}
