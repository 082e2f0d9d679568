package wsi

import (
	"image"
	"strconv"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// openAperio reads an Aperio SVS: tiled directories are levels, finest
// first; stripped ones are the thumbnail (the second directory), the label
// and the macro picture, named by the second line of their description.
func (s *Slide) openAperio() error {
	s.meta.Format = "aperio"
	p := aperioProperties(s.meta.Description)
	mpp, _ := strconv.ParseFloat(p["MPP"], 64)
	s.setMPP(mpp, mpp)
	s.meta.Objective = positive(p["AppMag"])
	for i, d := range s.file.Dirs() {
		if d.Has(tiff.TileWidth) {
			if err := s.addDir(d); err != nil {
				return err
			}
			continue
		}
		name := "thumbnail"
		if i != 1 {
			_, second, _ := strings.Cut(d.Text(tiff.ImageDescription), "\n")
			name, _, _ = strings.Cut(strings.TrimSpace(second), " ")
		}
		s.addAssociated(name, func() (image.Image, error) { return wholeImage(d) })
	}
	return s.checkLevels()
}

// aperioProperties reads the "key = value" pairs between bars.
func aperioProperties(desc string) map[string]string {
	p := map[string]string{}
	for _, f := range strings.Split(desc, "|") {
		if k, v, ok := strings.Cut(f, " = "); ok {
			p[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return p
}

// positive parses a number, 0 if it is none or not above 0.
func positive(s string) float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(v > 0) || v > 1e9 {
		return 0
	}
	return v
}
