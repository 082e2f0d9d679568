package wsi

import (
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// openAperio reads an Aperio SVS: tiled directories are levels, stripped ones
// the thumbnail (the second directory), the label and the macro picture, named
// by the second line of their description or, if that is empty, as by the
// GT450, by NewSubfileType 1 and 9.
func (s *Slide) openAperio() error {
	s.meta.Format = "aperio"
	var tiled []*tiff.Dir
	for i, d := range s.file.Dirs() {
		if d.Has(tiff.TileWidth) {
			tiled = append(tiled, d)
			continue
		}
		s.associate(aperioName(i, d), d)
	}
	pages, err := pagesOf(tiled)
	if err != nil {
		return err
	}
	top := largest(pages)
	s.addLevel(tiffRaster{top.im}, top.im.W, top.im.H)
	for _, p := range levelsOf(top, pages) {
		s.addLevel(tiffRaster{p.im}, p.im.W, p.im.H)
	}
	if d := plainText(top.dir.Text(tiff.ImageDescription)); strings.HasPrefix(d, "Aperio") {
		s.meta.Description = d
	}
	p := aperioProperties(s.meta.Description)
	mpp := decimal(p["MPP"])
	s.setMPP(mpp, mpp)
	s.meta.Objective = decimal(p["AppMag"])
	return s.checkLevels()
}

// aperioName names a directory that is no level.
func aperioName(i int, d *tiff.Dir) string {
	_, second, _ := strings.Cut(d.Text(tiff.ImageDescription), "\n")
	name, _, _ := strings.Cut(strings.TrimSpace(second), " ")
	if name = strings.ToLower(name); name == "label" || name == "macro" {
		return name
	}
	sub, err := d.Uint(tiff.NewSubfileType, 0)
	switch {
	case err == nil && sub == 1 && i != 1:
		return "label"
	case err == nil && sub == 9:
		return "macro"
	}
	return "thumbnail"
}

// aperioProperties reads the "key = value" pairs between bars, with blanks
// around the sign or without.
func aperioProperties(desc string) map[string]string {
	p := map[string]string{}
	for _, f := range strings.Split(desc, "|") {
		if k, v, ok := strings.Cut(f, "="); ok {
			p[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return p
}
