package cohort

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// measure is a number of a slide that is drawn and looked through for
// outliers.
type measure struct {
	name string
	of   func(r *Record) (float64, bool)
}

// measured are the measures of a slide, of all its objects.
func measured() []measure {
	of := func(known func(r *Record) bool, f func(c *Class) float64) func(r *Record) (float64, bool) {
		return func(r *Record) (float64, bool) {
			if !r.done() || !known(r) {
				return 0, false
			}
			return f(&r.Classes[0]), true
		}
	}
	tissue := func(r *Record) bool { return r.Tissue > 0 }
	some := func(r *Record) bool { return r.OwnMPP > 0 && r.Objects > 0 }
	return []measure{
		{"objects per mm²", of(tissue, func(c *Class) float64 { return c.PerMM2 })},
		{"median area, µm²", of(some, func(c *Class) float64 { return c.Median })},
		{"share of the area", of(tissue, func(c *Class) float64 { return c.Share })},
		{"objects", of(func(r *Record) bool { return r.Tissue == 0 }, func(c *Class) float64 { return float64(c.Objects) })},
	}
}

// group is the slides that belong together.
type group struct {
	name string
	rows []row
}

// groups returns the groups in the order of the sheet.
func groups(rows []row, column string) []group {
	var out []group
	at := map[string]int{}
	for _, r := range rows {
		name := r.Slide.get(column)
		i, ok := at[name]
		if !ok {
			i = len(out)
			at[name] = i
			out = append(out, group{name: name})
		}
		out[i].rows = append(out[i].rows, r)
	}
	return out
}

// point is a slide's value of a measure.
type point struct {
	row     row
	value   float64
	outlier bool
}

// points returns the values of a group and marks the outliers.
func (g group) points(m measure) []point {
	var out []point
	var values []float64
	for _, r := range g.rows {
		if v, ok := m.of(r.Record); ok {
			out, values = append(out, point{row: r, value: v}), append(values, v)
		}
	}
	low, high := fences(values)
	for i, v := range values {
		out[i].outlier = v < low || v > high
	}
	return out
}

// maxPoints bounds the points drawn of a group; outliers are drawn always.
const maxPoints = 2000

// maxGroups bounds the groups of a plot.
const maxGroups = 24

// palette holds the colours of Okabe and Ito (2008) that can be told apart on
// white, with or without colour blindness.
var palette = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {230, 159, 0, 255}, {86, 180, 233, 255},
}

// distribution draws a measure by group as SVG: a box of quartiles, the slides
// beside it, and the outliers with their names. It returns nil if no slide has
// the measure.
func distribution(gs []group, m measure) ([]byte, error) {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = m.name, m.name
	p.Title.Padding = vg.Points(6)
	for _, t := range []*text.Style{&p.Title.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label} {
		t.Font.Variant = "Sans"
	}
	var names []string
	drawn := 0
	for i, g := range gs[:min(len(gs), maxGroups)] {
		pts := g.points(m)
		names = append(names, fmt.Sprintf("%s\nn %d", short(g.name, 18), len(pts)))
		if len(pts) == 0 {
			continue
		}
		drawn += len(pts)
		values, xys, labels := make(plotter.Values, len(pts)), plotter.XYs{}, plotter.XYLabels{}
		for k, q := range pts {
			values[k] = q.value
			if k >= maxPoints && !q.outlier {
				continue
			}
			// spread by rank, so that equal values lie side by side
			at := plotter.XY{X: float64(i) + 0.2 + 0.16*(math.Mod(float64(k)*0.618034, 1)-0.5), Y: q.value}
			xys = append(xys, at)
			if q.outlier {
				labels.XYs, labels.Labels = append(labels.XYs, plotter.XY{X: at.X + 0.04, Y: at.Y}), append(labels.Labels, short(q.row.Slide.ID, 24))
			}
		}
		box, err := plotter.NewBoxPlot(vg.Points(28), float64(i)-0.12, values)
		if err != nil {
			return nil, err
		}
		c := palette[i%len(palette)]
		box.FillColor = color.NRGBA{c.R, c.G, c.B, 70}
		box.GlyphStyle.Radius = 0 // the slides are drawn beside
		sc, err := plotter.NewScatter(xys)
		if err != nil {
			return nil, err
		}
		sc.GlyphStyle = draw.GlyphStyle{Color: c, Radius: vg.Points(2), Shape: draw.CircleGlyph{}}
		p.Add(box, sc)
		if len(labels.Labels) > 0 {
			l, err := plotter.NewLabels(labels)
			if err != nil {
				return nil, err
			}
			for k := range l.TextStyle {
				l.TextStyle[k].Font.Variant, l.TextStyle[k].Font.Size = "Sans", vg.Points(8)
			}
			p.Add(l)
		}
	}
	if drawn == 0 {
		return nil, nil
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.6, float64(len(names))-0.2
	p.Y.Min = min(p.Y.Min, 0)
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = color.Gray{Y: 225}
	p.Add(grid)
	c, err := draw.NewFormattedCanvas(vg.Length(2+1.5*float64(len(names)))*vg.Inch, 3.6*vg.Inch, "svg")
	if err != nil {
		return nil, err
	}
	p.Draw(draw.New(c))
	var b bytes.Buffer
	_, err = c.WriteTo(&b)
	// where that font is missing
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,sans-serif;")), err
}

// short cuts a text to n letters.
func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
