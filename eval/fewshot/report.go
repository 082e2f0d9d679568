package fewshot

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
	"math"
	"runtime/debug"
	"text/tabwriter"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/report"
	"github.com/slidesam/sam/internal/atomicfile"
)

// Report is what a page says about a fine-tuning.
type Report struct {
	Command         string             // that made it
	Fields, Objects int                // learned from or held back
	Tuned           *sam.FineTuned     // or
	Decoder         *sam.InstanceTuned // one of the two
	Took            time.Duration
	Before, After   [16]byte // fingerprints of the models
	Changes         []Change
	Found           []FoundChange // of instance decoders
	Shows           []Show
	Notes           []string // what a reader must know first
}

// Show is a picture of the gallery.
type Show struct {
	Title         string
	Before, After image.Image
}

// WriteFile writes the page. It has everything in it and loads nothing.
func (r *Report) WriteFile(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error { return page.Execute(w, r) })
}

// Version is that of the program.
func (r *Report) Version() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		return b.Main.Path + " " + b.Main.Version + ", " + b.GoVersion
	}
	return ""
}

// Counts says in words how much was learned from.
func (r *Report) Counts() string {
	held, unit, stopped := 0, "of them", false
	if r.Decoder != nil {
		held, unit, stopped = len(r.Decoder.HeldBack), "fields", r.Decoder.Stopped
	} else {
		for _, h := range r.Tuned.HeldBack {
			held += len(h)
		}
		stopped = r.Tuned.Stopped
	}
	early := ""
	if stopped {
		early = ", stopped early: the held-back objects were found no better"
	}
	return fmt.Sprintf("%d fields with %d objects, %d %s held back; %d steps%s; %.0f seconds", r.Fields, r.Objects, held, unit, len(r.steps()), early, r.Took.Seconds())
}

func (r *Report) steps() []sam.FineTuneStep {
	if r.Decoder != nil {
		return r.Decoder.Steps
	}
	return r.Tuned.Steps
}

// HasClicks reports whether clicks were counted.
func (r *Report) HasClicks() bool {
	for _, c := range r.Changes {
		if c.Clicks {
			return true
		}
	}
	return false
}

// Loss is the curve of the losses, as SVG.
func (r *Report) Loss() template.HTML {
	var xs, ys []float64
	for i, s := range r.steps() {
		xs, ys = append(xs, float64(i+1)), append(ys, s.Loss)
	}
	return plot("loss of each step", len(ys), line{"loss", "#0072b2", xs, ys})
}

// Held is the curve of the objects held back, as SVG.
func (r *Report) Held() template.HTML {
	var xs, points, boxes []float64
	if d := r.Decoder; d != nil {
		for _, s := range d.Scores {
			xs, points, boxes = append(xs, float64(s.Step)), append(points, s.F1), append(boxes, s.PQ)
		}
		return plot("F1 and PQ of the fields held back", len(d.Steps), line{"F1", "#d55e00", xs, points}, line{"PQ", "#009e73", xs, boxes})
	}
	for _, s := range r.Tuned.Scores {
		xs, points, boxes = append(xs, float64(s.Step)), append(points, s.Point), append(boxes, s.Box)
	}
	return plot("IoU of the held-back objects", len(r.Tuned.Steps), line{"one point", "#d55e00", xs, points}, line{"box", "#009e73", xs, boxes})
}

// WriteTable writes changes as a table of text.
func WriteTable(w io.Writer, changes []Change) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\t\tobjects\tunion Dice\t\tIoU or clicks\t\tgain, 95 %\t")
	fmt.Fprintln(tw, "data\tprompt\t\tbefore\tafter\tbefore\tafter\t\t")
	for _, c := range changes {
		dice := fmt.Sprintf("%.3f\t%.3f", c.DiceBefore, c.DiceAfter)
		if c.Clicks {
			dice = "\t"
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%.3f\t%.3f\t%s\t\n", c.Data, c.Prompt, c.Before.N, dice, c.Before.Mean, c.After.Mean, Interval(c.Gain))
	}
	return tw.Flush()
}

// Interval is a mean with its confidence interval, if it has one.
func Interval(s eval.Summary) string {
	switch {
	case s.N == 0:
		return ""
	case math.IsNaN(s.Low): // one object
		return fmt.Sprintf("%+.3f", s.Mean)
	}
	return fmt.Sprintf("%+.3f (%+.3f to %+.3f)", s.Mean, s.Low, s.High)
}

// Gallery draws the first pictures of a set with a point for each object, as
// both models outline them. plan is that of the set's [Scores].
func Gallery(ctx context.Context, d *Set, plan eval.Plan, before, after *sam.Model, n int) ([]Show, error) {
	var shows []Show
	point := settings()[0]
	for _, p := range d.Pictures[:min(n, len(d.Pictures))] {
		out := Show{Title: p.ID}
		for _, m := range []struct {
			model *sam.Model
			to    *image.Image
		}{{before, &out.Before}, {after, &out.After}} {
			o, err := eval.NewViewer(m.model, d, plan).Show(ctx, p.ID, point, 0)
			if err != nil {
				return nil, fmt.Errorf("fewshot: gallery: %w", err)
			}
			if *m.to, err = report.DrawOverlay(o); err != nil {
				return nil, fmt.Errorf("fewshot: gallery: %w", err)
			}
		}
		shows = append(shows, out)
	}
	return shows, nil
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
	"interval": Interval,
	"hex":      func(f [16]byte) string { return hex.EncodeToString(f[:]) },
	"f":        func(v float64) string { return fmt.Sprintf("%.3f", v) },
}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Fine-tuning report</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em}
table{border-collapse:collapse}td,th{padding:.3em .7em;border-bottom:1px solid #ccc;text-align:right}
td:first-child,td:nth-child(2),th:first-child,th:nth-child(2){text-align:left}
figure{display:inline-block;margin:0 1em 1em 0}svg text{font-size:11px}pre{background:#f4f4f4;padding:.7em;overflow:auto}
img{max-width:460px;width:100%}.note{background:#fff3cd;padding:.5em .8em}.pair{display:flex;gap:1em;flex-wrap:wrap}
</style>
<h1>Fine-tuning report</h1>
<p>{{.Counts}}.</p>
<pre>{{.Command}}</pre>
<p>{{.Version}}. Fingerprint before {{hex .Before}}, after {{hex .After}}.</p>
{{range .Notes}}<p class="note">{{.}}</p>
{{end}}
<h2>Before and after</h2>
{{if .Found}}<table><tr><th>data</th><th>pictures</th><th>objects</th><th>F1 at IoU 0.5 before</th><th>after</th><th>PQ before</th><th>after</th><th>gain in PQ of a picture, 95 % interval</th></tr>
{{range .Found}}<tr><td>{{.Data}}</td>{{range .Row}}<td>{{.}}</td>{{end}}</tr>
{{end}}</table>
{{else}}<table><tr><th>data</th><th>prompt</th><th>objects</th><th>union Dice before</th><th>after</th><th>IoU of an object before</th><th>after</th><th>gain, 95 % interval</th></tr>
{{range .Changes}}{{if not .Clicks}}<tr><td>{{.Data}}</td><td>{{.Prompt}}</td><td>{{.Before.N}}</td><td>{{f .DiceBefore}}</td><td>{{f .DiceAfter}}</td><td>{{f .Before.Mean}}</td><td>{{f .After.Mean}}</td><td>{{interval .Gain}}</td></tr>
{{end}}{{end}}</table>
{{if .HasClicks}}<table><tr><th>data</th><th>prompt</th><th>objects</th><th>clicks before</th><th>after</th><th>more, 95 % interval</th></tr>
{{range .Changes}}{{if .Clicks}}<tr><td>{{.Data}}</td><td>{{.Prompt}}</td><td>{{.Before.N}}</td><td>{{f .Before.Mean}}</td><td>{{f .After.Mean}}</td><td>{{interval .Gain}}</td></tr>
{{end}}{{end}}</table>{{end}}{{end}}
<p>Nothing of "test" or "held back" was learned from. "synthetic H&amp;E" shows what is forgotten: it is not what was taught.
Intervals resample whole pictures, or objects where there is one picture.</p>
<h2>Curves</h2>
{{.Loss}}{{.Held}}
{{if .Shows}}<h2>{{if .Found}}All objects, without a prompt{{else}}A point for each object{{end}}</h2>
<p>Green was found, blue missed, orange invented; outlines are white for the truth and black for the masks.</p>
{{range .Shows}}<h3>{{.Title}}</h3><div class="pair"><figure><img alt="before" src="{{picture .Before}}"><figcaption>before</figcaption></figure>
<figure><img alt="after" src="{{picture .After}}"><figcaption>after</figcaption></figure></div>
{{end}}{{end}}
<p>Segment Anything for pathology is not a medical device.</p>
</html>
`))
