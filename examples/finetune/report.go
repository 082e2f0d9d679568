package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"image"
	"image/png"
	"io"
	"runtime/debug"
	"strings"

	"github.com/slidesam/sam/internal/atomicfile"
)

// report writes the page that says what the fine-tuning changed. It has
// everything in it and loads nothing.
func (j *job) report(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error { return page.Execute(w, view{j}) })
}

// view is what the page reads.
type view struct{ *job }

func (v view) Command() string { return v.command }

func (v view) Version() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		return b.Main.Path + " " + b.Main.Version + ", " + b.GoVersion
	}
	return ""
}

func (v view) Counts() string {
	held := 0
	for _, h := range v.tuned.HeldBack {
		held += len(h)
	}
	stopped := ""
	if v.tuned.Stopped {
		stopped = ", stopped early: the held-back objects were found no better"
	}
	return fmt.Sprintf("%d fields with %d objects, %d of them held back; %d steps%s; %.0f seconds", len(v.fields), v.objects, held, len(v.tuned.Steps), stopped, v.took.Seconds())
}

func (v view) Rows() []row   { return v.rows }
func (v view) Shows() []show { return v.shows }
func (v view) Prints() []string {
	return []string{hex.EncodeToString(v.prints[0][:]), hex.EncodeToString(v.prints[1][:])}
}

// Loss and Held are the curves as SVG.
func (v view) Loss() template.HTML {
	var ys []float64
	for _, s := range v.tuned.Steps {
		ys = append(ys, s.Loss)
	}
	return plot("loss of each step", len(ys), line{"loss", "#0072b2", at(ys, 1), ys})
}

func (v view) Held() template.HTML {
	var xs, points, boxes []float64
	for _, s := range v.tuned.Scores {
		xs, points, boxes = append(xs, float64(s.Step)), append(points, s.Point), append(boxes, s.Box)
	}
	return plot("IoU of the held-back objects", len(v.tuned.Steps), line{"one point", "#d55e00", xs, points}, line{"box", "#009e73", xs, boxes})
}

func at(ys []float64, from int) []float64 {
	xs := make([]float64, len(ys))
	for i := range xs {
		xs[i] = float64(i + from)
	}
	return xs
}

type line struct {
	name, colour string
	x, y         []float64
}

// plot draws lines over steps. Its text is ours: nothing in it needs escaping.
func plot(title string, steps int, lines ...line) template.HTML {
	const w, h, left, low = 460, 220, 50, 30
	bottom, top := 0.0, 0.0
	for k, l := range lines {
		for i, y := range l.y {
			if k == 0 && i == 0 {
				bottom, top = y, y
			}
			bottom, top = min(bottom, y), max(top, y)
		}
	}
	if len(lines[0].y) == 0 {
		return template.HTML("<p>" + title + ": nothing was measured</p>")
	}
	pad := max(1e-3, 0.05*(top-bottom))
	bottom, top = bottom-pad, top+pad
	px := func(x float64) float64 { return left + x/float64(max(1, steps))*(w-left-10) }
	py := func(y float64) float64 { return 10 + (top-y)/(top-bottom)*(h-low-10) }
	var b strings.Builder
	fmt.Fprintf(&b, `<figure><svg viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`, w, h, w, h, title)
	for i := range 5 {
		y := bottom + (top-bottom)*float64(i)/4
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.3f</text>`, left, py(y), w-10, left-5, py(y)+4, y)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">0</text><text x="%d" y="%d" text-anchor="end">%d steps</text>`, left, h-8, w-10, h-8, steps)
	for k, l := range lines {
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, l.colour)
		for i := range l.x {
			fmt.Fprintf(&b, "%.1f,%.1f ", px(l.x[i]), py(l.y[i]))
		}
		fmt.Fprintf(&b, `"/><text x="%d" y="%d" fill="%s">%s</text>`, left+10+100*k, h-8, l.colour, l.name)
	}
	fmt.Fprintf(&b, `</svg><figcaption>%s</figcaption></figure>`, title)
	return template.HTML(b.String())
}

// picture is a picture as an address with everything in it.
func picture(img image.Image) (template.URL, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"picture":  picture,
	"interval": interval,
	"f":        func(v float64) string { return fmt.Sprintf("%.3f", v) },
}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Fine-tuning report</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em}
table{border-collapse:collapse}td,th{padding:.3em .7em;border-bottom:1px solid #ccc;text-align:right}
td:first-child,td:nth-child(2),th:first-child,th:nth-child(2){text-align:left}
figure{display:inline-block;margin:0 1em 1em 0}svg text{font-size:11px}pre{background:#f4f4f4;padding:.7em;overflow:auto}
img{max-width:460px;width:100%}.pair{display:flex;gap:1em;flex-wrap:wrap}
</style>
<h1>Fine-tuning report</h1>
<p>{{.Counts}}.</p>
<pre>{{.Command}}</pre>
<p>{{.Version}}. Fingerprint before {{index .Prints 0}}, after {{index .Prints 1}}.</p>
<h2>Before and after</h2>
<table><tr><th>data</th><th>prompt</th><th>objects</th><th>union Dice before</th><th>after</th><th>IoU of an object before</th><th>after</th><th>gain, 95 % interval</th></tr>
{{range .Rows}}<tr><td>{{.Data}}</td><td>{{.Prompt}}</td><td>{{.Before.N}}</td><td>{{f .DiceBefore}}</td><td>{{f .DiceAfter}}</td><td>{{f .Before.Mean}}</td><td>{{f .After.Mean}}</td><td>{{interval .Gain}}</td></tr>
{{end}}</table>
<p>Nothing of "test" or "held back" was learned from. "synthetic H&amp;E" shows what is forgotten: it is not what was taught.
Intervals resample whole pictures, or objects where there is one picture.</p>
<h2>Curves</h2>
{{.Loss}}{{.Held}}
{{if .Shows}}<h2>A point for each object</h2>
<p>Green was found, blue missed, orange invented; outlines are white for the truth and black for the masks.</p>
{{range .Shows}}<h3>{{.Title}}</h3><div class="pair"><figure><img alt="before" src="{{picture .Before}}"><figcaption>before</figcaption></figure>
<figure><img alt="after" src="{{picture .After}}"><figcaption>after</figcaption></figure></div>
{{end}}{{end}}
<p>Segment Anything for pathology is not a medical device.</p>
</html>
`))
