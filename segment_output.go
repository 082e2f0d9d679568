package sam

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/draw"
)

// Names of the outputs in a run's folder.
const (
	GeoJSONFile = "objects.geojson"
	CSVFile     = "objects.csv"
	LabelsFile  = "labels.tif"
	OverlayFile = "overlay.png"
)

// overlaySide is the longer side of the overlay in pixels.
const overlaySide = 2048

// writeSlide merges the tiles and writes all outputs; each appears whole or
// not at all. It returns the number of objects.
func writeSlide(ctx context.Context, s *Slide, dir string, p *slidePlan, o SegmentOptions) (n int, err error) {
	var files [2]*atomicfile.File
	for i, name := range []string{GeoJSONFile, CSVFile} {
		if files[i], err = atomicfile.Create(filepath.Join(dir, name)); err != nil {
			return 0, err
		}
		defer files[i].Close()
	}
	// Written at two places, which atomicfile does not do; what a killed run
	// leaves of it is overwritten.
	part := filepath.Join(dir, LabelsFile+".part")
	tif, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return 0, err
	}
	defer os.Remove(part) // fails once it is renamed
	defer tif.Close()
	geo, table := bufio.NewWriter(files[0]), bufio.NewWriter(files[1])
	features := NewFeatureWriter(geo)
	fmt.Fprintln(table, csvHeader)
	labels := newLabelWriter(bufio.NewWriterSize(tif, 1<<20), p)
	over, err := newOverlay(ctx, s, p)
	if err != nil {
		return 0, err
	}
	merger := newSeamMerger(p, func(m mergedObject) error {
		n++
		d := describe(m, p)
		f := Feature{Geometry: m.mask.frame(p), Type: Detection, Measurements: d.measurements(p)}
		if o.Class != "" {
			f.Class = &Class{Name: o.Class}
		}
		if err := features.Write(f); err != nil {
			return err
		}
		over.add(f.Geometry, n)
		if _, err := fmt.Fprintln(table, d.csv(n)); err != nil {
			return err
		}
		return labels.add(uint32(n), m.mask)
	})
	row := -1
	for _, i := range p.Tiles {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		objects, err := readTile(dir, p, i)
		if errors.Is(err, errNoTile) {
			return 0, fmt.Errorf("%w: tile %d of %d is missing: run its shard (%w)", ErrUnfinished, i, len(p.Tiles), err)
		}
		if err != nil {
			return 0, err
		}
		t := p.tile(i)
		if err := merger.add(t, objects); err != nil {
			return 0, err
		}
		if t.row != row {
			row = t.row
			if err := labels.settle(merger.settled()); err != nil {
				return 0, err
			}
		}
	}
	if err := merger.end(); err != nil {
		return 0, err
	}
	if err := errors.Join(features.Close(), geo.Flush(), table.Flush(), labels.close(tif)); err != nil {
		return 0, err
	}
	if err := atomicfile.Write(filepath.Join(dir, OverlayFile), over.write); err != nil {
		return 0, err
	}
	for _, f := range files {
		if err := f.Commit(); err != nil {
			return 0, err
		}
	}
	return n, os.Rename(part, filepath.Join(dir, LabelsFile))
}

// frame returns the outlines in level-0 pixels.
func (m *Mask) frame(p *slidePlan) orb.Geometry {
	g := m.Geometry(Frame{})
	if p.FX == 1 && p.FY == 1 {
		return g
	}
	scale := func(poly orb.Polygon) {
		for _, r := range poly {
			for i, v := range r {
				r[i] = orb.Point{v[0] * p.FX, v[1] * p.FY}
			}
		}
	}
	switch g := g.(type) {
	case orb.Polygon:
		scale(g)
	case orb.MultiPolygon:
		for _, poly := range g {
			scale(poly)
		}
	}
	return g
}

// description is what is measured of an object. Lengths are in pixels of the
// working resolution.
type description struct {
	merged       mergedObject
	area         int
	x, y         float64 // centroid, level 0
	major, minor float64 // axes of the ellipse of the same second moments
	um2, um      float64 // square micrometres and micrometres per pixel, 0: unknown
	box          image.Rectangle
}

func describe(m mergedObject, p *slidePlan) description {
	d := description{merged: m, area: m.mask.Area(), box: m.mask.Bounds(), um: p.MPP, um2: p.MPP * p.MPP}
	cx, cy := m.mask.centroid()
	d.x, d.y = cx*p.FX, cy*p.FY
	var xx, yy, xy float64
	for r := range m.mask.Runs() {
		w := float64(r.X1 - r.X0)
		mx, my := float64(r.X0)+w/2-cx, float64(r.Y)+0.5-cy
		xx += w*mx*mx + w*w*w/12
		yy += w*my*my + w/12
		xy += w * mx * my
	}
	n := float64(d.area)
	xx, yy, xy = xx/n, yy/n, xy/n
	root := math.Sqrt((xx-yy)*(xx-yy)/4 + xy*xy)
	d.major, d.minor = 4*math.Sqrt((xx+yy)/2+root), 4*math.Sqrt(max((xx+yy)/2-root, 0))
	return d
}

func (d description) measurements(p *slidePlan) []Measurement {
	ms := []Measurement{
		{MeasurePredictedIoU, round(float64(d.merged.iou), 6)}, {MeasureStability, round(float64(d.merged.stability), 6)},
		{MeasureAreaPixels, float64(d.area) * p.FX * p.FY},
	}
	if d.um > 0 {
		ms = append(ms, Measurement{MeasureAreaMicrons, round(float64(d.area)*d.um2, 4)},
			Measurement{"Major axis µm", round(d.major*d.um, 4)}, Measurement{"Minor axis µm", round(d.minor*d.um, 4)})
	}
	return append(ms, Measurement{"Eccentricity", round(math.Sqrt(max(1-d.minor*d.minor/(d.major*d.major), 0)), 4)},
		Measurement{"Tiles", float64(d.merged.parts)})
}

const csvHeader = "id,centroid_x,centroid_y,box_x,box_y,box_w,box_h,area_px,area_um2,major_um,minor_um,predicted_iou,stability_score,point_x,point_y,tiles"

// csv returns the object's line: places and boxes in pixels of the working
// resolution but for the centroid, which is at level 0; unknown values empty.
func (d description) csv(id int) string {
	um := func(v float64) string {
		if d.um == 0 {
			return ""
		}
		return fmt.Sprintf("%.4f", v)
	}
	return fmt.Sprintf("%d,%.2f,%.2f,%d,%d,%d,%d,%d,%s,%s,%s,%.6f,%.6f,%.2f,%.2f,%d", id, d.x, d.y, d.box.Min.X, d.box.Min.Y, d.box.Dx(), d.box.Dy(),
		d.area, um(float64(d.area)*d.um2), um(d.major*d.um), um(d.minor*d.um), d.merged.iou, d.merged.stability, d.merged.point.X, d.merged.point.Y, d.merged.parts)
}

func round(v float64, digits int) float64 {
	f := math.Pow10(digits)
	return math.Round(v*f) / f
}

// overlay draws outlines on a thumbnail.
type overlay struct {
	pic    *image.RGBA
	fx, fy float64 // thumbnail pixels per level-0 pixel
}

func newOverlay(ctx context.Context, s *Slide, p *slidePlan) (*overlay, error) {
	pic, err := s.w.Thumbnail(ctx, overlaySide)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(pic.Pix); i += 4 {
		q := pic.Pix[i : i+4 : i+4]
		a := q[3]
		q[0], q[1], q[2], q[3] = q[0]+255-a, q[1]+255-a, q[2]+255-a, 255
	}
	w, h := s.Size()
	return &overlay{pic, float64(pic.Rect.Dx()) / float64(w), float64(pic.Rect.Dy()) / float64(h)}, nil
}

func (o *overlay) add(g orb.Geometry, i int) {
	c := draw.Color(i)
	var polys orb.MultiPolygon
	switch g := g.(type) {
	case orb.Polygon:
		polys = orb.MultiPolygon{g}
	case orb.MultiPolygon:
		polys = g
	}
	for _, poly := range polys {
		for _, ring := range poly {
			for k := 1; k < len(ring); k++ {
				o.line(ring[k-1][0]*o.fx, ring[k-1][1]*o.fy, ring[k][0]*o.fx, ring[k][1]*o.fy, c)
			}
		}
	}
}

func (o *overlay) line(x0, y0, x1, y1 float64, c color.Color) {
	n := int(max(math.Abs(x1-x0), math.Abs(y1-y0))) + 1
	for i := range n + 1 {
		t := float64(i) / float64(n)
		o.pic.Set(int(x0+(x1-x0)*t), int(y0+(y1-y0)*t), c)
	}
}

func (o *overlay) write(w io.Writer) error { return png.Encode(w, o.pic) }
