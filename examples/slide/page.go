package main

import (
	"encoding/base64"
	"html/template"
	"io"
	"os"
	"path/filepath"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/atomicfile"
)

// pageFile is the page to look at.
const pageFile = "index.html"

// page is what the page shows.
type page struct {
	Title  string
	Slide  *sam.Slide
	Result *sam.SegmentResult
	Notes  []string
}

var layout = template.Must(template.New("page").Parse(`<!doctype html>
<meta charset="utf-8"><title>{{.Title}}</title>
<style>body{font:16px sans-serif;margin:2em auto;max-width:75em;padding:0 1em}img{max-width:100%;border:1px solid #999}td{padding:.1em 1em .1em 0}</style>
<h1>{{.Title}}</h1>
<table>
<tr><td>format<td>{{.Format}}
<tr><td>size<td>{{.W}} x {{.H}} pixels{{if .MPP}}, {{printf "%.4f" .MPP}} µm each{{end}}
<tr><td>tiles searched<td>{{.Tiles}}
<tr><td>objects<td>{{.Objects}}
</table>
{{range .Notes}}<p>{{.}}</p>
{{end}}<p>Files: <a href="{{.GeoJSON}}">{{.GeoJSON}}</a> (drag it onto the slide in QuPath), <a href="{{.CSV}}">{{.CSV}}</a>, <a href="{{.Labels}}">{{.Labels}}</a>.</p>
<img alt="slide with outlines" src="{{.Overlay}}">
`))

// writePage writes one page that needs no other file to be looked at.
func writePage(dir string, p page) error {
	b, err := os.ReadFile(filepath.Join(dir, sam.OverlayFile))
	if err != nil {
		return err
	}
	w, h := p.Slide.Size()
	mpp, _ := p.Slide.MPP()
	return atomicfile.Write(filepath.Join(dir, pageFile), func(out io.Writer) error {
		return layout.Execute(out, map[string]any{
			"Title": p.Title, "Format": p.Slide.Format(), "W": w, "H": h, "MPP": mpp, "Tiles": p.Result.Tiles, "Objects": p.Result.Objects,
			"Notes": p.Notes, "GeoJSON": sam.GeoJSONFile, "CSV": sam.CSVFile, "Labels": sam.LabelsFile,
			"Overlay": template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b)),
		})
	})
}
