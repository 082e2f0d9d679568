package cohort

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/sheet"
)

// Unit is work for one machine: a slide or one part of it.
type Unit struct {
	Slide       int // of the cohort's slides
	Part, Parts int
	Tiles       int // of the part, about; 0: unknown
}

// maxParts bounds the parts of a slide.
const maxParts = 1 << 20

var unitsHead = []string{"unit", "id", "slide", "part", "parts", "tiles"}

// Whole returns a unit for each slide.
func (c *Cohort) Whole() []Unit {
	out := make([]Unit, len(c.Slides))
	for i := range out {
		out[i] = Unit{Slide: i, Parts: 1}
	}
	return out
}

// Plan counts the tiles of each slide and cuts slides into parts of at most
// the given number of tiles; what it finds is kept in UnitsFile. A slide that
// cannot be opened is one part, so that it is tried again.
func (c *Cohort) Plan(ctx context.Context, tiles int, progress func(done int, s Slide, err error)) ([]Unit, error) {
	var out []Unit
	for i, s := range c.Slides {
		units, err := c.PlanSlide(ctx, i, tiles)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		out = append(out, units...)
		progress(i+1, s, err)
	}
	return out, c.KeepUnits(out)
}

// PlanSlide is Plan for one slide, and keeps nothing. If the slide cannot be
// opened it returns the one unit and why.
func (c *Cohort) PlanSlide(ctx context.Context, i, tiles int) ([]Unit, error) {
	s := c.Slides[i]
	f, err := c.search.Plan(ctx, Part{Slide: s, Dir: c.folder(s), Parts: 1})
	u := Unit{Slide: i, Parts: 1}
	if err == nil {
		u.Tiles = f.Tiles
		u.Parts = min(max(1, (f.Tiles+tiles-1)/tiles), maxParts)
	}
	out := make([]Unit, u.Parts)
	for k := range out {
		out[k] = u
		out[k].Part = k
		out[k].Tiles = (u.Tiles - k + u.Parts - 1) / u.Parts
	}
	return out, err
}

// KeepUnits writes the units of all slides, in the order of the sheet, to
// UnitsFile.
func (c *Cohort) KeepUnits(units []Unit) error {
	return atomicfile.WriteIn(c.Dir, UnitsFile, func(w io.Writer) error {
		t := csv.NewWriter(w)
		_ = t.Write(unitsHead) // errors are kept
		for n, u := range units {
			s := c.Slides[u.Slide]
			_ = t.Write([]string{strconv.Itoa(n), s.ID, s.Path, strconv.Itoa(u.Part), strconv.Itoa(u.Parts), strconv.Itoa(u.Tiles)})
		}
		t.Flush()
		return t.Error()
	})
}

// Units returns the plan, or a unit for each slide if there is none.
func (c *Cohort) Units() ([]Unit, error) {
	path := filepath.Join(c.Dir, UnitsFile)
	head, rows, err := sheet.Read(path)
	if errors.Is(err, os.ErrNotExist) {
		return c.Whole(), nil
	}
	if err != nil {
		return nil, err
	}
	out, err := c.parseUnits(head, rows)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// parseUnits checks that the units are those of the sheet: all parts of each
// slide, in its order.
func (c *Cohort) parseUnits(head []string, rows [][]string) ([]Unit, error) {
	var col [3]int
	id := sheet.Column(head, "id")
	for i, n := range []string{"part", "parts", "tiles"} {
		if col[i] = sheet.Column(head, n); col[i] < 0 || id < 0 {
			return nil, fmt.Errorf("columns %q, want %q", head, unitsHead)
		}
	}
	var out []Unit
	next := Unit{}
	for n, r := range rows {
		var v [3]int
		for i := range v {
			var err error
			if v[i], err = strconv.Atoi(r[col[i]]); err != nil || v[i] < 0 {
				return nil, fmt.Errorf("line %d: %q is no number", n+2, r[col[i]])
			}
		}
		u := Unit{Slide: next.Slide, Part: v[0], Parts: v[1], Tiles: v[2]}
		fits := u.Slide < len(c.Slides) && r[id] == c.Slides[u.Slide].ID && u.Part == next.Part && u.Parts > u.Part && u.Parts <= maxParts
		if !fits || u.Part > 0 && u.Parts != next.Parts {
			return nil, fmt.Errorf("line %d, part %d of %d of %s, is not what the sheet has: plan again", n+2, u.Part, u.Parts, r[id])
		}
		out = append(out, u)
		if next = (Unit{u.Slide, u.Part + 1, u.Parts, 0}); next.Part == u.Parts {
			next = Unit{Slide: u.Slide + 1}
		}
	}
	if next.Slide != len(c.Slides) || next.Part != 0 {
		return nil, fmt.Errorf("it ends before slide %d of the sheet: plan again", next.Slide+1)
	}
	return out, nil
}

// Share returns every n-th unit from the i-th on; n 0 means all.
func Share[T any](all []T, i, n int) []T {
	if n <= 1 {
		return all
	}
	var out []T
	for k := i; k < len(all); k += n {
		out = append(out, all[k])
	}
	return out
}
