package slide

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/draw"
)

// pageFile is the page to look at.
const pageFile = "index.html"

// page is what the page shows.
type page struct {
	Title  string
	Slide  *sam.Slide
	Result *sam.SegmentResult
	Notes  []string
	Region image.Rectangle // that was searched, on level 0; zero: all
}

// scaleRow is a line of the page's table.
type scaleRow struct {
	sam.ScaleResult
	Colour         template.CSS
	Median, Middle string // of areas, and the range of the middle 90 %
}

// figure is a picture with its scale bar.
type figure struct {
	Name, Caption string
	Data          template.URL
	Bar           string  // length in words; empty: unknown
	Share         float64 // of the picture's width, in per cent
}

var layout = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}}</title>
<style>
body{font:16px/1.4 sans-serif;margin:2em auto;max-width:75em;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em 1.2em .2em 0;text-align:left;vertical-align:top}th{font-weight:600}
.scales td,.scales th{border-bottom:1px solid #ccc}.n{text-align:right}
figure{margin:1.5em 0;display:table}figure div{position:relative}figure img{max-width:100%;display:block;border:1px solid #999}
figcaption{display:table-caption;caption-side:bottom;color:#555;padding-top:.3em}
.bar{position:absolute;left:1.5%;bottom:1.5%;box-sizing:border-box;border-bottom:4px solid #000;background:#fffc;text-align:center;font-size:13px;min-width:4em;padding:0 .2em}
.key{display:inline-block;width:.9em;height:.9em;border:1px solid #333;margin-right:.4em}
footer{margin-top:2em;color:#555}
</style>
<h1>{{.Title}}</h1>
<table>
<tr><th>size<td>{{.W}} × {{.H}} pixels{{if .MM}}, {{.MM}}{{end}}
{{if .MPP}}<tr><th>resolution<td>{{printf "%.4g" .MPP}} µm per pixel{{if .Objective}}, objective {{.Objective}}×{{end}}
{{else}}<tr><th>resolution<td>unknown: give it with -slide-mpp for areas in µm²
{{end}}<tr><th>format<td>{{.Format}}
</table>
<table class="scales">
<tr><th>outline<th>class<th>searched at<th class="n">tiles<th class="n">objects<th class="n">median area<th class="n">middle 90 %
{{range .Scales}}<tr><td><span class="key" style="background:{{.Colour}}"></span><td>{{or .Class "–"}}<td>{{if .MPP}}{{printf "%.4g" .MPP}} µm per pixel{{else}}level 0{{end}}<td class="n">{{.Tiles}}<td class="n">{{.Objects}}<td class="n">{{.Median}}<td class="n">{{.Middle}}
{{end}}</table>
{{range .Notes}}<p>{{.}}</p>
{{end}}{{range .Figures}}<figure><div><img alt="{{.Caption}}" src="{{.Data}}">{{if .Bar}}<div class="bar" style="position:absolute;width:{{printf "%.3f" .Share}}%">{{.Bar}}</div>{{end}}</div><figcaption>{{.Caption}}</figcaption></figure>
{{end}}<p>Files: <a href="{{.GeoJSON}}">{{.GeoJSON}}</a> (drag it onto the slide in QuPath), <a href="{{.CSV}}">{{.CSV}}</a>{{range .Scales}}, <a href="{{.Labels}}">{{.Labels}}</a>{{end}}.</p>
<footer>Found by a model, checked by nobody. For research, not for diagnosis.</footer>
</html>
`))

// writePage writes one page that needs no other file to be looked at.
func writePage(ctx context.Context, dir string, p page) error {
	size := p.Slide.Size()
	w, h := size.W, size.H
	mpp, _ := p.Slide.MPP()
	scales, err := summarise(dir, p.Result)
	if err != nil {
		return err
	}
	shown := w
	if !p.Region.Empty() {
		shown = p.Region.Intersect(image.Rect(0, 0, w, h)).Dx()
	}
	figures, err := figuresOf(ctx, dir, p, shown, mpp)
	if err != nil {
		return err
	}
	mm := ""
	if mpp > 0 {
		mm = fmt.Sprintf("%.3g × %.3g mm", float64(w)*mpp/1000, float64(h)*mpp/1000)
	}
	return atomicfile.Write(filepath.Join(dir, pageFile), func(out io.Writer) error {
		return layout.Execute(out, map[string]any{
			"Title": p.Title, "Format": p.Slide.Format(), "W": w, "H": h, "MM": mm, "MPP": mpp, "Objective": p.Slide.Objective(), "Notes": p.Notes,
			"Scales": scales, "Figures": figures, "GeoJSON": sam.GeoJSONFile, "CSV": sam.CSVFile,
		})
	})
}

// summarise returns the table's lines, the finest scale first.
func summarise(dir string, res *sam.SegmentResult) ([]scaleRow, error) {
	areas := map[float64][]float32{}
	err := readTable(filepath.Join(dir, sam.CSVFile), func(o object) {
		if o.um2 > 0 {
			areas[o.mpp] = append(areas[o.mpp], float32(o.um2))
		}
	})
	var out []scaleRow
	for k := range res.Scales {
		sc := res.Scales[len(res.Scales)-1-k]
		c := draw.Color(k)
		r := scaleRow{ScaleResult: sc, Colour: template.CSS(fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B)), Median: "–", Middle: "–"}
		if a := areas[sc.MPP]; len(a) > 0 {
			slices.Sort(a)
			at := func(q float64) float32 { return a[int(q*float64(len(a)-1))] }
			r.Median, r.Middle = fmt.Sprintf("%.3g µm²", at(0.5)), fmt.Sprintf("%.3g to %.3g µm²", at(0.05), at(0.95))
		}
		out = append(out, r)
	}
	return out, err
}

// figuresOf returns what was searched of the slide, w pixels wide, and, if that
// is coarser than it was searched, a close-up.
func figuresOf(ctx context.Context, dir string, p page, w int, mpp float64) ([]figure, error) {
	over, size, err := embed(filepath.Join(dir, sam.OverlayFile))
	if err != nil {
		return nil, err
	}
	out := []figure{{Name: sam.OverlayFile, Caption: "The slide with the outlines of all objects.", Data: over}}
	if !p.Region.Empty() {
		out[0].Caption = "The region with the outlines of all objects."
	}
	out[0].Bar, out[0].Share = scaleBar(float64(w) * mpp)
	fine := float64(w) // pixels of the finest scale
	if mpp > 0 {
		fine *= mpp / p.Result.Scales[len(p.Result.Scales)-1].MPP
	}
	if p.Result.Objects == 0 || float64(size.X) > 0.7*fine {
		return out, nil
	}
	field, err := closeUp(ctx, p.Slide, dir, p.Result, p.Region)
	if err != nil {
		return nil, err
	}
	f := figure{Name: closeUpFile, Caption: fmt.Sprintf("The field with the most objects, at x = %d, y = %d, %d × %d pixels.", field.Min.X, field.Min.Y, field.Dx(), field.Dy())}
	f.Bar, f.Share = scaleBar(float64(field.Dx()) * mpp)
	f.Data, _, err = embed(filepath.Join(dir, closeUpFile))
	return append(out, f), err
}

// embed returns a PNG file as a URL, and its size.
func embed(path string) (template.URL, image.Point, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", image.Point{}, err
	}
	c, err := png.DecodeConfig(bytes.NewReader(b))
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b)), image.Pt(c.Width, c.Height), err
}

// scaleBar returns a round length of about a sixth of a width of um
// micrometres, in words, and its share of the width in per cent.
func scaleBar(um float64) (string, float64) {
	if um <= 0 {
		return "", 0
	}
	length := math.Pow10(int(math.Floor(math.Log10(um / 4))))
	for _, m := range []float64{5, 2} {
		if m*length <= um/4 {
			length *= m
			break
		}
	}
	if length >= 1000 {
		return fmt.Sprintf("%g mm", length/1000), 100 * length / um
	}
	return fmt.Sprintf("%g µm", length), 100 * length / um
}
