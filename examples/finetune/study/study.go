package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"text/tabwriter"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/fewshot"
	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/weights"
)

// study is a study on its way.
type study struct {
	*config
	from  *weights.Checkpoint
	model *sam.Model
	all   *fewshot.Set // pictures
	old   *fewshot.Set // what must not be forgotten
	done  file
	log   io.Writer
}

// record is what one model gave with one picture left out.
type record struct {
	Left  string // the picture
	Train int    // pictures that it learned from; 0: none, the model as it was
	Seed  uint64
	From  []string `json:",omitempty"` // the pictures
	// Unchanged says that on the objects held back nothing measured better than
	// the model as it was, so that it stayed.
	Unchanged bool `json:",omitempty"`
	Figures   []figure
}

// figure is one number of a record.
type figure struct {
	Data, Prompt, What string
	Value              float64
}

// find returns a record that is done, or nil.
func (s *study) find(left string, train int, seed uint64) *record {
	i := slices.IndexFunc(s.done.Records, func(r record) bool { return r.Left == left && r.Train == train && r.Seed == seed })
	if i < 0 {
		return nil
	}
	return &s.done.Records[i]
}

// keep adds a record to the file.
func (s *study) keep(r record) error {
	s.done.Records = append(s.done.Records, r)
	return atomicfile.Write(s.file, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(s.done)
	})
}

// run does what is not done. Seeds come first, so that a study that is stopped
// has something of everything.
func (s *study) run(ctx context.Context) error {
	for seed := range uint64(s.seeds) {
		for i, p := range s.all.Pictures {
			for _, n := range append([]int{0}, s.train...) {
				if n == 0 && seed > 0 || s.find(p.ID, n, seed) != nil {
					continue
				}
				r, err := s.one(ctx, i, n, seed)
				if err != nil {
					return fmt.Errorf("%s left out, %d to learn from, seed %d: %w", p.ID, n, seed, err)
				}
				if err := s.keep(*r); err != nil {
					return err
				}
				fmt.Fprintf(s.log, "%s left out, %d to learn from, seed %d: done\n", p.ID, n, seed)
			}
		}
	}
	return nil
}

// one trains a model on n pictures other than picture i, and measures it.
func (s *study) one(ctx context.Context, i, n int, seed uint64) (*record, error) {
	left := s.all.Pictures[i]
	r := &record{Left: left.ID, Train: n, Seed: seed}
	model := s.model
	if n > 0 {
		learn := &fewshot.Set{Title: "learned"}
		order := rand.New(rand.NewPCG(seed, uint64(i))).Perm(len(s.all.Pictures) - 1)
		for _, k := range order[:n] {
			if k >= i {
				k++
			}
			p := s.all.Pictures[k]
			learn.Pictures, r.From = append(learn.Pictures, p), append(r.From, p.ID)
		}
		fields, err := learn.Fields()
		if err != nil {
			return nil, err
		}
		o := s.o
		o.Seed = seed
		tuned, err := sam.FineTune(ctx, s.from, fields, o)
		if err != nil {
			return nil, err
		}
		if model, err = tuned.Model(); err != nil {
			return nil, err
		}
		r.Unchanged = model.Fingerprint() == s.model.Fingerprint()
	}
	test := &fewshot.Set{Title: "left out", Pictures: []*eval.Picture{left}}
	if s.measure > 0 {
		test = test.Some(s.measure, s.m.Seed)
	}
	for _, d := range []*fewshot.Set{test, s.old} {
		if len(d.Pictures) == 0 {
			continue
		}
		m, err := fewshot.Measure(ctx, model, d, s.m)
		if err != nil {
			return nil, err
		}
		for _, c := range m.Columns {
			if c.Clicks {
				r.Figures = append(r.Figures, figure{d.Title, c.Prompt, "clicks", c.Mean()})
				continue
			}
			r.Figures = append(r.Figures, figure{d.Title, c.Prompt, "union Dice", c.Dice}, figure{d.Title, c.Prompt, "IoU", c.Mean()})
		}
	}
	return r, nil
}

// table writes, for each number of pictures to learn from, each figure before
// and after as means, and the mean gain with its interval. The interval
// resamples the pictures left out, with all their seeds.
func (s *study) table(out io.Writer) error {
	fmt.Fprintf(out, "%s\n%d pictures, %d seeds\n\n", s.done.Same, len(s.all.Pictures), s.seeds)
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| learned from\t| measured on\t| prompt\t| figure\t| before\t| after\t| gain, 95 % interval\t| unchanged\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, n := range s.train {
		before := s.find(s.all.Pictures[0].ID, 0, 0)
		for k, f := range before.Figures {
			var was, is, gain []float64
			var groups []string
			unchanged := 0
			for _, r := range s.done.Records {
				if r.Train != n || r.Seed >= uint64(s.seeds) {
					continue
				}
				a, b := s.find(r.Left, 0, 0).Figures[k].Value, r.Figures[k].Value
				was, is, gain, groups = append(was, a), append(is, b), append(gain, b-a), append(groups, r.Left)
				if r.Unchanged {
					unchanged++
				}
			}
			var sum [3]eval.Summary
			for i, v := range [][]float64{was, is, gain} {
				var err error
				if sum[i], err = eval.Summarise(v, groups, eval.Bootstrap{Seed: s.m.Seed}); err != nil {
					return err
				}
			}
			fmt.Fprintf(w, "| %d\t| %s\t| %s\t| %s\t| %.3f\t| %.3f\t| %s\t| %d of %d\t|\n", n, f.Data, f.Prompt, f.What, sum[0].Mean, sum[1].Mean, fewshot.Interval(sum[2]), unchanged, len(gain))
		}
	}
	return w.Flush()
}
