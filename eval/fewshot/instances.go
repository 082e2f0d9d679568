package fewshot

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/report"
)

// leastObject is the number of pixels below which a true object is no object:
// that below which [sam.InstanceModel.FineTune] teaches it as background.
const leastObject = 25

// Found is what an instance model found on the pictures of a set.
type Found struct {
	Data     string
	Pictures []string // their names
	Counts   []eval.Counts
	Labels   []eval.Labels // what was found
}

// Pooled are the counts of all pictures together.
func (f *Found) Pooled() (c eval.Counts) {
	for _, x := range f.Counts {
		c = c.Add(x)
	}
	return c
}

// Find looks for all objects of a set's pictures without a prompt, as the model
// is used, and matches them with the true ones at an IoU above 0.5. Where a
// picture says what is Known, found objects that lie elsewhere by more than half
// do not count.
func Find(ctx context.Context, m *sam.InstanceModel, d *Set) (*Found, error) {
	out := &Found{Data: d.Title}
	for _, p := range d.Pictures {
		regions, err := m.Segment(ctx, p.Image, sam.InstanceOptions{})
		if err != nil {
			return nil, fmt.Errorf("fewshot: find: %s: %w", p.ID, err)
		}
		found := eval.NewLabels(sam.Size{H: p.Truth.H, W: p.Truth.W})
		for i, r := range regions {
			if p.Known != nil && 2*p.Known.Intersection(r.Mask) < r.Mask.Area() {
				continue
			}
			for run := range r.Mask.Runs() {
				for x := run.X0; x < run.X1; x++ {
					found.Pix[run.Y*p.Truth.W+x] = int32(i + 1)
				}
			}
		}
		o, err := eval.NewOverlap(atLeast(p.Truth, leastObject), found)
		if err != nil {
			return nil, fmt.Errorf("fewshot: find: %s: %w", p.ID, err)
		}
		out.Pictures, out.Counts, out.Labels = append(out.Pictures, p.ID), append(out.Counts, o.Panoptic(0.5)), append(out.Labels, found)
	}
	return out, nil
}

// FoundChange compares two instance models on one set: the objects of all
// pictures together, and the mean over the pictures of the gain in PQ.
type FoundChange struct {
	Data          string
	Pictures      int
	Before, After eval.Counts
	Gain          eval.Summary
}

// CompareFound returns the change from one model to another on the same set. Its
// interval resamples pictures.
func CompareFound(before, after *Found, seed uint64) (c FoundChange, err error) {
	c = FoundChange{Data: before.Data, Pictures: len(before.Counts), Before: before.Pooled(), After: after.Pooled()}
	if len(before.Counts) != len(after.Counts) {
		return c, fmt.Errorf("fewshot: compare: %d and %d pictures", len(before.Counts), len(after.Counts))
	}
	var gain []float64
	for i := range before.Counts {
		gain = append(gain, after.Counts[i].PQ(eval.EmptyOne)-before.Counts[i].PQ(eval.EmptyOne))
	}
	if c.Gain, err = eval.Summarise(gain, nil, eval.Bootstrap{Seed: seed}); err != nil {
		return c, fmt.Errorf("fewshot: compare: %w", err)
	}
	return c, nil
}

// Row are a change's figures: objects, then F1 and PQ before and after, and the
// gain.
func (c FoundChange) Row() []string {
	f := func(v float64) string { return fmt.Sprintf("%.3f", v) }
	one := eval.EmptyOne
	return []string{
		fmt.Sprint(c.Pictures), fmt.Sprint(c.Before.TP + c.Before.FN), f(c.Before.F1(one)), f(c.After.F1(one)), f(c.Before.PQ(one)), f(c.After.PQ(one)), Interval(c.Gain),
	}
}

// WriteFound writes changes as a table of text.
func WriteFound(w io.Writer, changes []FoundChange) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\tpictures\tobjects\tF1 at IoU 0.5\t\tPQ\t\tgain in PQ\t")
	fmt.Fprintln(tw, "data\t\t\tbefore\tafter\tbefore\tafter\tof a picture, 95 %\t")
	for _, c := range changes {
		fmt.Fprint(tw, c.Data, "\t")
		for _, v := range c.Row() {
			fmt.Fprint(tw, v, "\t")
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// FoundGallery draws the first pictures of a set with what two models found.
func FoundGallery(d *Set, before, after *Found, n int) ([]Show, error) {
	var shows []Show
	for i, p := range d.Pictures[:min(n, len(d.Pictures))] {
		s := Show{Title: p.ID}
		var err error
		if s.Before, err = report.DrawOverlay(&eval.Overlay{Picture: p, Pred: before.Labels[i]}); err == nil {
			s.After, err = report.DrawOverlay(&eval.Overlay{Picture: p, Pred: after.Labels[i]})
		}
		if err != nil {
			return nil, fmt.Errorf("fewshot: gallery: %w", err)
		}
		shows = append(shows, s)
	}
	return shows, nil
}
