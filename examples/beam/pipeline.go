package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"

	"github.com/slidesam/sam/internal/cohort"
)

// Unit is what travels between the steps: which part of which slide. Pixels and
// objects stay in the files that all workers share.
type Unit struct {
	Slide       int
	ID          string // of the slide, so that no worker takes another one for it
	Part, Parts int
	Tiles       int
}

// What the last step counts, for the program that waits for the pipeline.
const (
	counters        = "cohort"
	countSlides     = "slides"
	countDone       = "done"
	countPartial    = "partial"
	countFailed     = "failed"
	countUnfinished = "unfinished"
	countObjects    = "objects"
)

// Without the generic functions of package register, which take the compiler
// a minute and more than a gigabyte, to save microseconds for each unit.
func init() {
	for _, f := range []any{&listFn{}, &planFn{}, &keepFn{}, &searchFn{}, &mergeFn{}, &reportFn{}} {
		beam.RegisterDoFn(reflect.TypeOf(f).Elem())
	}
}

// build is the pipeline for a cohort's flags. Each step may be done twice, at the
// same time too, and gives the same files.
func build(s beam.Scope, flags []string) {
	slides := beam.Reshuffle(s, beam.ParDo(s.Scope("List"), &listFn{flags}, beam.Impulse(s)))
	planned := beam.GroupByKey(s, beam.ParDo(s.Scope("Plan"), &planFn{flags}, slides))
	units := beam.Reshuffle(s, beam.ParDo(s.Scope("Keep"), &keepFn{flags}, planned))
	searched := beam.GroupByKey(s, beam.ParDo(s.Scope("Search"), &searchFn{flags}, units))
	merged := beam.GroupByKey(s, beam.ParDo(s.Scope("Merge"), &mergeFn{flags}, searched))
	beam.ParDo0(s.Scope("Report"), &reportFn{flags}, merged)
}

// listFn lists the slides of the sheet.
type listFn struct{ Flags []string }

// ProcessElement emits each slide.
func (f *listFn) ProcessElement(ctx context.Context, _ []byte, emit func(Unit)) error {
	w, err := open(ctx, f.Flags)
	if err != nil {
		return err
	}
	for i, s := range w.Slides {
		emit(Unit{Slide: i, ID: s.ID})
	}
	return nil
}

// planFn cuts a slide into parts.
type planFn struct{ Flags []string }

// ProcessElement emits a slide's units under one key. A slide that cannot be
// opened is one unit, and fails when it is searched.
func (f *planFn) ProcessElement(ctx context.Context, of Unit, emit func(int, Unit)) error {
	w, err := openFor(ctx, f.Flags, of)
	if err != nil {
		return err
	}
	units, err := w.PlanSlide(ctx, of.Slide, w.partTiles)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		log.Warnf(ctx, "slide %s cannot be planned: %v", of.ID, err)
	}
	for _, u := range units {
		emit(0, Unit{Slide: u.Slide, ID: of.ID, Part: u.Part, Parts: u.Parts, Tiles: u.Tiles})
	}
	return nil
}

// keepFn writes the plan down, so that slidesam cohort can go on with the same
// units.
type keepFn struct{ Flags []string }

// ProcessElement writes the units in the order of the sheet and emits them.
func (f *keepFn) ProcessElement(ctx context.Context, _ int, units func(*Unit) bool, emit func(Unit)) error {
	w, err := open(ctx, f.Flags)
	if err != nil {
		return err
	}
	all := drain(units)
	slices.SortFunc(all, func(a, b Unit) int { return cmp.Or(cmp.Compare(a.Slide, b.Slide), cmp.Compare(a.Part, b.Part)) })
	plan := make([]cohort.Unit, len(all))
	for i, u := range all {
		plan[i] = u.of()
	}
	if err := w.KeepUnits(plan); err != nil {
		return err
	}
	for _, u := range all {
		emit(u)
	}
	return nil
}

// of is the cohort's name for a unit.
func (u Unit) of() cohort.Unit {
	return cohort.Unit{Slide: u.Slide, Part: u.Part, Parts: u.Parts, Tiles: u.Tiles}
}

func drain[T any](next func(*T) bool) []T {
	var all []T
	var v T
	for next(&v) {
		all = append(all, v)
	}
	return all
}

// searchFn searches a unit.
type searchFn struct{ Flags []string }

// ProcessElement searches a unit and emits it under its slide. A slide that
// fails is written down and goes on, so that the others do; any other error is
// the engine's, to try again.
func (f *searchFn) ProcessElement(ctx context.Context, u Unit, emit func(int, Unit)) error {
	w, err := openFor(ctx, f.Flags, u)
	if err != nil {
		return err
	}
	if err := w.turn(ctx); err != nil {
		return err
	}
	defer w.done()
	var failed *cohort.FailedError
	switch err := search(ctx, w.Cohort, u.of()); {
	case errors.As(err, &failed):
		log.Errorf(ctx, "slide %s failed: %v", u.ID, failed.Reason)
	case err != nil:
		return err
	default:
		log.Infof(ctx, "slide %s: part %d of %d is done", u.ID, u.Part+1, u.Parts)
	}
	emit(u.Slide, u)
	return nil
}

// search does a unit.
var search = func(ctx context.Context, c *cohort.Cohort, u cohort.Unit) error { return c.Search(ctx, u) }

// mergeFn joins the parts of a slide.
type mergeFn struct{ Flags []string }

// ProcessElement joins a slide's parts and emits it under one key.
func (f *mergeFn) ProcessElement(ctx context.Context, slide int, units func(*Unit) bool, emit func(int, int)) error {
	parts := drain(units)
	w, err := openFor(ctx, f.Flags, parts[0])
	if err != nil {
		return err
	}
	if len(parts) != parts[0].Parts {
		return fmt.Errorf("slide %s: %d of %d parts came", parts[0].ID, len(parts), parts[0].Parts)
	}
	var failed *cohort.FailedError
	if err := w.Merge(ctx, slide, len(parts)); err != nil && !errors.As(err, &failed) { // the table says what failed
		return err
	}
	emit(0, slide)
	return nil
}

// reportFn writes the table and the report.
type reportFn struct{ Flags []string }

// ProcessElement writes them once all slides are there.
func (f *reportFn) ProcessElement(ctx context.Context, _ int, slides func(*int) bool) error {
	w, err := open(ctx, f.Flags)
	if err != nil {
		return err
	}
	if n := len(drain(slides)); n != len(w.Slides) {
		return fmt.Errorf("%d slides came, the sheet has %d", n, len(w.Slides))
	}
	sum, err := w.Report()
	if err != nil {
		return err
	}
	for name, n := range map[string]int{
		countSlides: sum.Slides, countDone: sum.Done, countPartial: sum.Partial, countFailed: sum.Failed,
		countUnfinished: sum.Unfinished, countObjects: sum.Objects,
	} {
		beam.NewCounter(counters, name).Inc(ctx, int64(n))
	}
	return nil
}
