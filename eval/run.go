package eval

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Run shows every picture of a data set to a model, in every scale, with the
// prompts of every setting, and measures the answers. A picture is embedded
// once per scale, whatever the number of settings.
//
// What is drawn at random depends on the seed and on names only, so that the
// results are the same, byte for byte, whatever the number of workers, and
// however often the run was stopped and started again with the same Dir.
//
// Run stops soon after ctx is done and returns its error; pictures that are
// done stay in Dir. They are known by their content, see [Picture.Digest]: one
// whose pixels or truth have changed since is measured anew. The error wraps
// ErrOtherPlan if Dir holds the results of other options, another model or
// other names.
func Run(ctx context.Context, m Model, d Dataset, o Options) (*Results, error) {
	plan, err := newPlan(m, d, o)
	if err != nil {
		return nil, err
	}
	store, err := openStore(o.Dir, plan)
	if err != nil {
		return nil, fmt.Errorf("eval: run on %s: %w", plan.Dataset, err)
	}
	var (
		out  = make([][]Record, len(plan.Items))
		mu   sync.Mutex
		done int
	)
	report := func(i int, records []Record, resumed bool) {
		mu.Lock()
		defer mu.Unlock()
		out[i] = records
		done++
		if o.Progress != nil {
			o.Progress(Progress{Done: done, Total: len(out), Item: plan.Items[i], Resumed: resumed})
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, o.Workers))
	for i := range plan.Items {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			p, err := d.Load(ctx, i)
			if err != nil {
				return err
			}
			if err := p.Check(); err != nil {
				return err
			}
			p.Item = plan.Items[i]
			digest := ""
			if o.Dir != "" {
				if digest, err = p.Digest(); err != nil {
					return err
				}
			}
			records, err := store.load(i, digest)
			if err != nil || records != nil {
				if err == nil {
					report(i, records, true)
				}
				return err
			}
			if records, err = runPicture(ctx, m, p, plan, o.Embeddings); err != nil {
				return fmt.Errorf("picture %s: %w", p.ID, err)
			}
			if err := store.save(i, digest, records); err != nil {
				return err
			}
			report(i, records, false)
			return nil
		})
	}
	err = g.Wait()
	if err == nil {
		err = context.Cause(ctx) // nothing failed, yet not all were begun
		if done == len(out) {
			err = nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("eval: run on %s: %w", plan.Dataset, err)
	}
	r := &Results{Plan: plan}
	for _, records := range out {
		r.Records = append(r.Records, records...)
	}
	return r, nil
}

func runPicture(ctx context.Context, m Model, p *Picture, plan Plan, embeddings string) ([]Record, error) {
	var out []Record
	scales := plan.MPP
	if len(scales) == 0 {
		scales = []Number{Number(p.MPP)}
	}
	for _, mpp := range scales {
		shown := p
		if len(plan.MPP) > 0 {
			var err error
			if shown, err = p.shownAt(float64(mpp)); err != nil {
				return nil, err
			}
		}
		t, err := newTrial(ctx, m, shown, plan, embeddings)
		if err != nil {
			return nil, err
		}
		for _, s := range plan.Settings {
			r, _, err := t.run(ctx, s)
			if err != nil {
				return nil, fmt.Errorf("setting %s: %w", s.Name, err)
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// shownAt is Rescale, and the scale's own name even if no pixel changes.
func (p *Picture) shownAt(mpp float64) (*Picture, error) {
	q, err := p.Rescale(mpp)
	if err != nil {
		return nil, err
	}
	if q == p {
		c := *p
		c.MPP = mpp
		q = &c
	}
	return q, nil
}
