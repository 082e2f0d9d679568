package report

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"slices"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/internal/draw"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
)

// Pick is a record chosen for the gallery.
type Pick struct {
	Rank  string // best, median or worst
	Score float64
	eval.Record
}

// Picks chooses the best, the median and the worst picture of each setting on
// a task. Pictures where the metric is undefined are left out; with fewer than
// three pictures there are fewer picks.
func Picks(r *eval.Results, task, setting string, m eval.Metric, e eval.Empty) []Pick {
	var all []Pick
	for _, rec := range r.Select(task, setting) {
		if v := m.Of(rec, e); !math.IsNaN(v) {
			all = append(all, Pick{Score: v, Record: rec})
		}
	}
	slices.SortStableFunc(all, func(a, b Pick) int { // best first
		switch d := (a.Score - b.Score) * float64(m.Better); {
		case d > 0:
			return -1
		case d < 0:
			return 1
		}
		return 0
	})
	if len(all) == 0 {
		return nil
	}
	out := []Pick{all[0]}
	out[0].Rank = "best"
	if len(all) > 2 {
		p := all[(len(all)-1)/2]
		p.Rank = "median"
		out = append(out, p)
	}
	if len(all) > 1 {
		p := all[len(all)-1]
		p.Rank = "worst"
		out = append(out, p)
	}
	return out
}

// galleryPixels is the longer side of a picture in the gallery.
const galleryPixels = 512

// The colours of an overlay.
var (
	hitColour    = color.NRGBA{0, 158, 115, 255} // found
	missedColour = color.NRGBA{0, 114, 178, 255} // in the truth only
	wrongColour  = color.NRGBA{213, 94, 0, 255}  // in the prediction only
	truthColour  = color.NRGBA{255, 255, 255, 255}
	predColour   = color.NRGBA{20, 20, 20, 255}
)

// DrawOverlay draws what was found, missed and invented in colour, the
// outlines of true instances in white and of predicted ones in black, and the
// prompts unless they are so many that they would hide the rest. Pictures
// above 512 pixels are drawn smaller.
func DrawOverlay(o *eval.Overlay) (image.Image, error) {
	p := *o.Picture
	pred := o.Pred
	scale := 1.0
	if long := max(p.Truth.H, p.Truth.W); long > galleryPixels {
		scale = float64(galleryPixels) / float64(long)
	}
	h, w := max(1, int(math.Round(float64(p.Truth.H)*scale))), max(1, int(math.Round(float64(p.Truth.W)*scale)))
	src, err := picture.New(p.Image)
	if err != nil {
		return nil, fmt.Errorf("report: overlay of %s: %w", p.ID, err)
	}
	rgb, err := resample.Bilinear(nil, src, resample.Size{H: h, W: w})
	if err != nil {
		return nil, fmt.Errorf("report: overlay of %s: %w", p.ID, err)
	}
	c, err := draw.New(image.NewNRGBA(image.Rect(0, 0, w, h)))
	if err != nil {
		return nil, fmt.Errorf("report: overlay of %s: %w", p.ID, err)
	}
	img := c.Image()
	truth, guess := shrink(p.Truth, h, w), shrink(pred, h, w)
	for i := range h * w {
		px := img.Pix[4*i : 4*i+4]
		copy(px, rgb[3*i:3*i+3])
		px[3] = 255
		t, g := truth.Pix[i], guess.Pix[i]
		switch {
		case t != 0 && g != 0:
			tint(px, hitColour, 0.25)
		case t != 0:
			tint(px, missedColour, 0.45)
		case g != 0:
			tint(px, wrongColour, 0.45)
		}
		if edge(guess, i) {
			tint(px, predColour, 0.75)
		}
		if edge(truth, i) {
			tint(px, truthColour, 0.8)
		}
	}
	for _, pr := range drawn(o.Prompts) {
		if b := pr.Box; b != nil {
			c.Box(b.X0*scale, b.Y0*scale, b.X1*scale, b.Y1*scale, draw.Color(4), 1)
		}
		for _, q := range pr.Points {
			c.Point(q.X*scale, q.Y*scale, q.Label == sam.Foreground)
		}
	}
	return img, nil
}

// drawn returns the prompts that a picture shows: all, or none if there are
// more than 60 boxes and different points.
func drawn(ps []sam.Prompt) []sam.Prompt {
	boxes, points := 0, map[sam.Point]bool{}
	for _, p := range ps {
		for _, q := range p.Points {
			points[q] = true
		}
		if p.Box != nil {
			boxes++
		}
	}
	if boxes+len(points) > 60 {
		return nil
	}
	return ps
}

func tint(px []uint8, c color.NRGBA, a float64) {
	for i, v := range []uint8{c.R, c.G, c.B} {
		px[i] = uint8(math.Round(float64(px[i])*(1-a) + float64(v)*a))
	}
}

func shrink(l eval.Labels, h, w int) eval.Labels {
	out := eval.NewLabels(sam.Size{H: h, W: w})
	for y := range h {
		for x := range w {
			out.Pix[y*w+x] = l.Pix[(2*y+1)*l.H/(2*h)*l.W+(2*x+1)*l.W/(2*w)]
		}
	}
	return out
}

func edge(l eval.Labels, i int) bool {
	v, x := l.Pix[i], i%l.W
	return v != 0 && (x == 0 || x == l.W-1 || i < l.W || i >= len(l.Pix)-l.W ||
		l.Pix[i-1] != v || l.Pix[i+1] != v || l.Pix[i-l.W] != v || l.Pix[i+l.W] != v)
}

// Source is an experiment that a gallery can show again.
type Source struct {
	Results *eval.Results
	Data    eval.Dataset
	Model   eval.Model
	// Embeddings is the folder of eval.Options.Embeddings, "" for none.
	Embeddings string
}

// WriteGallery writes one HTML page with the table and, for each data set,
// task and setting, the best, the median and the worst picture, drawn again by
// the model. The page has everything in it and loads nothing.
func WriteGallery(ctx context.Context, w io.Writer, sources []Source, t *Table) error {
	page := galleryPage{Metric: t.Metric.Name, Model: t.Model, Notes: t.Notes, Columns: t.Columns}
	for _, p := range t.paperRows() {
		row := []string{"paper: " + p.Method, p.Prompts}
		for _, col := range t.Paper {
			row = append(row, paperText(p, col))
		}
		page.Rows = append(page.Rows, row)
	}
	for _, r := range t.Rows {
		row := []string{t.Model, r.Setting}
		for _, c := range r.Cells {
			row = append(row, t.cellText(c))
		}
		page.Rows = append(page.Rows, row)
	}
	total, done := 0, 0
	for _, s := range sources {
		for _, task := range s.Results.Tasks() {
			for _, setting := range s.Results.Plan.Settings {
				total += len(Picks(s.Results, task, setting.Name, t.Metric, t.Empty))
			}
		}
	}
	for _, s := range sources {
		v := eval.NewViewer(s.Model, s.Data, s.Results.Plan)
		v.Embeddings = s.Embeddings
		for _, task := range s.Results.Tasks() {
			for _, setting := range s.Results.Plan.Settings {
				sec := gallerySection{Task: task, Setting: setting.Name}
				for _, p := range Picks(s.Results, task, setting.Name, t.Metric, t.Empty) {
					f, err := figure(ctx, v, p, setting, t)
					if err != nil {
						return fmt.Errorf("report: gallery: %w", err)
					}
					sec.Figures = append(sec.Figures, f)
					if done++; t.progress != nil {
						t.progress(done, total)
					}
				}
				if len(sec.Figures) > 0 {
					page.Sections = append(page.Sections, sec)
				}
			}
		}
	}
	if err := galleryTemplate.Execute(w, page); err != nil {
		return fmt.Errorf("report: gallery: %w", err)
	}
	return nil
}

func figure(ctx context.Context, v *eval.Viewer, p Pick, setting eval.Setting, t *Table) (galleryFigure, error) {
	var f galleryFigure
	o, err := v.Show(ctx, p.ID, setting, float64(p.MPP))
	if err != nil {
		return f, err
	}
	img, err := DrawOverlay(o)
	if err != nil {
		return f, err
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return f, err
	}
	return galleryFigure{
		Rank: p.Rank, ID: p.ID, Score: t.number(p.Score), Prompts: p.Prompts, Instances: p.Instances,
		Hidden:  len(o.Prompts) > 0 && drawn(o.Prompts) == nil,
		Picture: template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())),
	}, nil
}

type galleryPage struct {
	Metric, Model string
	Columns       []string
	Rows          [][]string
	Notes         []string
	Sections      []gallerySection
}

type gallerySection struct {
	Task, Setting string
	Figures       []galleryFigure
}

type galleryFigure struct {
	Rank, ID, Score    string
	Prompts, Instances int
	Hidden             bool
	Picture            template.URL
}

var galleryTemplate = template.Must(template.New("gallery").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Zero-shot evaluation</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1700px;padding:0 1.5em;color:#222;background:#fff}
h1{font-size:1.5em}h2{font-size:1.15em;margin:2em 0 .5em;border-bottom:1px solid #ccc}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.25em .7em;border-bottom:1px solid #ddd;text-align:left}
.row{display:flex;flex-wrap:wrap;gap:1.2em}figure{margin:0;max-width:530px}img{max-width:100%;border:1px solid #999;image-rendering:auto}
figcaption{font-size:.9em}.key span{display:inline-block;width:1em;height:1em;vertical-align:-.15em;margin:0 .35em 0 1.1em;border:1px solid #777}
ul{color:#555;font-size:.9em}.scroll{overflow-x:auto}
</style></head><body>
<h1>Zero-shot evaluation: {{.Model}}, {{.Metric}}</h1>
<div class="scroll"><table><tr><th>method</th><th>prompts</th>{{range .Columns}}<th>{{.}}</th>{{end}}</tr>
{{range .Rows}}<tr>{{range .}}<td>{{.}}</td>{{end}}</tr>
{{end}}</table></div>
<ul>{{range .Notes}}<li>{{.}}</li>{{end}}</ul>
<p class="key"><span style="background:#009e73"></span>found<span style="background:#0072b2"></span>missed<span style="background:#d55e00"></span>invented<span style="background:#fff"></span>outline of the truth<span style="background:#141414"></span>outline of the prediction</p>
{{range .Sections}}<h2>{{.Task}}: {{.Setting}}</h2>
<div class="row">{{range .Figures}}<figure><img src="{{.Picture}}" alt="{{.Rank}} picture, {{.ID}}"><figcaption>{{.Rank}}: {{.Score}}, {{.ID}} ({{.Instances}} instances, {{.Prompts}} prompts{{if .Hidden}}, not drawn{{end}})</figcaption></figure>
{{end}}</div>
{{end}}</body></html>
`))
