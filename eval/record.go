package eval

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// Record is what one setting gave on one picture at one scale: counts, so that
// scores can be pooled over pictures or averaged, and the few scores that have
// no counts.
type Record struct {
	Item
	Setting   string
	MPP       Number // of the picture as it was shown to the model, 0 if not known
	H, W      int
	Instances int // of the truth
	Prompts   int // put to the model
	Points    int // in all prompts, those of correction clicks too
	Kept      int // masks that make up the prediction

	Pixels   PixelCounts // union of the masks against the foreground
	Counts   Counts      // instances, IoU above 0.5
	Matches  Segmentation
	AJI      Aggregated
	AJIPlus  Aggregated
	Dice2    Aggregated
	Object   Number // object Dice
	Detected Counts // centroids within 3 micrometres, or 12 pixels
	Boundary BoundaryCounts
	HD95     Number // MONAI's; in micrometres if MPP is known, else in pixels
	ASSD     Number
	NSD      Number

	// The ceiling: what a model would score that finds every instance that was
	// pointed at, whole, and nothing else.
	OraclePixels PixelCounts
	OracleCounts Counts
	OracleAJI    Aggregated

	Predicted []Reliability // one for each prompt's chosen mask
	Clicks    []Course      // one for each object that was corrected
}

// Reliability is a mask's IoU as the model guessed it and as it was.
type Reliability struct{ IoUPred, IoU Number }

// Course is the IoU after each click.
type Course struct{ IoU []Number }

// Metric is a score of a record.
type Metric struct {
	Name   string
	Better int  // +1 if more is better, -1 if less
	Unit   bool // whether it is a part of 1, and printed in per cent
	Of     func(Record, Empty) float64
	// Oracle is the ceiling, nil if it is not recorded.
	Oracle func(Record, Empty) float64
}

// Metrics returns all scores that a record holds, in the order of the columns
// of a CSV file.
func Metrics() []Metric {
	score := func(name string, of, oracle func(Record, Empty) float64) Metric {
		return Metric{Name: name, Better: 1, Unit: true, Of: of, Oracle: oracle}
	}
	pixels := func(f func(PixelCounts, Empty) float64) (a, b func(Record, Empty) float64) {
		return func(r Record, e Empty) float64 { return f(r.Pixels, e) }, func(r Record, e Empty) float64 { return f(r.OraclePixels, e) }
	}
	counts := func(f func(Counts, Empty) float64) (a, b func(Record, Empty) float64) {
		return func(r Record, e Empty) float64 { return f(r.Counts, e) }, func(r Record, e Empty) float64 { return f(r.OracleCounts, e) }
	}
	of := func(name string, a, b func(Record, Empty) float64) Metric { return score(name, a, b) }
	var out []Metric
	for _, m := range []struct {
		name string
		f    func(PixelCounts, Empty) float64
	}{
		{"dice", PixelCounts.Dice}, {"iou", PixelCounts.IoU}, {"precision", PixelCounts.Precision},
		{"recall", PixelCounts.Recall}, {"specificity", PixelCounts.Specificity},
	} {
		a, b := pixels(m.f)
		out = append(out, of(m.name, a, b))
	}
	for _, m := range []struct {
		name string
		f    func(Counts, Empty) float64
	}{{"dq", Counts.DQ}, {"sq", Counts.SQ}, {"pq", Counts.PQ}} {
		a, b := counts(m.f)
		out = append(out, of(m.name, a, b))
	}
	out = append(out,
		score("aji", func(r Record, e Empty) float64 { return r.AJI.Ratio(e) }, func(r Record, e Empty) float64 { return r.OracleAJI.Ratio(e) }),
		score("aji+", func(r Record, e Empty) float64 { return r.AJIPlus.Ratio(e) }, nil),
		score("dice2", func(r Record, e Empty) float64 {
			if r.Dice2.Total == 0 && r.Counts.TP+r.Counts.FP+r.Counts.FN > 0 {
				return 0
			}
			return r.Dice2.Ratio(e)
		}, nil),
		score("object dice", func(r Record, e Empty) float64 {
			if r.Counts.TP+r.Counts.FP+r.Counts.FN == 0 {
				return e.Ratio(0, 0)
			}
			return float64(r.Object)
		}, nil),
		score("f1", func(r Record, e Empty) float64 { return r.Matches[0].F1(e) }, nil),
		score("sa50", func(r Record, e Empty) float64 { return r.Matches[0].AP(e) }, nil),
		score("sa75", func(r Record, e Empty) float64 { return r.Matches[5].AP(e) }, nil),
		score("msa", func(r Record, e Empty) float64 { return r.Matches.MSA(e) }, nil),
		score("detection f1", func(r Record, e Empty) float64 { return r.Detected.F1(e) }, nil),
		score("boundary f", func(r Record, e Empty) float64 { return r.Boundary.F(e) }, nil),
		score("nsd", func(r Record, e Empty) float64 { return r.orEmpty(float64(r.NSD), e, e.Ratio(0, 0)) }, nil),
		Metric{Name: "hd95", Better: -1, Of: func(r Record, e Empty) float64 { return r.orEmpty(float64(r.HD95), e, e.distance()) }},
		Metric{Name: "assd", Better: -1, Of: func(r Record, e Empty) float64 { return r.orEmpty(float64(r.ASSD), e, e.distance()) }},
	)
	return out
}

func (r Record) orEmpty(v float64, _ Empty, empty float64) float64 {
	if r.Pixels.TP+r.Pixels.FP+r.Pixels.FN == 0 {
		return empty
	}
	return v
}

// MetricNamed returns the metric of a name, and an error that lists all names
// if there is none.
func MetricNamed(name string) (Metric, error) {
	all := Metrics()
	i := slices.IndexFunc(all, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		var names []string
		for _, m := range all {
			names = append(names, m.Name)
		}
		return Metric{}, fmt.Errorf("eval: metric %q is not known, want one of %q", name, names)
	}
	return all[i], nil
}

// Results are the records of one data set.
type Results struct {
	Plan    Plan
	Records []Record // by picture in the data set's order, then scale, then setting
}

// Tasks returns the tasks that occur, in the order of the data set. A record
// without a task belongs to the data set's name.
func (r *Results) Tasks() []string {
	var out []string
	for _, rec := range r.Records {
		if t := r.TaskOf(rec); !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// TaskOf returns the table column of a record: its task, or else the data
// set's name, and the magnification where the scale is known.
func (r *Results) TaskOf(rec Record) string {
	t := rec.Task
	if t == "" {
		t = r.Plan.Dataset
	}
	if rec.MPP > 0 {
		t += fmt.Sprintf(" %.3gx", 10/float64(rec.MPP))
	}
	return t
}

// Select returns the records of a task (as TaskOf names it) and a setting;
// "" selects all.
func (r *Results) Select(task, setting string) []Record {
	var out []Record
	for _, rec := range r.Records {
		if (task == "" || r.TaskOf(rec) == task) && (setting == "" || rec.Setting == setting) {
			out = append(out, rec)
		}
	}
	return out
}

// Scores returns a metric of each record and the group of each, for Summarise.
func Scores(records []Record, f func(Record, Empty) float64, e Empty) (values []float64, groups []string) {
	for _, r := range records {
		g := r.Group
		if g == "" {
			g = r.ID
		}
		values, groups = append(values, f(r, e)), append(groups, g)
	}
	return values, groups
}

// Pool adds the counts of records up, for scores over all pictures together.
// Scores without counts (Object, HD95, ASSD, NSD) are NaN.
func Pool(records []Record) Record {
	nan := Number(EmptyNaN.Ratio(0, 0))
	out := Record{Object: nan, HD95: nan, ASSD: nan, NSD: nan}
	for _, r := range records {
		out.Setting, out.MPP, out.Task = r.Setting, r.MPP, r.Task
		out.Instances += r.Instances
		out.Prompts += r.Prompts
		out.Points += r.Points
		out.Kept += r.Kept
		out.Pixels = out.Pixels.Add(r.Pixels)
		out.Counts = out.Counts.Add(r.Counts)
		out.Matches = out.Matches.Add(r.Matches)
		out.AJI, out.AJIPlus, out.Dice2 = out.AJI.Add(r.AJI), out.AJIPlus.Add(r.AJIPlus), out.Dice2.Add(r.Dice2)
		out.Detected = out.Detected.Add(r.Detected)
		out.Boundary = out.Boundary.Add(r.Boundary)
		out.OraclePixels = out.OraclePixels.Add(r.OraclePixels)
		out.OracleCounts = out.OracleCounts.Add(r.OracleCounts)
		out.OracleAJI = out.OracleAJI.Add(r.OracleAJI)
		out.Predicted = append(out.Predicted, r.Predicted...)
		out.Clicks = append(out.Clicks, r.Clicks...)
	}
	return out
}

// WriteJSON writes the results as one JSON document, byte for byte the same
// for the same plan.
func (r *Results) WriteJSON(w io.Writer) error {
	b, err := encode(r)
	if err != nil {
		return fmt.Errorf("eval: write results: %w", err)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("eval: write results: %w", err)
	}
	return nil
}

// ReadResults reads what WriteJSON wrote.
func ReadResults(r io.Reader) (*Results, error) {
	var out Results
	if err := json.NewDecoder(r).Decode(&out); err != nil {
		return nil, fmt.Errorf("eval: read results: %w", err)
	}
	if out.Plan.Version != planVersion {
		return nil, fmt.Errorf("eval: read results: version %d, want %d", out.Plan.Version, planVersion)
	}
	return &out, nil
}
