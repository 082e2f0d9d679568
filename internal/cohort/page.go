package cohort

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"net/url"
	"path/filepath"
	"slices"

	xdraw "golang.org/x/image/draw"

	"github.com/slidesam/sam/internal/regular"
	"github.com/slidesam/sam/internal/wholeslide"
)

// maxThumbs bounds the pictures of the page, maxRows the lines of its tables:
// cohorts of a hundred thousand slides have pages, too.
const (
	maxThumbs = 60
	maxRows   = 500
	thumbSide = 220
	// maxOverlay bounds the file and the pixels of an overlay that is reduced.
	maxOverlay = 1 << 28
)

var pageLayout = template.Must(template.New("cohort").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Cohort of {{.Sum.Slides}} slides</title>
<style>
body{font:16px/1.4 sans-serif;margin:2em auto;max-width:75em;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em 1.2em .2em 0;text-align:left;vertical-align:top;border-bottom:1px solid #ccc}th{font-weight:600}
.n{text-align:right}.plots img{max-width:100%}
.thumbs{display:flex;flex-wrap:wrap;gap:1em}.thumbs figure{margin:0;width:220px}.thumbs img{max-width:100%;border:1px solid #999;display:block}
figcaption{color:#555;font-size:14px;overflow-wrap:anywhere}.odd img{border:3px solid #d55e00}
footer{margin-top:2em;color:#555}
</style>
<h1>Cohort of {{.Sum.Slides}} slides</h1>
<p>{{.Sum}}. Tables: <a href="{{.Table}}">{{.Table}}</a>, <a href="{{.Parquet}}">{{.Parquet}}</a>; how long it took: <a href="{{.Times}}">{{.Times}}</a>.</p>
{{if .Groups}}<table><tr><th>group</th><th class="n">slides</th><th class="n">done</th><th class="n">objects</th><th class="n">area searched, mm²</th><th class="n">per mm², median</th></tr>
{{range .Groups}}<tr><td>{{.Name}}</td><td class="n">{{.Slides}}</td><td class="n">{{.Done}}</td><td class="n">{{.Objects}}</td><td class="n">{{.Tissue}}</td><td class="n">{{.Density}}</td></tr>
{{end}}</table>{{end}}
{{if .Plots}}<h2>By group</h2>
<p>Boxes show the quartiles; each point is a slide. Slides beyond one and a half times the middle half's range, in groups of five and more, are named.</p>
<div class="plots">{{range .Plots}}<img alt="distribution by group" src="{{.}}">{{end}}</div>{{end}}
{{if .Failures}}<h2>Failed or unfinished</h2>
<table><tr><th>slide</th><th>status</th><th>reason</th></tr>
{{range .Failures}}<tr><td>{{.ID}}</td><td>{{.Status}}</td><td>{{.Reason}}</td></tr>
{{end}}</table>{{if .MoreFailures}}<p>And {{.MoreFailures}} more: see the table.</p>{{end}}{{end}}
{{if .Outliers}}<h2>Outliers</h2>
<table><tr><th>slide</th><th>group</th><th>measure</th><th class="n">value</th></tr>
{{range .Outliers}}<tr><td><a href="{{.Link}}">{{.ID}}</a></td><td>{{.Group}}</td><td>{{.Measure}}</td><td class="n">{{.Value}}</td></tr>
{{end}}</table>{{end}}
{{if .Thumbs}}<h2>Slides</h2>
{{if .MoreThumbs}}<p>{{len .Thumbs}} of {{.DoneSlides}}: outliers first, then evenly over the sheet.</p>{{end}}
<div class="thumbs">{{range .Thumbs}}<figure{{if .Odd}} class="odd"{{end}}><a href="{{.Link}}"><img alt="{{.ID}}" src="{{.Data}}"></a><figcaption>{{.ID}}{{if .Group}}, {{.Group}}{{end}}: {{.Objects}} objects{{if .Odd}}; outlier{{end}}</figcaption></figure>
{{end}}</div>{{end}}
<footer>Found by a model, checked by nobody. For research, not for diagnosis.</footer>
</html>
`))

type groupLine struct {
	Name                  string
	Slides, Done, Objects int
	Tissue, Density       string
}

type outlierLine struct{ ID, Link, Group, Measure, Value string }

type thumb struct {
	ID, Link, Group string
	Objects         int
	Odd             bool
	Data            template.URL
}

// writePage writes the report: one file that needs no other to be looked at.
func (c *Cohort) writePage(w io.Writer, rows []row, sum Summary) error {
	gs := groups(rows, c.Group)
	var lines []groupLine
	var plots []template.URL
	var outliers []outlierLine
	odd := map[string]bool{}
	for _, g := range gs {
		lines = append(lines, g.line())
	}
	for _, m := range measured() {
		svg, err := distribution(gs, m)
		if err != nil {
			return err
		}
		if svg != nil {
			plots = append(plots, template.URL("data:image/svg+xml;base64,"+base64.StdEncoding.EncodeToString(svg)))
		}
		for _, g := range gs {
			for _, p := range g.points(m) {
				if p.outlier {
					odd[p.row.Slide.ID] = true
					outliers = append(outliers, outlierLine{p.row.Slide.ID, link(p.row.Slide), g.name, m.name, fmt.Sprintf("%.4g", p.value)})
				}
			}
		}
	}
	var failures []*Record
	var done []row
	for _, r := range rows {
		if r.Record.done() {
			done = append(done, r)
		}
		if r.Record.Status != Done {
			failures = append(failures, r.Record)
		}
	}
	thumbs, err := c.thumbs(done, odd)
	if err != nil {
		return err
	}
	return pageLayout.Execute(w, map[string]any{
		"Sum": sum, "Table": TableFile, "Parquet": ParquetFile, "Times": TimesFile, "Groups": lines[:min(len(lines), maxRows)], "Plots": plots,
		"Failures": failures[:min(len(failures), maxRows)], "MoreFailures": max(len(failures)-maxRows, 0), "Outliers": outliers[:min(len(outliers), maxRows)],
		"Thumbs": thumbs, "MoreThumbs": len(thumbs) < len(done), "DoneSlides": len(done),
	})
}

func (g group) line() groupLine {
	l := groupLine{Name: cmp.Or(g.name, "all"), Slides: len(g.rows), Tissue: "–", Density: "–"}
	tissue := 0.0
	var density []float64
	for _, r := range g.rows {
		if !r.Record.done() {
			continue
		}
		l.Done++
		l.Objects += r.Record.Objects
		tissue += r.Record.Tissue
		if r.Record.Tissue > 0 {
			density = append(density, r.Record.Classes[0].PerMM2)
		}
	}
	if len(density) > 0 {
		slices.Sort(density)
		l.Tissue, l.Density = fmt.Sprintf("%.4g", tissue), fmt.Sprintf("%.4g", quantile(density, 0.5))
	}
	return l
}

// link is the address of a slide's page.
func link(s Slide) string { return slidesFolder + "/" + url.PathEscape(s.ID) + "/index.html" }

// thumbs are pictures of the slides with their outlines: the outliers, and the
// others evenly over the sheet.
func (c *Cohort) thumbs(done []row, odd map[string]bool) ([]thumb, error) {
	slices.SortStableFunc(done, func(a, b row) int { return b2i(odd[b.Slide.ID]) - b2i(odd[a.Slide.ID]) })
	first := min(len(odd), maxThumbs)
	show := slices.Clone(done[:min(first, len(done))])
	rest := done[len(show):]
	for k, n := 0, min(len(rest), maxThumbs-len(show)); k < n; k++ {
		show = append(show, rest[k*len(rest)/n])
	}
	var out []thumb
	for _, r := range show {
		if c.fetch != nil {
			if err := c.fetch(r.Slide, wholeslide.OverlayFile); err != nil {
				return nil, err
			}
		}
		b, err := reduce(filepath.Join(c.folder(r.Slide), wholeslide.OverlayFile))
		if err != nil {
			return nil, err
		}
		out = append(out, thumb{
			r.Slide.ID, link(r.Slide), r.Slide.get(c.Group), r.Record.Objects, odd[r.Slide.ID],
			template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(b)),
		})
	}
	return out, nil
}

// reduce returns a PNG file as a small JPEG.
func reduce(path string) ([]byte, error) {
	b, err := regular.ReadFile(path, maxOverlay)
	if err != nil {
		return nil, err
	}
	size, err := png.DecodeConfig(bytes.NewReader(b))
	if err == nil && int64(size.Width)*int64(size.Height) > maxOverlay/4 {
		err = fmt.Errorf("%d x %d pixels are too many", size.Width, size.Height)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := min(1, float64(thumbSide)/float64(max(size.Width, size.Height)))
	small := image.NewRGBA(image.Rect(0, 0, max(1, int(float64(size.Width)*f)), max(1, int(float64(size.Height)*f))))
	xdraw.Draw(small, small.Rect, image.White, image.Point{}, xdraw.Src)
	xdraw.BiLinear.Scale(small, small.Rect, img, img.Bounds(), xdraw.Over, nil)
	var out bytes.Buffer
	err = jpeg.Encode(&out, small, &jpeg.Options{Quality: 80})
	return out.Bytes(), err
}
