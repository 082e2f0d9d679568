package eval

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/slidesam/sam/internal/atomicfile"
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
// done stay in Dir. The error wraps ErrOtherPlan if Dir holds the results of
// other options, another model or other data.
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
			records, err := store.load(i)
			if err != nil || records != nil {
				if err == nil {
					report(i, records, true)
				}
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
			if records, err = runPicture(ctx, m, p, plan, o.Embeddings); err != nil {
				return fmt.Errorf("picture %s: %w", p.ID, err)
			}
			if err := store.save(i, records); err != nil {
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

// store keeps the records of pictures that are done.
type store struct {
	dir  string
	plan Plan
}

func openStore(dir string, plan Plan) (*store, error) {
	s := &store{dir: dir, plan: plan}
	if dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "pictures"), 0o777); err != nil {
		return nil, err
	}
	want, err := encode(plan)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "plan.json")
	have, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, write(path, want)
	case err != nil:
		return nil, err
	case !bytes.Equal(have, want):
		return nil, fmt.Errorf("%w: %s differs; choose another folder or remove this one", ErrOtherPlan, path)
	}
	// what a kill left half written
	left, err := filepath.Glob(filepath.Join(dir, "pictures", ".*.tmp"))
	if err != nil {
		return nil, err
	}
	for _, f := range left {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return s, nil
}

// path names a picture's file by a hash, since names may hold slashes.
func (s *store) path(i int) string {
	h := sha256.Sum256([]byte(s.plan.Items[i].ID))
	return filepath.Join(s.dir, "pictures", fmt.Sprintf("%05d-%s.json", i, hex.EncodeToString(h[:6])))
}

// load returns a picture's records, nil if there are none yet.
func (s *store) load(i int) ([]Record, error) {
	if s.dir == "" {
		return nil, nil
	}
	b, err := os.ReadFile(s.path(i))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Record
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to measure the picture again", s.path(i), err)
	}
	if want := len(s.plan.Settings) * max(1, len(s.plan.MPP)); len(out) != want {
		return nil, fmt.Errorf("%s: %d records, want %d; remove it to measure the picture again", s.path(i), len(out), want)
	}
	return out, nil
}

func (s *store) save(i int, records []Record) error {
	if s.dir == "" {
		return nil
	}
	b, err := encode(records)
	if err != nil {
		return err
	}
	return write(s.path(i), b)
}

func encode(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "\t")
	return append(b, '\n'), err
}

// write leaves the whole file or none.
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
