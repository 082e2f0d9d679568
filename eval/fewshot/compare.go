package fewshot

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/slidesam/sam/eval"
)

// Options say what is measured.
type Options struct {
	Seed uint64 // of the prompts
	// Clicks, if above 0, also corrects objects with up to so many clicks, and
	// counts those to an IoU of [ClickTarget].
	Clicks int
	// ClickObjects is how many objects of each picture are corrected; 0: all.
	ClickObjects int
}

// ClickTarget is the IoU up to which clicks count.
const ClickTarget = 0.90

// Scores are what one model gave on a set: one column for a point each, one
// for a box each and perhaps one for clicks.
type Scores struct {
	Data    string
	Plan    eval.Plan
	Columns []Column
}

// Column is what one kind of prompt gave.
type Column struct {
	Prompt string
	Clicks bool    // values are numbers of clicks, the fewer the better; otherwise IoU
	Dice   float64 // of the masks' union on all pictures; NaN for clicks
	// Values are those of the objects; Groups are their pictures.
	Values []float64
	Groups []string
}

// Mean is the mean over all objects, NaN without any.
func (c Column) Mean() float64 {
	var sum float64
	for _, v := range c.Values {
		sum += v
	}
	return sum / float64(len(c.Values))
}

// settings are a point and a box for each object.
func settings() []eval.Setting {
	all := eval.PaperSettings(false, 2)
	return all[len(all)-2:]
}

// Measure asks a model for each object of a set with a point and with a box,
// and corrects some if the options say so.
func Measure(ctx context.Context, m eval.Model, d *Set, o Options) (*Scores, error) {
	r, err := eval.Run(ctx, m, d, eval.Options{Settings: settings(), Seed: o.Seed})
	if err != nil {
		return nil, err
	}
	out := &Scores{Data: d.Title, Plan: r.Plan}
	for _, s := range settings() {
		records := r.Select("", s.Name)
		c := Column{Prompt: s.Name, Dice: eval.Pool(records).Pixels.Dice(eval.EmptyNaN)}
		for _, rec := range records {
			for _, p := range rec.Predicted {
				c.Values, c.Groups = append(c.Values, float64(p.IoU)), append(c.Groups, rec.ID)
			}
		}
		out.Columns = append(out.Columns, c)
	}
	if o.Clicks <= 0 {
		return out, nil
	}
	some := d
	if o.ClickObjects > 0 {
		some = d.Some(o.ClickObjects, o.Seed)
	}
	s := eval.Setting{Name: "clicks", Prompting: eval.PromptClicks, Clicks: o.Clicks}
	if r, err = eval.Run(ctx, m, some, eval.Options{Settings: []eval.Setting{s}, Seed: o.Seed}); err != nil {
		return nil, err
	}
	c := Column{Prompt: fmt.Sprintf("clicks to %.2f, at most %d", ClickTarget, o.Clicks), Clicks: true, Dice: math.NaN()}
	for _, rec := range r.Records {
		for _, course := range rec.Clicks {
			var ious []float64
			for _, v := range course.IoU {
				ious = append(ious, float64(v))
			}
			n, _ := eval.Clicks{IoU: ious}.Needed(ClickTarget, o.Clicks)
			c.Values, c.Groups = append(c.Values, float64(n)), append(c.Groups, rec.ID)
		}
	}
	out.Columns = append(out.Columns, c)
	return out, nil
}

// Change compares two models with one kind of prompt on one set.
type Change struct {
	Data, Prompt          string
	Clicks                bool
	DiceBefore, DiceAfter float64      // NaN for clicks
	Before, After, Gain   eval.Summary // of the objects
}

// Compare returns the changes from one model's scores to another's on the same
// set with the same options. Intervals resample whole pictures or, where there
// is one picture, objects.
func Compare(before, after *Scores, seed uint64) ([]Change, error) {
	if len(before.Columns) != len(after.Columns) {
		return nil, fmt.Errorf("fewshot: compare: %d and %d kinds of prompts", len(before.Columns), len(after.Columns))
	}
	var out []Change
	for k, a := range before.Columns {
		b := after.Columns[k]
		if a.Prompt != b.Prompt || len(a.Values) != len(b.Values) {
			return nil, fmt.Errorf("fewshot: compare: %d objects with %s, %d with %s", len(a.Values), a.Prompt, len(b.Values), b.Prompt)
		}
		c := Change{Data: before.Data, Prompt: a.Prompt, Clicks: a.Clicks, DiceBefore: a.Dice, DiceAfter: b.Dice}
		gain := make([]float64, len(a.Values))
		for i := range gain {
			gain[i] = b.Values[i] - a.Values[i]
		}
		groups := a.Groups
		if len(slices.Compact(slices.Clone(groups))) < 2 {
			groups = nil
		}
		for _, x := range []struct {
			to     *eval.Summary
			values []float64
		}{{&c.Before, a.Values}, {&c.After, b.Values}, {&c.Gain, gain}} {
			var err error
			if *x.to, err = eval.Summarise(x.values, groups, eval.Bootstrap{Seed: seed}); err != nil {
				return nil, fmt.Errorf("fewshot: compare: %w", err)
			}
		}
		out = append(out, c)
	}
	return out, nil
}
