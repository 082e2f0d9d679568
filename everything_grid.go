package sam

import (
	"errors"
	"fmt"
	"math"

	"github.com/slidesam/sam/internal/pointgrid"
	"github.com/slidesam/sam/internal/wholeslide"
)

// generator is EverythingOptions with its defaults filled in.
type generator struct {
	EverythingOptions
	size  Size
	grids [][]Point // of each layer, in [0, 1]
	tile  *tileGrid // of a slide; nil: the picture stands alone
	tally wholeslide.Tally
}

// maxGridSide bounds PointsPerSide: a million points.
const maxGridSide = 1000

// maxPredIoU bounds PredIoUThresh: a guess can exceed 1, but not by much.
const maxPredIoU = 1.5

// maxCropLayers bounds CropNLayers: 2^7 crops a side in the last layer.
const maxCropLayers = 7

func newGenerator(s Size, o EverythingOptions, tile *tileGrid) (*generator, error) {
	if len(o.PointGrids) > 0 && o.PointsPerSide != 0 {
		return nil, errors.New("both PointsPerSide and PointGrids are given, want one")
	}
	if o.PromptsOnly && o.Prompts == nil {
		o.Prompts = []Prompt{}
	}
	if o.Prompts != nil && (len(o.PointGrids) > 0 || o.PointsPerSide != 0) {
		return nil, errors.New("both Prompts and points of a grid are given, want one")
	}
	for _, v := range []struct {
		name string
		n    int
	}{
		{"PointsPerSide", o.PointsPerSide}, {"PointsPerBatch", o.PointsPerBatch}, {"CropNLayers", o.CropNLayers},
		{"CropNPointsDownscaleFactor", o.CropNPointsDownscaleFactor}, {"MinMaskRegionArea", o.MinMaskRegionArea},
	} {
		if v.n < 0 {
			return nil, fmt.Errorf("%s is %d, want at least 0", v.name, v.n)
		}
	}
	if o.PointsPerSide > maxGridSide || o.CropNLayers > maxCropLayers {
		return nil, fmt.Errorf("%d points per side, %d crop layers: at most %d and %d", o.PointsPerSide, o.CropNLayers, maxGridSide, maxCropLayers)
	}
	defaultInt := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	defaultInt(&o.PointsPerSide, 32)
	defaultInt(&o.PointsPerBatch, 64)
	defaultInt(&o.CropNPointsDownscaleFactor, 1)
	for _, v := range []struct {
		name string
		p    *float64
		def  float64
	}{
		{"PredIoUThresh", &o.PredIoUThresh, 0.88}, {"StabilityScoreThresh", &o.StabilityScoreThresh, 0.95},
		{"StabilityScoreOffset", &o.StabilityScoreOffset, 1}, {"BoxNMSThresh", &o.BoxNMSThresh, 0.7},
		{"CropNMSThresh", &o.CropNMSThresh, 0.7}, {"CropOverlapRatio", &o.CropOverlapRatio, 512.0 / 1500}, {"MaskThreshold", &o.MaskThreshold, 0},
	} {
		if math.IsNaN(*v.p) || math.IsInf(*v.p, 0) {
			return nil, fmt.Errorf("%s is %v, want a number", v.name, *v.p)
		}
		if *v.p == 0 {
			*v.p = v.def
		}
	}
	if o.CropOverlapRatio < 0 || o.CropOverlapRatio > 1 || o.StabilityScoreOffset < 0 {
		return nil, fmt.Errorf("CropOverlapRatio %v, StabilityScoreOffset %v: want 0 to 1, and at least 0", o.CropOverlapRatio, o.StabilityScoreOffset)
	}
	if o.PredIoUThresh > maxPredIoU || o.StabilityScoreThresh > 1 {
		return nil, fmt.Errorf("PredIoUThresh %v, StabilityScoreThresh %v: no mask has so much; want at most %v and 1", o.PredIoUThresh, o.StabilityScoreThresh, maxPredIoU)
	}
	g := &generator{EverythingOptions: o, size: s, tile: tile}
	return g, g.buildGrids()
}

func (g *generator) buildGrids() error {
	if g.Prompts != nil {
		return nil
	}
	if len(g.PointGrids) > 0 {
		if len(g.PointGrids) <= g.CropNLayers {
			return fmt.Errorf("%d point grids for %d crop layers and the whole picture", len(g.PointGrids), g.CropNLayers)
		}
		for i, grid := range g.PointGrids {
			for j, p := range grid {
				if !(p.X >= 0 && p.X <= 1 && p.Y >= 0 && p.Y <= 1) {
					return fmt.Errorf("point %d of grid %d at (%g, %g), want 0 to 1", j, i, p.X, p.Y)
				}
			}
		}
		g.grids = g.PointGrids
		return nil
	}
	n := float64(g.PointsPerSide)
	for i := range g.CropNLayers + 1 {
		side := int(n / math.Pow(float64(g.CropNPointsDownscaleFactor), float64(i)))
		if side == 0 {
			return fmt.Errorf("no point left in crop layer %d: PointsPerSide %d, CropNPointsDownscaleFactor %d", i, g.PointsPerSide, g.CropNPointsDownscaleFactor)
		}
		g.grids = append(g.grids, foreground(pointgrid.Even(side)))
	}
	return nil
}

// points returns the points of a crop's grid in the crop's frame.
func (g *generator) points(c pointgrid.Crop) []Point {
	w, h := float64(c.Rect.Dx()), float64(c.Rect.Dy())
	if g.tile != nil && len(g.PointGrids) == 0 {
		side := math.Sqrt(float64(len(g.grids[c.Layer])))
		// The spacing is the window's, also when the picture is padded.
		win := g.tile.Window.Size()
		fx, fy := min(float64(win.X)/float64(g.size.W), 1), min(float64(win.Y)/float64(g.size.H), 1)
		return foreground(g.tile.Points(c.Rect, w/side*fx, h/side*fy))
	}
	var out []Point
	for _, p := range g.grids[c.Layer] {
		at := Point{X: p.X * w, Y: p.Y * h, Label: Foreground}
		if g.tile == nil || g.tile.Owns(c.Rect, at.X, at.Y) {
			out = append(out, at)
		}
	}
	return out
}

// tileGrid is where a picture lies on a slide.
type tileGrid struct {
	pointgrid.Tile
	enlarge bool // see SegmentOptions.Enlarge
}

// foreground makes prompts of points.
func foreground(ps []pointgrid.Point) []Point {
	out := make([]Point, len(ps))
	for i, p := range ps {
		out[i] = Point{X: p.X, Y: p.Y, Label: Foreground}
	}
	return out
}

// placed is a prompt in the frame of a crop.
type placed struct {
	prompt Prompt
	index  int   // of Prompts, -1 for a grid
	point  Point // in the picture's frame
}

// prompts returns the prompts of a crop.
func (g *generator) prompts(c pointgrid.Crop) []placed {
	var out []placed
	ox, oy := float64(c.Rect.Min.X), float64(c.Rect.Min.Y)
	if g.Prompts == nil {
		for _, at := range g.points(c) {
			out = append(out, placed{Prompt{Points: []Point{at}}, -1, Point{X: at.X + ox, Y: at.Y + oy, Label: Foreground}})
		}
		return out
	}
	s := Size{H: c.Rect.Dy(), W: c.Rect.Dx()}
	for i, p := range g.Prompts {
		q, ok := Prompt{Mask: p.Mask}, c.Layer == 0 || p.Mask == nil
		at := Point{Label: Foreground}
		for _, pt := range p.Points {
			m := Point{X: pt.X - ox, Y: pt.Y - oy, Label: pt.Label}
			ok = ok && (c.Layer == 0 || s.holds(m.X, m.Y))
			q.Points = append(q.Points, m)
		}
		if b := p.Box; b != nil {
			q.Box = &Box{b.X0 - ox, b.Y0 - oy, b.X1 - ox, b.Y1 - oy}
			ok = ok && (c.Layer == 0 || s.holds(q.Box.X0, q.Box.Y0) && s.holds(q.Box.X1, q.Box.Y1))
			at.X, at.Y = (b.X0+b.X1)/2, (b.Y0+b.Y1)/2
		}
		if len(p.Points) > 0 {
			at = p.Points[0]
		}
		if ok {
			out = append(out, placed{q, i, at})
		}
	}
	return out
}
