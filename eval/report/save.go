package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/internal/atomicfile"
)

// Save writes everything into a folder: results-NAME.json per data set,
// pictures.csv, table.md, table.tex, plots as PNG and SVG, gallery.html. What
// depends on the metric has its name as well, table-aji.md, unless that is Dice,
// so that one metric leaves the files of another alone. Each file is whole or
// not there. It returns the names of the files in the order
// they were written.
func Save(ctx context.Context, dir string, sources []Source, o Options) ([]string, error) {
	var results []*eval.Results
	for _, s := range sources {
		results = append(results, s.Results)
	}
	t, err := NewTable(results, o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("report: save: %w", err)
	}
	of := "" // the metric, in the names of files
	if t.Metric.Name != "dice" {
		of = "-" + fileName(t.Metric.Name)
	}
	var names []string
	save := func(name string, f func(io.Writer) error) {
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err = f(&b); err != nil {
			if errors.Is(err, ErrNothing) {
				err = nil // no clicks, no curve
			}
			return
		}
		if err = write(filepath.Join(dir, name), b.Bytes()); err == nil {
			names = append(names, name)
		}
	}
	for _, r := range results {
		save("results-"+fileName(r.Plan.Dataset)+".json", r.WriteJSON)
	}
	save("pictures.csv", func(w io.Writer) error { return WriteCSV(w, results, o.Empty) })
	save("table"+of+".md", t.WriteMarkdown)
	save("table"+of+".tex", t.WriteLaTeX)
	for _, r := range results {
		for _, task := range r.Tasks() {
			for _, format := range []string{"png", "svg"} {
				figure := func(kind string, f func() (*Plot, error)) {
					save(fmt.Sprintf("%s-%s.%s", kind, fileName(task), format), func(w io.Writer) error {
						p, err := f()
						if err != nil {
							return err
						}
						return p.Encode(w, format)
					})
				}
				figure("distribution"+of, func() (*Plot, error) { return Distribution(r, task, t.Metric.Name, o.Empty) })
				figure("clicks", func() (*Plot, error) { return ClickCurves(r, task, o.Bootstrap) })
				figure("reliability", func() (*Plot, error) { return Reliability(r, task) })
			}
		}
	}
	save("gallery"+of+".html", func(w io.Writer) error { return WriteGallery(ctx, w, sources, t) })
	if err != nil {
		return names, fmt.Errorf("report: save in %s: %w", dir, err)
	}
	return names, nil
}

func write(path string, b []byte) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Commit()
}
