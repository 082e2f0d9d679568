package cohort

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/slidesam/sam/internal/cohort"
	"github.com/slidesam/sam/internal/wsi"
)

// enter makes or finds the folder of the results on this machine. If they go to
// a bucket that is a folder for the time being, which leave removes.
func (j *job) enter(ctx context.Context) (leave func(), err error) {
	store, err := cohort.OpenStore(ctx, j.Out)
	if err != nil {
		return nil, err
	}
	if store == nil {
		j.dir = j.Out
		return func() {}, nil
	}
	if j.dir, err = os.MkdirTemp("", "slidesam-cohort-*"); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	j.mirror = &cohort.Mirror{Dir: j.dir, Store: store}
	leave = func() {
		_ = os.RemoveAll(j.dir) // a copy
		_ = store.Close()       // nothing is on its way
	}
	if err := j.mirror.GetPlan(ctx); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// unit does a unit, unless the bucket has it, and stores what it gave.
func (j *job) unit(ctx context.Context, c *cohort.Cohort, u cohort.Unit) error {
	if j.mirror == nil {
		return c.Search(ctx, u)
	}
	if stored, err := j.mirror.Begin(ctx, c, u); stored || err != nil {
		return err
	}
	err := c.Search(ctx, u)
	var failed *cohort.FailedError
	if err != nil && !errors.As(err, &failed) {
		return err
	}
	if broken := errors.Join(j.mirror.End(ctx, c, u, failed != nil), j.mirror.Forget(c, u.Slide)); broken != nil {
		return broken
	}
	return err
}

// mergeSlide joins the parts of a slide.
func (j *job) mergeSlide(ctx context.Context, c *cohort.Cohort, u cohort.Unit) error {
	if j.mirror == nil || u.Parts == 1 {
		return c.Merge(ctx, u.Slide, u.Parts)
	}
	if done, err := c.Finished(c.Slides[u.Slide]); done || err != nil {
		return err
	}
	if err := j.mirror.GetParts(ctx, c, u); err != nil {
		return err
	}
	err := c.Merge(ctx, u.Slide, u.Parts)
	var failed *cohort.FailedError
	if err != nil && !errors.As(err, &failed) {
		return err
	}
	if broken := j.mirror.PutSlide(ctx, c, u.Slide); broken != nil {
		return broken
	}
	return err
}

// place is where people find a file of the results.
func (j *job) place(name string) string {
	if j.mirror != nil {
		return wsi.Beside(j.Out, wsi.Name(j.Out)+"/"+name)
	}
	return filepath.Join(j.Out, name)
}
