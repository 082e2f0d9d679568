package cohort

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// FailedError is returned for a slide that failed. Its reason is kept, and the
// others go on.
type FailedError struct {
	Slide  Slide
	Reason error
}

// Error returns the slide and the reason.
func (f *FailedError) Error() string { return fmt.Sprintf("%s: %v", f.Slide.ID, f.Reason) }

// Unwrap returns the reason.
func (f *FailedError) Unwrap() error { return f.Reason }

// Finished reports whether a slide is done.
func (c *Cohort) Finished(s Slide) (bool, error) {
	r, err := c.record(s)
	return err == nil && r.done(), err
}

// Search does a unit, unless its slide is done. The error is a *FailedError if
// the slide failed; any other means that nothing can go on.
func (c *Cohort) Search(ctx context.Context, u Unit) error {
	s := c.Slides[u.Slide]
	if done, err := c.Finished(s); done || err != nil {
		return err
	}
	f, err := c.search.Search(ctx, Part{s, c.folder(s), u.Part, u.Parts})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return c.failed(s, err)
	}
	if err := c.keepTime(s, u, f); err != nil || u.Parts > 1 {
		return err
	}
	return c.finish(s, f)
}

// Merge joins the parts of a slide, unless it is done or failed in one part.
// The error is a *FailedError if the slide failed, and wraps ErrUnfinished if
// parts are missing.
func (c *Cohort) Merge(ctx context.Context, i, parts int) error {
	s := c.Slides[i]
	r, err := c.record(s)
	if err != nil || r.done() {
		return err
	}
	if parts == 1 {
		if r.Status == Failed {
			return &FailedError{s, errors.New(r.Reason)}
		}
		return fmt.Errorf("%s: %w", s.ID, ErrUnfinished)
	}
	f, err := c.search.Merge(ctx, Part{s, c.folder(s), 0, 1})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrUnfinished) && r.Status == Failed: // of one of its parts
		return &FailedError{s, errors.New(r.Reason)}
	case errors.Is(err, ErrUnfinished):
		return fmt.Errorf("%s: %w", s.ID, err)
	case err != nil:
		return c.failed(s, err)
	}
	return c.finish(s, f)
}

// failed keeps why a slide failed and returns a *FailedError, or why that could
// not be kept.
func (c *Cohort) failed(s Slide, reason error) error {
	if err := c.fail(s, reason); err != nil {
		return errors.Join(fmt.Errorf("%s failed, and that cannot be written down: %w", s.ID, err), reason)
	}
	return &FailedError{s, reason}
}

// finish keeps what was found of a slide.
func (c *Cohort) finish(s Slide, f *Found) error {
	r := newRecord(s)
	r.Status = Done
	if f.Missing > 0 {
		r.Status = Partial
		r.Reason = fmt.Sprintf("%d tiles of the slide could not be read and were left out", f.Missing)
	}
	r.W, r.H, r.OwnMPP, r.Format, r.Tissue, r.Tiles, r.Missing, r.Objects = f.W, f.H, f.MPP, f.Format, f.Tissue, f.Tiles, f.Missing, f.Objects
	var err error
	if r.Classes, err = classesOf(c.folder(s), f.Tissue); err != nil {
		return err
	}
	if n := r.Classes[0].Objects; n != f.Objects {
		return fmt.Errorf("%s: %d objects were found, its table has %d", s.ID, f.Objects, n)
	}
	return c.keep(s, r)
}

// partTime is how long a part took.
type partTime struct {
	Part    int     `json:"part"`
	Parts   int     `json:"parts"`
	Tiles   int     `json:"tiles"` // that were searched in it
	Seconds float64 `json:"seconds"`
}

// keepTime keeps how long a part took. An attempt that found everything done
// says nothing.
func (c *Cohort) keepTime(s Slide, u Unit, f *Found) error {
	if f.Searched == 0 && f.Tiles > 0 {
		return nil
	}
	b, err := json.Marshal(partTime{u.Part, u.Parts, f.Searched, f.Seconds})
	if err != nil {
		return err
	}
	dir := filepath.Join(c.folder(s), timesFolder)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, fmt.Sprintf("%05d-of-%05d.json", u.Part, u.Parts)), append(b, '\n'))
}
