package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	tabletext "github.com/jedib0t/go-pretty/v6/text"
	"github.com/slidesam/sam/eval"
)

// WriteMarkdown writes the table, the paired tests and the notes.
func (t *Table) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	cells := func(v ...string) {
		for i := range v {
			v[i] = strings.NewReplacer("|", `\|`, "\n", " ").Replace(v[i])
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(v, " | "))
	}
	cells(append([]string{"method", "prompts"}, t.Columns...)...)
	b.WriteString("|---|---|" + strings.Repeat("---|", len(t.Columns)) + "\n")
	for _, p := range t.paperRows() {
		row := []string{"paper: " + p.Method, p.Prompts}
		for _, col := range t.Paper {
			row = append(row, paperText(p, col))
		}
		cells(row...)
	}
	for _, r := range t.Rows {
		row := []string{t.Model, r.Setting}
		for _, c := range r.Cells {
			row = append(row, t.cellText(c))
		}
		cells(row...)
	}
	if len(t.Comparisons) > 0 {
		b.WriteString("\nPaired Wilcoxon signed-rank tests per picture, two-sided, p adjusted by Holm over all of them:\n\n")
		cells("task", "setting", "less", "difference", "n", "p", "adjusted p")
		b.WriteString("|---|---|---|---|---|---|---|\n")
		for _, c := range t.Comparisons {
			cells(c.Task, c.A, c.B, t.signed(c.Difference), strconv.Itoa(c.N), pText(c.P), pText(c.Adjusted))
		}
	}
	b.WriteString("\n")
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	return flush(w, b.String())
}

// paperRows returns the paper's rows, none if no column is the paper's or the
// metric is not Dice.
func (t *Table) paperRows() []PaperRow {
	if t.Metric.Name != "dice" {
		return nil
	}
	for _, c := range t.Paper {
		if c != "" {
			return PaperTable
		}
	}
	return nil
}

func paperText(p PaperRow, column string) string {
	c, ok := p.Cells[column]
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.2f (%s)", c.Dice, c.Status)
}

func (t *Table) cellText(c Cell) string {
	if c.N == 0 {
		return "-"
	}
	s := t.number(c.Mean)
	if !math.IsNaN(c.Low) {
		s += fmt.Sprintf(" [%s, %s]", t.number(c.Low), t.number(c.High))
	}
	if c.Ceiling.N > 0 {
		s += fmt.Sprintf(", ceiling %s", t.number(c.Ceiling.Mean))
	}
	s += fmt.Sprintf(", n %d", c.N)
	if c.NaN > 0 {
		s += fmt.Sprintf(" (%d undefined)", c.NaN)
	}
	return s
}

func (t *Table) signed(v float64) string {
	if s := t.number(v); v >= 0 && s != "-" {
		return "+" + s
	}
	return t.number(v)
}

func pText(p float64) string {
	if p < 1e-4 {
		return fmt.Sprintf("%.1e", p)
	}
	return fmt.Sprintf("%.4f", p)
}

// WriteLaTeX writes the table as a tabular of the booktabs package. Recalled
// figures of the paper are in italics with a dagger, secondary ones with an
// asterisk.
func (t *Table) WriteLaTeX(w io.Writer) error {
	var b strings.Builder
	cells := func(v ...string) { fmt.Fprintf(&b, "%s \\\\\n", strings.Join(v, " & ")) }
	fmt.Fprintf(&b, "%% needs \\usepackage{booktabs}\n\\begin{tabular}{ll%s}\n\\toprule\n", strings.Repeat("r", len(t.Columns)))
	head := []string{"method", "prompts"}
	for _, c := range t.Columns {
		head = append(head, texEscape(c))
	}
	cells(head...)
	b.WriteString("\\midrule\n")
	if rows := t.paperRows(); rows != nil {
		for _, p := range rows {
			row := []string{"paper: " + p.Method, p.Prompts}
			for _, col := range t.Paper {
				c, ok := p.Cells[col]
				switch {
				case !ok:
					row = append(row, "--")
				case c.Status == Recalled:
					row = append(row, fmt.Sprintf("\\textit{%.2f}\\textsuperscript{\\dag}", c.Dice))
				case c.Status == Secondary:
					row = append(row, fmt.Sprintf("%.2f\\textsuperscript{*}", c.Dice))
				default:
					row = append(row, fmt.Sprintf("%.2f", c.Dice))
				}
			}
			cells(row...)
		}
		b.WriteString("\\midrule\n")
	}
	for _, r := range t.Rows {
		row := []string{texEscape(t.Model), texEscape(r.Setting)}
		for _, c := range r.Cells {
			if c.N == 0 {
				row = append(row, "--")
				continue
			}
			s := t.number(c.Mean)
			if !math.IsNaN(c.Low) {
				s += fmt.Sprintf(" {\\scriptsize [%s, %s]}", t.number(c.Low), t.number(c.High))
			}
			row = append(row, s)
		}
		cells(row...)
	}
	b.WriteString("\\bottomrule\n\\end{tabular}\n")
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "%% %s\n", n)
	}
	if t.paperRows() != nil {
		b.WriteString("% dagger: recalled, not checked; asterisk: from a secondary source\n")
	}
	return flush(w, b.String())
}

func texEscape(s string) string {
	return strings.NewReplacer(`\`, `\textbackslash{}`, "&", `\&`, "%", `\%`, "$", `\$`, "#", `\#`, "_", `\_`,
		"{", `\{`, "}", `\}`, "~", `\textasciitilde{}`, "^", `\textasciicircum{}`).Replace(s)
}

// WriteCSV writes every score of every record: one line for each picture,
// scale and setting, scores as they are (not per cent), empty where undefined,
// inf where infinite. Scores whose column begins with "ceiling" are those of
// the oracle.
func WriteCSV(w io.Writer, results []*eval.Results, e eval.Empty) error {
	c := csv.NewWriter(w)
	metrics := eval.Metrics()
	head := []string{"dataset", "task", "picture", "group", "setting", "mpp", "height", "width", "instances", "prompts", "points", "masks"}
	for _, m := range metrics {
		head = append(head, m.Name)
	}
	for _, m := range metrics {
		if m.Oracle != nil {
			head = append(head, "ceiling "+m.Name)
		}
	}
	if err := c.Write(head); err != nil {
		return fmt.Errorf("report: write csv: %w", err)
	}
	for _, r := range results {
		for _, rec := range r.Records {
			row := []string{r.Plan.Dataset, r.TaskOf(rec), rec.ID, rec.Group, rec.Setting, csvNumber(float64(rec.MPP))}
			for _, n := range []int{rec.H, rec.W, rec.Instances, rec.Prompts, rec.Points, rec.Kept} {
				row = append(row, strconv.Itoa(n))
			}
			for _, m := range metrics {
				row = append(row, csvNumber(m.Of(rec, e)))
			}
			for _, m := range metrics {
				if m.Oracle != nil {
					row = append(row, csvNumber(m.Oracle(rec, e)))
				}
			}
			if err := c.Write(row); err != nil {
				return fmt.Errorf("report: write csv: %w", err)
			}
		}
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("report: write csv: %w", err)
	}
	return nil
}

func csvNumber(v float64) string {
	switch {
	case math.IsNaN(v):
		return ""
	case math.IsInf(v, 1):
		return "inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func flush(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// WriteText writes the table for a terminal: per setting the score, below it
// the ceiling; the paper's rows first. Figures of the paper that are recalled
// and not checked have a question mark, those from a secondary source an
// asterisk.
func (t *Table) WriteText(w io.Writer) error {
	tw := table.NewWriter()
	tw.SetStyle(table.StyleLight)
	head := table.Row{"method", "prompts"}
	var right []table.ColumnConfig
	for i, c := range t.Columns {
		head = append(head, c)
		right = append(right, table.ColumnConfig{Number: i + 3, Align: tabletext.AlignRight, AlignHeader: tabletext.AlignRight})
	}
	tw.AppendHeader(head)
	tw.SetColumnConfigs(right)
	tw.Style().Format.Header = tabletext.FormatDefault
	if rows := t.paperRows(); rows != nil {
		for _, p := range rows {
			row := table.Row{"paper: " + p.Method, p.Prompts}
			for _, col := range t.Paper {
				row = append(row, shortPaper(p, col))
			}
			tw.AppendRow(row)
		}
		tw.AppendSeparator()
	}
	for _, r := range t.Rows {
		row, ceiling := table.Row{t.Model, r.Setting}, table.Row{"", "ceiling"}
		for _, c := range r.Cells {
			s := "-"
			if c.N > 0 {
				s = t.number(c.Mean)
				if !math.IsNaN(c.Low) {
					s += fmt.Sprintf(" [%s, %s]", t.number(c.Low), t.number(c.High))
				}
			}
			row, ceiling = append(row, s), append(ceiling, t.number(c.Ceiling.Mean))
		}
		tw.AppendRow(row)
		if t.Metric.Oracle != nil {
			tw.AppendRow(ceiling)
		}
	}
	s := tw.Render() + "\n"
	if t.paperRows() != nil {
		s += "? recalled, not checked   * from a secondary source\n"
	}
	for _, n := range t.Notes {
		s += n + "\n"
	}
	return flush(w, s)
}

func shortPaper(p PaperRow, column string) string {
	c, ok := p.Cells[column]
	switch {
	case !ok:
		return "-"
	case c.Status == Recalled:
		return fmt.Sprintf("%.2f ?", c.Dice)
	case c.Status == Secondary:
		return fmt.Sprintf("%.2f *", c.Dice)
	}
	return fmt.Sprintf("%.2f", c.Dice)
}
