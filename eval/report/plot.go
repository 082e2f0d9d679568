package report

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"strings"

	"github.com/slidesam/sam/eval"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// ErrNothing is wrapped by the error about a plot for which there are no data.
var ErrNothing = errors.New("nothing to plot")

// Plot is a figure. Encode draws it.
type Plot struct {
	p    *plot.Plot
	w, h vg.Length
}

// Encode draws the figure in a format: "png" (150 dots an inch) or "svg".
func (p *Plot) Encode(w io.Writer, format string) error {
	if format != "png" && format != "svg" {
		return fmt.Errorf("report: plot: format %q, want png or svg", format)
	}
	c, err := draw.NewFormattedCanvas(p.w, p.h, format)
	if err != nil {
		return fmt.Errorf("report: plot: %w", err)
	}
	p.p.Draw(draw.New(c))
	if _, err := c.WriteTo(w); err != nil {
		return fmt.Errorf("report: plot: %w", err)
	}
	return nil
}

// palette holds the colours of Okabe and Ito (2008) that can be told apart on
// white, with or without colour blindness.
var palette = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {230, 159, 0, 255}, {86, 180, 233, 255},
}

func colour(i int) color.RGBA { return palette[i%len(palette)] }

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.Title.Padding = vg.Points(6)
	p.Legend.Padding = vg.Points(2)
	for _, t := range []*text.Style{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		t.Font.Variant = "Sans"
	}
	return p
}

// Distribution draws every picture's score by setting, as points beside a box
// of quartiles; the dash is the ceiling's mean.
func Distribution(r *eval.Results, task, metric string, e eval.Empty) (*Plot, error) {
	m, err := eval.MetricNamed(metric)
	if err != nil {
		return nil, err
	}
	title := fmt.Sprintf("%s, %s", task, metric)
	if m.Oracle != nil {
		title += " (dashes: ceiling)"
	}
	p := newPlot(title, "", metric)
	var names []string
	for i, s := range r.Plan.Settings {
		records := r.Select(task, s.Name)
		values, _ := eval.Scores(records, m.Of, e)
		values = finite(values)
		names = append(names, fmt.Sprintf("%s\nn %d", s.Name, len(values)))
		if len(values) == 0 {
			continue
		}
		at := float64(i)
		box, err := plotter.NewBoxPlot(vg.Points(28), at-0.12, plotter.Values(values))
		if err != nil {
			return nil, fmt.Errorf("report: distribution: %w", err)
		}
		box.FillColor = faded(colour(i))
		box.GlyphStyle.Radius = 0 // the points are drawn beside
		pts := make(plotter.XYs, len(values))
		for k, v := range values {
			// spread by rank, so that equal scores lie side by side
			pts[k] = plotter.XY{X: at + 0.2 + 0.16*(math.Mod(float64(k)*0.618034, 1)-0.5), Y: v}
		}
		sc, err := plotter.NewScatter(pts)
		if err != nil {
			return nil, fmt.Errorf("report: distribution: %w", err)
		}
		sc.GlyphStyle = draw.GlyphStyle{Color: colour(i), Radius: vg.Points(1.6), Shape: draw.CircleGlyph{}}
		p.Add(box, sc)
		if m.Oracle != nil {
			c, _ := eval.Scores(records, m.Oracle, e)
			if s, err := eval.Summarise(c, nil, eval.Bootstrap{Resamples: 1}); err == nil && s.N > 0 {
				l, err := plotter.NewLine(plotter.XYs{{X: at - 0.35, Y: s.Mean}, {X: at + 0.35, Y: s.Mean}})
				if err != nil {
					return nil, fmt.Errorf("report: distribution: %w", err)
				}
				l.LineStyle = draw.LineStyle{Color: color.Black, Width: vg.Points(1), Dashes: []vg.Length{vg.Points(4), vg.Points(2)}}
				p.Add(l)
			}
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("report: distribution of %s: %w", task, ErrNothing)
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.6, float64(len(names))-0.4
	if m.Unit {
		p.Y.Min, p.Y.Max = 0, 1.02
	}
	p.Add(horizontalGrid())
	return &Plot{p, vg.Length(2+1.25*float64(len(names))) * vg.Inch, 4 * vg.Inch}, nil
}

// ClickCurves draws the mean IoU against the number of clicks for every
// setting with correction clicks, with the 95 % bootstrap interval.
func ClickCurves(r *eval.Results, task string, b eval.Bootstrap) (*Plot, error) {
	p := newPlot("IoU against clicks, "+task, "clicks", "IoU")
	n := 0
	for i, s := range r.Plan.Settings {
		if s.Prompting != eval.PromptClicks {
			continue
		}
		var courses []eval.Clicks
		for _, rec := range r.Select(task, s.Name) {
			for _, c := range rec.Clicks {
				v := make([]float64, len(c.IoU))
				for k, x := range c.IoU {
					v[k] = float64(x)
				}
				courses = append(courses, eval.Clicks{IoU: v})
			}
		}
		if len(courses) == 0 {
			continue
		}
		line, low, high := make(plotter.XYs, s.Clicks), make(plotter.XYs, s.Clicks), make(plotter.XYs, s.Clicks)
		for k := range s.Clicks {
			v := make([]float64, len(courses))
			for j, c := range courses {
				v[j] = c.At(k + 1)
			}
			sum, err := eval.Summarise(v, nil, b)
			if err != nil {
				return nil, fmt.Errorf("report: click curves: %w", err)
			}
			x := float64(k + 1)
			line[k], low[k], high[k] = plotter.XY{X: x, Y: sum.Mean}, plotter.XY{X: x, Y: orElse(sum.Low, sum.Mean)}, plotter.XY{X: x, Y: orElse(sum.High, sum.Mean)}
		}
		if err := addBand(p, low, high, faded(colour(i))); err != nil {
			return nil, fmt.Errorf("report: click curves: %w", err)
		}
		l, pts, err := plotter.NewLinePoints(line)
		if err != nil {
			return nil, fmt.Errorf("report: click curves: %w", err)
		}
		l.Color, l.Width, pts.Color, pts.Shape = colour(i), vg.Points(1.5), colour(i), draw.CircleGlyph{}
		p.Add(l, pts)
		p.Legend.Add(fmt.Sprintf("%s, %d objects", s.Name, len(courses)), l)
		n++
	}
	if n == 0 {
		return nil, fmt.Errorf("report: click curves of %s: %w: no setting has correction clicks", task, ErrNothing)
	}
	p.Y.Min, p.Y.Max = 0, 1
	p.X.Tick.Marker = whole{}
	p.Add(horizontalGrid())
	return &Plot{p, 5 * vg.Inch, 4 * vg.Inch}, nil
}

// Reliability draws the measured IoU of masks against the IoU that the model
// predicted, in ten bins: the mean with its spread (standard deviation), and
// the diagonal of a model that knows. The legend has the number of masks and
// the expected calibration error, the mean of |predicted - measured| over bins
// weighted by masks.
func Reliability(r *eval.Results, task string) (*Plot, error) {
	p := newPlot("Reliability of predicted IoU, "+task, "predicted IoU", "measured IoU")
	diagonal, err := plotter.NewLine(plotter.XYs{{X: 0, Y: 0}, {X: 1, Y: 1}})
	if err != nil {
		return nil, fmt.Errorf("report: reliability: %w", err)
	}
	diagonal.LineStyle = draw.LineStyle{Color: color.Gray{Y: 120}, Width: vg.Points(1), Dashes: []vg.Length{vg.Points(4), vg.Points(3)}}
	p.Add(diagonal)
	any := false
	for i, s := range r.Plan.Settings {
		var pairs []eval.Reliability
		for _, rec := range r.Select(task, s.Name) {
			pairs = append(pairs, rec.Predicted...)
		}
		bins, n, ece := calibrate(pairs)
		if n == 0 {
			continue
		}
		any = true
		l, pts, err := plotter.NewLinePoints(bins.XYs)
		if err != nil {
			return nil, fmt.Errorf("report: reliability: %w", err)
		}
		l.Color, l.Width, pts.Color, pts.Shape = colour(i), vg.Points(1.2), colour(i), draw.CircleGlyph{}
		bars, err := plotter.NewYErrorBars(bins)
		if err != nil {
			return nil, fmt.Errorf("report: reliability: %w", err)
		}
		bars.Color = faded(colour(i))
		p.Add(bars, l, pts)
		p.Legend.Add(fmt.Sprintf("%s, %d masks, error %.3f", s.Name, n, ece), l)
	}
	if !any {
		return nil, fmt.Errorf("report: reliability of %s: %w", task, ErrNothing)
	}
	p.Legend.Top, p.Legend.Left = true, true
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	p.Add(horizontalGrid())
	return &Plot{p, 5.5 * vg.Inch, 5 * vg.Inch}, nil
}

type errorPoints struct {
	plotter.XYs
	plotter.YErrors
}

// calibrate sorts masks into ten bins by predicted IoU, clipped to 0 to 1.
func calibrate(pairs []eval.Reliability) (errorPoints, int, float64) {
	type bin struct {
		n            int
		x, y, square float64
	}
	var bins [10]bin
	n := 0
	for _, p := range pairs {
		x, y := float64(p.IoUPred), float64(p.IoU)
		if math.IsNaN(x) || math.IsNaN(y) {
			continue
		}
		x = min(max(x, 0), 1)
		b := &bins[min(int(10*x), 9)]
		b.n++
		b.x += x
		b.y += y
		b.square += y * y
		n++
	}
	var out errorPoints
	ece := 0.0
	for _, b := range bins {
		if b.n == 0 {
			continue
		}
		k := float64(b.n)
		x, y := b.x/k, b.y/k
		sd := math.Sqrt(max(0, b.square/k-y*y))
		out.XYs = append(out.XYs, plotter.XY{X: x, Y: y})
		out.YErrors = append(out.YErrors, struct{ Low, High float64 }{sd, sd})
		ece += k / float64(n) * math.Abs(x-y)
	}
	return out, n, ece
}

func addBand(p *plot.Plot, low, high plotter.XYs, c color.Color) error {
	ring := append(plotter.XYs{}, low...)
	for i := len(high) - 1; i >= 0; i-- {
		ring = append(ring, high[i])
	}
	poly, err := plotter.NewPolygon(ring)
	if err != nil {
		return err
	}
	poly.Color, poly.LineStyle.Width = c, 0
	p.Add(poly)
	return nil
}

func faded(c color.RGBA) color.RGBA {
	f := func(v uint8) uint8 { return uint8(255 - (255-int(v))*35/100) }
	return color.RGBA{f(c.R), f(c.G), f(c.B), 255}
}

func horizontalGrid() *plotter.Grid {
	g := plotter.NewGrid()
	g.Vertical.Width = 0
	g.Horizontal.Color, g.Horizontal.Width = color.Gray{Y: 225}, vg.Points(0.5)
	return g
}

// whole marks whole numbers only.
type whole struct{}

func (whole) Ticks(lo, hi float64) []plot.Tick {
	var out []plot.Tick
	step := max(1, math.Ceil((hi-lo)/12))
	for v := math.Ceil(lo); v <= hi; v += step {
		out = append(out, plot.Tick{Value: v, Label: fmt.Sprint(v)})
	}
	return out
}

func finite(v []float64) []float64 {
	out := v[:0:0]
	for _, x := range v {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			out = append(out, x)
		}
	}
	return out
}

func orElse(v, other float64) float64 {
	if math.IsNaN(v) {
		return other
	}
	return v
}

// fileName makes a name of a task or setting that every system takes.
func fileName(s string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '_'
	}, s), "._")
}
