package cohort

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/slidesam/sam/internal/atomicfile"
)

// row is a line of the table.
type row struct {
	Slide  Slide
	Record *Record
}

// kind is the type of a column's values.
type kind int

const (
	words kind = iota
	integer
	number
)

// column is a column of the table. value returns nothing if it is unknown.
type column struct {
	name  string
	kind  kind
	value func(r row) (any, bool) // string, int or float64 by kind
}

// columns returns the table's columns: those of the slides, of the sheet, of
// what was found, and of each class if there are several.
func columns(rows []row) []column {
	str := func(name string, f func(r row) string) column {
		return column{name, words, func(r row) (any, bool) { v := f(r); return v, v != "" }}
	}
	num := func(name string, f func(r row) float64) column {
		return column{name, number, func(r row) (any, bool) { v := f(r); return v, v != 0 }}
	}
	count := func(name string, f func(r *Record) int) column {
		return column{name, integer, func(r row) (any, bool) { return f(r.Record), r.Record.done() }}
	}
	out := []column{
		str("id", func(r row) string { return r.Slide.ID }), str("slide", func(r row) string { return r.Record.Slide }),
		str("status", func(r row) string { return string(r.Record.Status) }), str("reason", func(r row) string { return r.Record.Reason }),
		num("mpp", func(r row) float64 { return r.Record.OwnMPP }),
		count("width", func(r *Record) int { return r.W }), count("height", func(r *Record) int { return r.H }),
		num("tissue_mm2", func(r row) float64 { return round(r.Record.Tissue, 6) }),
		count("tiles", func(r *Record) int { return r.Tiles }), count("missing_tiles", func(r *Record) int { return r.Missing }),
	}
	taken := map[string]bool{}
	for _, c := range out {
		taken[c.name] = true
	}
	if len(rows) > 0 {
		for _, f := range rows[0].Slide.More {
			name := f.Name
			for taken[name] || slices.Contains(classColumns, name) {
				name = "sheet_" + name
			}
			taken[name] = true
			out = append(out, str(name, func(r row) string { return r.Slide.get(f.Name) }))
		}
	}
	out = append(out, ofClass("", func(r *Record) *Class {
		if len(r.Classes) == 0 {
			return nil
		}
		return &r.Classes[0]
	})...)
	for _, k := range classKeys(rows) {
		out = append(out, ofClass(k.column()+"_", func(r *Record) *Class {
			for i := range r.Classes {
				if r.Classes[i].key() == k {
					return &r.Classes[i]
				}
			}
			return &Class{} // none of that class
		})...)
	}
	return out
}

// classKeys are the classes of all slides, if there are several or they have a
// name.
func classKeys(rows []row) []classKey {
	var out []classKey
	for _, r := range rows {
		for _, c := range r.Record.Classes {
			if k := c.key(); k != (classKey{}) && !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
	}
	slices.SortFunc(out, func(a, b classKey) int { return strings.Compare(a.column(), b.column()) })
	if len(out) == 1 && out[0].name == "" {
		return nil
	}
	return out
}

// column names a class in the table.
func (k classKey) column() string {
	name := k.name
	if name == "" {
		name = "objects"
	}
	if k.mpp > 0 {
		name += "_" + strconv.FormatFloat(k.mpp, 'g', -1, 64)
	}
	return name
}

var classColumns = []string{"objects", "area_mm2", "share", "per_mm2", "mean_um2", "median_um2"}

// ofClass returns the columns of a class.
func ofClass(prefix string, of func(r *Record) *Class) []column {
	num := func(name string, known func(r *Record, c *Class) bool, f func(c *Class) float64) column {
		return column{prefix + name, number, func(r row) (any, bool) {
			c := of(r.Record)
			if c == nil || !r.Record.done() || !known(r.Record, c) {
				return 0., false
			}
			return f(c), true
		}}
	}
	scaled := func(r *Record, _ *Class) bool { return r.OwnMPP > 0 }
	tissue := func(r *Record, _ *Class) bool { return r.Tissue > 0 }
	some := func(r *Record, c *Class) bool { return r.OwnMPP > 0 && c.Objects > 0 }
	return []column{
		{prefix + "objects", integer, func(r row) (any, bool) {
			c := of(r.Record)
			if c == nil || !r.Record.done() {
				return 0, false
			}
			return c.Objects, true
		}},
		num("area_mm2", scaled, func(c *Class) float64 { return c.Area }), num("share", tissue, func(c *Class) float64 { return c.Share }),
		num("per_mm2", tissue, func(c *Class) float64 { return c.PerMM2 }),
		num("mean_um2", some, func(c *Class) float64 { return c.Mean }), num("median_um2", some, func(c *Class) float64 { return c.Median }),
	}
}

// writeTable writes the table as CSV; what is unknown is empty.
func writeTable(w io.Writer, rows []row) error {
	cols := columns(rows)
	t := csv.NewWriter(w)
	line := make([]string, len(cols))
	for i, c := range cols {
		line[i] = c.name
	}
	_ = t.Write(line) // errors are kept
	for _, r := range rows {
		for i, c := range cols {
			line[i] = ""
			switch v, ok := c.value(r); v := v.(type) {
			case string:
				line[i] = v
			case int:
				if ok {
					line[i] = strconv.Itoa(v)
				}
			case float64:
				if ok {
					line[i] = strconv.FormatFloat(v, 'g', -1, 64)
				}
			}
		}
		_ = t.Write(line)
	}
	t.Flush()
	return t.Error()
}

// rows returns what is known of all slides, in the sheet's order.
func (c *Cohort) rows() ([]row, error) {
	out := make([]row, len(c.Slides))
	for i, s := range c.Slides {
		r, err := c.record(s)
		if err != nil {
			return nil, err
		}
		out[i] = row{s, r}
	}
	return out, nil
}

// Summary counts slides by what became of them.
type Summary struct{ Slides, Done, Partial, Failed, Unfinished, Objects int }

// String says it in a line.
func (s Summary) String() string {
	out := fmt.Sprintf("%d slides: %d done", s.Slides, s.Done+s.Partial)
	for _, p := range []struct {
		n    int
		what string
	}{{s.Partial, "of them with parts left out"}, {s.Failed, "failed"}, {s.Unfinished, "unfinished"}} {
		if p.n > 0 {
			out += fmt.Sprintf(", %d %s", p.n, p.what)
		}
	}
	return fmt.Sprintf("%s; %d objects", out, s.Objects)
}

func summarise(rows []row) Summary {
	s := Summary{Slides: len(rows)}
	for _, r := range rows {
		s.Objects += r.Record.Objects
		switch r.Record.Status {
		case Done:
			s.Done++
		case Partial:
			s.Partial++
		case Failed:
			s.Failed++
		default:
			s.Unfinished++
		}
	}
	return s
}

// Report writes the table as CSV and Parquet, the times and the page. The
// table and the page are the same bytes for every way to the same results.
func (c *Cohort) Report() (Summary, error) {
	rows, err := c.rows()
	if err != nil {
		return Summary{}, err
	}
	sum := summarise(rows)
	for name, write := range map[string]func(w io.Writer) error{
		TableFile:   func(w io.Writer) error { return writeTable(w, rows) },
		ParquetFile: func(w io.Writer) error { return writeParquet(w, rows) },
		TimesFile:   c.writeTimes,
		ReportFile:  func(w io.Writer) error { return c.writePage(w, rows, sum) },
	} {
		if err := atomicfile.WriteIn(c.Dir, name, write); err != nil {
			return sum, fmt.Errorf("%s: %w", name, err)
		}
	}
	return sum, nil
}
