package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/slidesam/sam/eval"
)

// Options chooses what a table shows. The zero value is the paper's: Dice,
// mean over pictures, 2,000 resamples, pictures without truth and prediction
// left out.
type Options struct {
	Metric    string // "" is dice
	Empty     eval.Empty
	Bootstrap eval.Bootstrap
	// Model names the method in the table; "" is "this model".
	Model string
	// Progress, if set, is told after each picture of the gallery. It is called by
	// one goroutine at a time.
	Progress func(done, total int)
	// Column maps a task to a column of PaperTable; nil is PaperColumn.
	Column func(task string) string
}

// Cell is what one setting gave on one task.
type Cell struct {
	eval.Summary
	Pooled  float64      // over all pictures together; NaN if the metric has no counts
	Ceiling eval.Summary // what the setting could give at most
	Prompts float64      // mean per picture
}

// Row is one setting.
type Row struct {
	Setting string
	Cells   []Cell // in the order of the columns; N is 0 where it was not run
}

// Comparison is a paired test of two settings on one task.
type Comparison struct {
	Task, A, B string
	Difference float64 // mean of A less mean of B, over pictures where both are defined
	eval.TestResult
	Adjusted float64 // p after Holm, over all comparisons of the table
}

// Table is the paper's table, filled with an experiment's results.
type Table struct {
	Metric      eval.Metric
	Empty       eval.Empty
	Model       string
	Columns     []string // tasks
	Paper       []string // for each, the paper's column or ""
	Rows        []Row
	Comparisons []Comparison
	Notes       []string // on what the numbers rest

	progress func(done, total int) // of the gallery
}

// NewTable puts the results of one or several data sets into one table.
func NewTable(results []*eval.Results, o Options) (*Table, error) {
	if o.Metric == "" {
		o.Metric = "dice"
	}
	m, err := eval.MetricNamed(o.Metric)
	if err != nil {
		return nil, err
	}
	if o.Column == nil {
		o.Column = PaperColumn
	}
	t := &Table{Metric: m, Empty: o.Empty, Model: o.Model, progress: o.Progress}
	if t.Model == "" {
		t.Model = "this model"
	}
	records := map[string]map[string][]eval.Record{} // task, setting
	var settings []string
	for _, r := range results {
		for _, task := range r.Tasks() {
			if slices.Contains(t.Columns, task) {
				return nil, fmt.Errorf("report: new table: task %s is in two results", task)
			}
			t.Columns = append(t.Columns, task)
			t.Paper = append(t.Paper, o.Column(task))
			records[task] = map[string][]eval.Record{}
			for _, s := range r.Plan.Settings {
				records[task][s.Name] = r.Select(task, s.Name)
			}
		}
		for _, s := range r.Plan.Settings {
			if !slices.Contains(settings, s.Name) {
				settings = append(settings, s.Name)
			}
		}
	}
	for _, s := range settings {
		row := Row{Setting: s}
		for _, task := range t.Columns {
			c, err := newCell(records[task][s], m, o)
			if err != nil {
				return nil, fmt.Errorf("report: new table: %s, %s: %w", task, s, err)
			}
			row.Cells = append(row.Cells, c)
		}
		t.Rows = append(t.Rows, row)
	}
	if err := t.compare(records, settings); err != nil {
		return nil, fmt.Errorf("report: new table: %w", err)
	}
	t.note(results)
	return t, nil
}

func newCell(records []eval.Record, m eval.Metric, o Options) (Cell, error) {
	c := Cell{Pooled: math.NaN()}
	values, groups := eval.Scores(records, m.Of, o.Empty)
	var err error
	if c.Summary, err = eval.Summarise(values, groups, o.Bootstrap); err != nil {
		return c, err
	}
	c.Pooled = m.Of(eval.Pool(records), o.Empty)
	if m.Oracle != nil {
		values, groups = eval.Scores(records, m.Oracle, o.Empty)
	} else {
		values, groups = nil, nil
	}
	if c.Ceiling, err = eval.Summarise(values, groups, o.Bootstrap); err != nil {
		return c, err
	}
	for _, r := range records {
		c.Prompts += float64(r.Prompts) / float64(len(records))
	}
	return c, nil
}

// compare tests each pair of settings on each task.
func (t *Table) compare(records map[string]map[string][]eval.Record, settings []string) error {
	var p []float64
	for _, task := range t.Columns {
		for i, a := range settings {
			for _, b := range settings[i+1:] {
				ra, rb := records[task][a], records[task][b]
				if len(ra) == 0 || len(ra) != len(rb) {
					continue
				}
				va, _ := eval.Scores(ra, t.Metric.Of, t.Empty)
				vb, _ := eval.Scores(rb, t.Metric.Of, t.Empty)
				w, err := eval.Wilcoxon(va, vb)
				if err != nil {
					return err
				}
				sum, n := 0.0, 0
				for k := range va {
					if d := va[k] - vb[k]; !math.IsNaN(d) {
						sum += d
						n++
					}
				}
				t.Comparisons = append(t.Comparisons, Comparison{Task: task, A: a, B: b, Difference: sum / float64(n), TestResult: w})
				p = append(p, w.P)
			}
		}
	}
	for i, v := range eval.Holm(p) {
		t.Comparisons[i].Adjusted = v
	}
	return nil
}

func (t *Table) note(results []*eval.Results) {
	t.Notes = append(t.Notes,
		fmt.Sprintf("%s, mean over pictures, with the 95 %% bootstrap interval over patients (over pictures where no patient is named); pictures where it is undefined (neither truth nor prediction): policy %s.", t.Metric.Name, t.Empty),
		"Ceiling: the score of a model that finds every instance pointed at, whole, and nothing else. A score above it comes from masks that leak over objects that were not pointed at.",
		"Paper: arXiv 2304.04155, table 1, Dice in per cent. No cell could be read in the paper itself: secondary means read in a page about it, recalled means from memory and not checked.")
	for _, r := range results {
		how := "one mask per prompt, then their union"
		joint := 0
		for _, s := range r.Plan.Settings {
			if s.Joint {
				joint++
			}
		}
		if joint > 0 {
			how = fmt.Sprintf("%d of %d settings put all points as one prompt, the others one mask per prompt, then their union", joint, len(r.Plan.Settings))
		}
		choice := string(r.Plan.Choice)
		if r.Plan.Local {
			choice += ", of each what its prompt is on"
		}
		t.Notes = append(t.Notes, fmt.Sprintf("%s: %d pictures, model %s, seed %d, masks chosen: %s; %s.",
			r.Plan.Dataset, len(r.Plan.Items), r.Plan.Model, r.Plan.Seed, choice, how))
		t.noteClicks(r)
		t.noteLeaks(r)
	}
}

// Masks of a picture leak if together they cover nearly all that is to be found
// and as much again besides.
const (
	leakRecall    = 0.9
	leakPrecision = 0.5
)

// noteLeaks warns of pictures that masks have leaked over: masks are put
// together, so that one that is too large decides the score whatever the others
// are.
func (t *Table) noteLeaks(r *eval.Results) {
	for _, s := range r.Plan.Settings {
		for _, task := range r.Tasks() {
			n, all := 0, 0
			for _, rec := range r.Select(task, s.Name) {
				all++
				if rec.Prompts > 1 && rec.Pixels.Recall(eval.EmptyNaN) >= leakRecall && rec.Pixels.Precision(eval.EmptyNaN) < leakPrecision {
					n++
				}
			}
			if n > 0 {
				t.Notes = append(t.Notes, fmt.Sprintf("Warning: %s, %s: on %d of %d pictures masks leak (precision below %g at a recall of %g and more). One mask that is too large is enough, since all of a picture are put together: look at the worst pictures of the gallery, and at the scores with masks held to their prompts (local).", task, s.Name, n, all, leakPrecision, leakRecall))
			}
		}
	}
}

// noteClicks tells how many clicks it took to reach an IoU.
func (t *Table) noteClicks(r *eval.Results) {
	for _, s := range r.Plan.Settings {
		if s.Prompting != eval.PromptClicks {
			continue
		}
		for _, task := range r.Tasks() {
			var cs []eval.Clicks
			for _, rec := range r.Select(task, s.Name) {
				for _, c := range rec.Clicks {
					v := make([]float64, len(c.IoU))
					for i, x := range c.IoU {
						v[i] = float64(x)
					}
					cs = append(cs, eval.Clicks{IoU: v})
				}
			}
			text := fmt.Sprintf("%s, %s: %d objects, mean number of clicks", task, s.Name, len(cs))
			for _, target := range []float64{0.8, 0.85, 0.9} {
				noc, err := eval.NumberOfClicks(cs, target, s.Clicks)
				if err != nil || noc.N == 0 {
					return
				}
				text += fmt.Sprintf(" to IoU %.2f: %.2f (%d never in %d);", target, noc.Mean, noc.Failed, s.Clicks)
			}
			t.Notes = append(t.Notes, text[:len(text)-1]+".")
		}
	}
}

// percent says whether the metric is printed in per cent.
func (t *Table) percent() bool { return t.Metric.Unit }

func (t *Table) number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case math.IsInf(v, 0):
		return "inf"
	case t.percent():
		return fmt.Sprintf("%.2f", 100*v)
	}
	return fmt.Sprintf("%.3g", v)
}
