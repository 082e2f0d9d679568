package sam

import (
	"errors"
	"fmt"
	"image"
	"math"

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
		g.grids = append(g.grids, pointGrid(side))
	}
	return nil
}

// pointGrid returns n x n points evenly spaced in [0, 1], x fastest, at the
// values of numpy's linspace(1/2n, 1-1/2n, n).
func pointGrid(n int) []Point {
	start := 1 / float64(2*n)
	stop := 1 - start
	at := make([]float64, n)
	for i := range at {
		at[i] = start
		if n > 1 {
			step := (stop - start) / float64(n-1)
			at[i] = float64(i)*step + start
		}
	}
	if n > 1 {
		at[n-1] = stop
	}
	out := make([]Point, 0, n*n)
	for _, y := range at {
		for _, x := range at {
			out = append(out, Point{X: x, Y: y, Label: Foreground})
		}
	}
	return out
}

// cropBox is a crop and its layer, 0 for the whole picture.
type cropBox struct {
	r     image.Rectangle
	layer int
}

// crops returns the whole picture and the crops of each layer, column by
// column.
//
// Source: utils/amg.py, generate_crop_boxes.
func (g *generator) crops() []cropBox {
	w, h := g.size.W, g.size.H
	out := []cropBox{{image.Rect(0, 0, w, h), 0}}
	for i := range g.CropNLayers {
		n := 2 << i
		overlap := int(g.CropOverlapRatio * float64(min(w, h)) * (2 / float64(n)))
		length := func(l int) int { return int(math.Ceil(float64(overlap*(n-1)+l) / float64(n))) }
		cw, ch := length(w), length(h)
		for ix := range n {
			for iy := range n {
				x0, y0 := (cw-overlap)*ix, (ch-overlap)*iy
				// A picture of few pixels leaves the last crops nothing.
				r := image.Rectangle{Min: image.Pt(x0, y0), Max: image.Pt(min(x0+cw, w), min(y0+ch, h))}
				if !r.Empty() {
					out = append(out, cropBox{r, i + 1})
				}
			}
		}
	}
	return out
}

// points returns the points of a crop's grid in the crop's frame.
func (g *generator) points(c cropBox) []Point {
	w, h := float64(c.r.Dx()), float64(c.r.Dy())
	if g.tile != nil && len(g.PointGrids) == 0 {
		side := math.Sqrt(float64(len(g.grids[c.layer])))
		// The spacing is the window's, also when the picture is padded.
		win := g.tile.window.Size()
		fx, fy := min(float64(win.X)/float64(g.size.W), 1), min(float64(win.Y)/float64(g.size.H), 1)
		return g.tile.points(c.r, w/side*fx, h/side*fy)
	}
	var out []Point
	for _, p := range g.grids[c.layer] {
		at := Point{X: p.X * w, Y: p.Y * h, Label: Foreground}
		if g.tile == nil || g.tile.owns(c.r, at) {
			out = append(out, at)
		}
	}
	return out
}

// tileGrid is where a picture lies on a slide: points are then those of one
// grid over the slide, and only those in the tile's core, so that each is
// decoded by one tile.
type tileGrid struct {
	window image.Rectangle // the picture on the slide
	core   image.Rectangle // part of window

	enlarge bool // see SegmentOptions.Enlarge
}

// points returns the core's points of the slide's grid with the given
// spacing that lie in rectangle r of the picture, in the frame of r.
func (t *tileGrid) points(r image.Rectangle, fx, fy float64) []Point {
	at := r.Add(t.window.Min)
	in := at.Intersect(t.core)
	axis := func(lo, hi, from int, f float64) (out []float64) {
		// The same comparison at both ends: a point on a seam is in one core.
		for i := math.Floor(float64(lo)/f - 0.5); (i+0.5)*f < float64(hi); i++ {
			if v := (i + 0.5) * f; v >= float64(lo) {
				out = append(out, v-float64(from))
			}
		}
		return out
	}
	xs := axis(in.Min.X, in.Max.X, at.Min.X, fx)
	var out []Point
	for _, y := range axis(in.Min.Y, in.Max.Y, at.Min.Y, fy) {
		for _, x := range xs {
			out = append(out, Point{X: x, Y: y, Label: Foreground})
		}
	}
	return out
}

// owns reports whether a point in the frame of rectangle r of the picture
// lies in the core. A point on the picture's far edge counts to its last pixel.
func (t *tileGrid) owns(r image.Rectangle, p Point) bool {
	at := r.Min.Add(t.window.Min)
	return image.Pt(min(int(p.X)+at.X, t.window.Max.X-1), min(int(p.Y)+at.Y, t.window.Max.Y-1)).In(t.core)
}

// placed is a prompt in the frame of a crop.
type placed struct {
	prompt Prompt
	index  int   // of Prompts, -1 for a grid
	point  Point // in the picture's frame
}

// prompts returns the prompts of a crop.
func (g *generator) prompts(c cropBox) []placed {
	var out []placed
	ox, oy := float64(c.r.Min.X), float64(c.r.Min.Y)
	if g.Prompts == nil {
		for _, at := range g.points(c) {
			out = append(out, placed{Prompt{Points: []Point{at}}, -1, Point{X: at.X + ox, Y: at.Y + oy, Label: Foreground}})
		}
		return out
	}
	s := Size{H: c.r.Dy(), W: c.r.Dx()}
	for i, p := range g.Prompts {
		q, ok := Prompt{Mask: p.Mask}, c.layer == 0 || p.Mask == nil
		at := Point{Label: Foreground}
		for _, pt := range p.Points {
			m := Point{X: pt.X - ox, Y: pt.Y - oy, Label: pt.Label}
			ok = ok && (c.layer == 0 || s.holds(m.X, m.Y))
			q.Points = append(q.Points, m)
		}
		if b := p.Box; b != nil {
			q.Box = &Box{b.X0 - ox, b.Y0 - oy, b.X1 - ox, b.Y1 - oy}
			ok = ok && (c.layer == 0 || s.holds(q.Box.X0, q.Box.Y0) && s.holds(q.Box.X1, q.Box.Y1))
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
