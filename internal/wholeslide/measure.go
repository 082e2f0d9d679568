package wholeslide

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/geojson"
	"github.com/slidesam/sam/internal/mask"
)

// outlines returns the outlines of a mask of the scale in level-0 pixels, to a
// thousandth.
func (p *scalePlan) outlines(m *mask.Mask) orb.Geometry {
	g := m.Geometry(mask.Frame{})
	if p.fx == 1 && p.fy == 1 {
		return g
	}
	scale := func(poly orb.Polygon) {
		for _, r := range poly {
			for i, v := range r {
				r[i] = orb.Point{round(v[0]*p.fx, 3), round(v[1]*p.fy, 3)}
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

// measures are what is measured of an object. Lengths and areas are in
// pixels of the scale, um2 and um turn them into micrometres.
type measures struct {
	object       found
	plan         *scalePlan
	area         int
	x, y         float64 // centroid, level 0
	major, minor float64 // axes of the ellipse of the same second moments
	perimeter    float64
	circularity  float64
}

func measure(m found, p *scalePlan) measures {
	d := measures{object: m, plan: p, area: m.Mask.Area(), perimeter: m.Mask.Perimeter(), circularity: m.Mask.Circularity()}
	cx, cy := m.Mask.Centroid()
	d.x, d.y = cx*p.fx, cy*p.fy
	var xx, yy, xy float64
	for r := range m.Mask.Runs() {
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

// areaPixels returns the area in pixels of level 0.
func (d measures) areaPixels() float64 { return float64(d.area) * d.plan.fx * d.plan.fy }

func (d measures) measurements() []geojson.Measurement {
	ms := []geojson.Measurement{
		{Name: geojson.MeasurePredictedIoU, Value: round(float64(d.object.IoUPred), 6)},
		{Name: geojson.MeasureStability, Value: round(float64(d.object.Stability), 6)},
		{Name: geojson.MeasureAreaPixels, Value: d.areaPixels()},
	}
	add := func(name string, v float64) { ms = append(ms, geojson.Measurement{Name: name, Value: v}) }
	if um := d.plan.mpp; um > 0 {
		add(geojson.MeasureAreaMicrons, round(float64(d.area)*um*um, 4))
		add("Major axis µm", round(d.major*um, 4))
		add("Minor axis µm", round(d.minor*um, 4))
		add(geojson.MeasurePerimeter, round(d.perimeter*um, 4))
		add(geojson.MeasureScale, um)
	}
	add("Eccentricity", round(math.Sqrt(max(1-d.minor*d.minor/(d.major*d.major), 0)), 4))
	add(geojson.MeasureCircularity, round(d.circularity, 4))
	add(geojson.MeasureHaematoxylin, round(float64(d.object.stain.Haematoxylin), 4))
	add(geojson.MeasureEosin, round(float64(d.object.stain.Eosin), 4))
	add("Tiles", float64(d.object.tiles))
	return ms
}

const csvHeader = "id,class,mpp,centroid_x,centroid_y,box_x,box_y,box_w,box_h,area_px,area_um2,major_um,minor_um,predicted_iou,stability_score,point_x,point_y,tiles,perimeter_um,circularity,haematoxylin_od,eosin_od,uuid"

// csv returns the object's line: places, box and area_px in pixels of level 0
// whatever the scale; unknown values empty.
func (d measures) csv(id int, name uuid.UUID) string {
	um := d.plan.mpp
	known := func(v float64) string {
		if um == 0 {
			return ""
		}
		return fmt.Sprintf("%.4f", v)
	}
	x0, y0, x1, y1 := d.plan.level0(d.object.Mask.Bounds())
	mpp := ""
	if um > 0 {
		mpp = strconv.FormatFloat(um, 'g', -1, 64)
	}
	short := func(v float64) string { return strconv.FormatFloat(round(v, 2), 'f', -1, 64) }
	return fmt.Sprintf("%d,%s,%s,%.2f,%.2f,%s,%s,%s,%s,%s,%s,%s,%s,%.6f,%.6f,%.2f,%.2f,%d,%s,%.4f,%.4f,%.4f,%s", id, csvText(d.plan.Class), mpp,
		d.x, d.y, short(x0), short(y0), short(x1-x0), short(y1-y0), short(d.areaPixels()), known(float64(d.area)*um*um), known(d.major*um), known(d.minor*um),
		d.object.IoUPred, d.object.Stability, d.object.Pt.X*d.plan.fx, d.object.Pt.Y*d.plan.fy, d.object.tiles, known(d.perimeter*um), d.circularity, d.object.stain.Haematoxylin, d.object.stain.Eosin, name)
}

// csvText quotes a field that needs it.
func csvText(s string) string {
	if !strings.ContainsAny(s, "\",\r\n") {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

func round(v float64, digits int) float64 {
	f := math.Pow10(digits)
	return math.Round(v*f) / f
}
