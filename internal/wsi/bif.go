package wsi

import (
	"fmt"
	"image"
	"math"
	"strconv"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// iscanXML is what the first directory's XML says of the scan.
type iscanXML struct {
	Magnification string    `xml:"Magnification,attr"`
	ScanRes       string    `xml:"ScanRes,attr"`
	Inner         *iscanXML `xml:"iScan"`
}

// bifXML is what the finest level's XML says of its areas.
type bifXML struct {
	Areas []struct {
		Scanned int     `xml:"AOIScanned,attr"`
		Width   int     `xml:"Width,attr"`
		Height  int     `xml:"Height,attr"`
		NumRows int     `xml:"NumRows,attr"`
		NumCols int     `xml:"NumCols,attr"`
		PosX    float64 `xml:"Pos-X,attr"`
		PosY    float64 `xml:"Pos-Y,attr"`
		Joints  []struct {
			Direction  string  `xml:"Direction,attr"`
			OverlapX   float64 `xml:"OverlapX,attr"`
			OverlapY   float64 `xml:"OverlapY,attr"`
			Confidence float64 `xml:"Confidence,attr"`
		} `xml:"TileJointInfo"`
	} `xml:"SlideStitchInfo>ImageInfo"`
	Origins struct {
		List []struct {
			X int `xml:"OriginX,attr"`
			Y int `xml:"OriginY,attr"`
		} `xml:",any"`
	} `xml:"AoiOrigin"`
}

// bifArea is a scanned rectangle of tiles and its place on level 0.
type bifArea struct {
	x, y                 float64
	col, row, cols, rows int
}

// openBIF reads a Ventana BIF or TIFF. The tiles of a BIF overlap by what
// the stitching found on average, as OpenSlide places them; a tile of a
// coarser level holds parts of several, and is cut apart again. Where tiles
// overlap the lower and the right one is seen. Tiles are moved to whole
// pixels.
func (s *Slide) openBIF() error {
	s.meta.Format = "ventana"
	x := iscanXML{}
	if err := newXML(s.file.Dirs()[0].Text(tiff.XMP)).Decode(&x); err != nil {
		return fmt.Errorf("XML of Ventana: %w: %w", err, tiff.ErrCorrupt)
	}
	if x.Inner != nil {
		x = *x.Inner
	}
	s.meta.Objective = decimal(x.Magnification)
	mpp := decimal(x.ScanRes)
	s.setMPP(mpp, mpp)
	var b *bifPlan
	first := 0.0 // magnification
	for _, d := range s.file.Dirs() {
		desc := d.Text(tiff.ImageDescription)
		switch {
		case strings.Contains(desc, "level="):
			im, err := d.Image()
			if err != nil {
				return err
			}
			mag := bifMagnification(desc)
			if mag <= 0 || len(s.levels) > 0 && mag >= first {
				return fmt.Errorf("level of magnification %v, the finest has %v: %w", mag, first, tiff.ErrCorrupt)
			}
			if len(s.levels) == 0 {
				first = mag
				if t := d.Text(tiff.XMP); strings.Contains(t, "<EncodeInfo") {
					if b, err = planBIF(t, im); err != nil {
						return err
					}
				}
			}
			if b == nil {
				s.addLevel(tiffRaster{im}, im.W, im.H)
			} else if err := s.addBIF(b, im, int(math.Round(first/mag))); err != nil {
				return err
			}
		case desc == "Label Image" || desc == "Label_Image":
			s.addAssociated("macro", func() (image.Image, error) { return wholeImage(d) })
		case desc == "Thumbnail":
			s.addAssociated("thumbnail", func() (image.Image, error) { return wholeImage(d) })
		}
	}
	return s.checkLevels()
}

// bifMagnification reads "mag=" of a level's description.
func bifMagnification(desc string) float64 {
	for _, f := range strings.Fields(desc) {
		if v, ok := strings.CutPrefix(f, "mag="); ok {
			m, err := strconv.ParseFloat(v, 64)
			if err == nil && m > 0 && m < 1e4 {
				return m
			}
		}
	}
	return 0
}

// bifPlan is where the tiles of level 0 lie.
type bifPlan struct {
	areas        []bifArea
	stepX, stepY float64 // from a tile to the next
	tileW, tileH int
}

func planBIF(text string, im *tiff.Image) (*bifPlan, error) {
	var x bifXML
	if i := strings.Index(text, "<EncodeInfo"); i > 0 {
		text = text[i:]
	}
	if err := newXML(text).Decode(&x); err != nil {
		return nil, fmt.Errorf("XML of Ventana: %w: %w", err, tiff.ErrCorrupt)
	}
	if len(x.Areas) == 0 || len(x.Areas) != len(x.Origins.List) {
		return nil, fmt.Errorf("XML of Ventana: %d areas, %d origins: %w", len(x.Areas), len(x.Origins.List), tiff.ErrCorrupt)
	}
	p := &bifPlan{stepX: float64(im.SegW), stepY: float64(im.SegH), tileW: im.SegW, tileH: im.SegH}
	var sumX, sumY, weightX, weightY float64
	tiles := 0
	for i, a := range x.Areas {
		if a.Scanned == 0 {
			continue
		}
		o := x.Origins.List[i]
		if a.Width != im.SegW || a.Height != im.SegH || o.X < 0 || o.Y < 0 || o.X%a.Width != 0 || o.Y%a.Height != 0 {
			return nil, fmt.Errorf("XML of Ventana: area %d from (%d, %d) on in tiles of %d x %d, want %d x %d: %w", i, o.X, o.Y, a.Width, a.Height, im.SegW, im.SegH, tiff.ErrCorrupt)
		}
		b := bifArea{x: a.PosX, y: a.PosY, col: o.X / a.Width, row: o.Y / a.Height, cols: a.NumCols, rows: a.NumRows}
		if b.cols < 1 || b.rows < 1 || b.col+b.cols > im.Cols || b.row+b.rows > im.Rows || math.Abs(b.x) > 1<<30 || math.Abs(b.y) > 1<<30 {
			return nil, fmt.Errorf("XML of Ventana: area %d of %d x %d tiles from (%d, %d) on, of %d x %d: %w", i, b.cols, b.rows, b.col, b.row, im.Cols, im.Rows, tiff.ErrCorrupt)
		}
		if tiles += b.cols * b.rows; tiles > 2*im.Cols*im.Rows {
			return nil, fmt.Errorf("XML of Ventana: areas of more tiles than the level has: %w", tiff.ErrCorrupt)
		}
		p.areas = append(p.areas, b)
		for _, j := range a.Joints {
			switch {
			case !(j.Confidence > 0 && j.Confidence < 1e6):
			case j.Direction == "RIGHT" || j.Direction == "LEFT":
				sumX, weightX = sumX+j.Confidence*j.OverlapX, weightX+j.Confidence
			case j.Direction == "UP" || j.Direction == "DOWN":
				sumY, weightY = sumY+j.Confidence*j.OverlapY, weightY+j.Confidence
			}
		}
	}
	if weightX > 0 {
		p.stepX -= sumX / weightX
	}
	if weightY > 0 {
		p.stepY -= sumY / weightY
	}
	if len(p.areas) == 0 || !(p.stepX >= float64(im.SegW)/2 && p.stepX <= 2*float64(im.SegW)) || !(p.stepY >= float64(im.SegH)/2 && p.stepY <= 2*float64(im.SegH)) {
		return nil, fmt.Errorf("XML of Ventana: %d areas, tiles of %d x %d every %v x %v pixels: %w", len(p.areas), im.SegW, im.SegH, p.stepX, p.stepY, tiff.ErrCorrupt)
	}
	p.turn()
	return p, nil
}

// turn measures the areas from the top: the file does from below.
func (p *bifPlan) turn() {
	top := 0.0
	height := func(a bifArea) float64 { return math.Floor(float64(a.rows-1)*p.stepY + float64(p.tileH)) }
	for _, a := range p.areas {
		top = max(top, math.Floor(a.y)+height(a))
	}
	for i, a := range p.areas {
		p.areas[i].y = top - math.Floor(a.y) - height(a)
	}
}

// addBIF adds a level that is f times coarser than the finest.
func (s *Slide) addBIF(p *bifPlan, im *tiff.Image, f int) error {
	if im.SegW != p.tileW || im.SegH != p.tileH || f < 1 || f > p.tileW || f > p.tileH {
		return fmt.Errorf("level of tiles of %d x %d, %d times coarser than those of %d x %d: %w", im.SegW, im.SegH, f, p.tileW, p.tileH, tiff.ErrUnsupported)
	}
	r := &patchRaster{src: tiffRaster{im}, level: len(s.levels), cache: s.cache}
	d := float64(f)
	pw, ph := float64(p.tileW)/d, float64(p.tileH)/d
	round := func(v float64) int32 { return int32(math.Floor(v + 0.5)) }
	right, bottom := 0.0, 0.0
	for _, a := range p.areas {
		for row := range a.rows {
			for col := range a.cols {
				c, w := a.col+col, a.row+row
				if c/f >= im.Cols || w/f >= im.Rows {
					continue
				}
				x, y := (math.Floor(a.x)+float64(col)*p.stepX)/d, (a.y+float64(row)*p.stepY)/d
				q := patch{col: int32(c / f), row: int32(w / f), sx: round(float64(c%f) * pw), sy: round(float64(w%f) * ph), x: round(x), y: round(y)}
				q.w, q.h = round(float64(c%f+1)*pw)-q.sx, round(float64(w%f+1)*ph)-q.sy
				right, bottom = max(right, x+pw), max(bottom, y+ph)
				r.patches = append(r.patches, q)
			}
		}
	}
	r.w, r.h = int(math.Ceil(right)), int(math.Ceil(bottom))
	if r.w < 1 || r.h < 1 || r.w > 1<<30 || r.h > 1<<30 {
		return fmt.Errorf("level of %d x %d: %w", r.w, r.h, tiff.ErrCorrupt)
	}
	r.index()
	s.sparse = true
	s.addLevel(r, r.w, r.h)
	return nil
}
