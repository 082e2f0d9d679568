package cohort

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/examples/slidesam/slide"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/cohort"
)

// Job is a cohort as flags ask for it, for the command and for engines that
// share its units among machines by themselves. The zero value is ready for
// Register; Log must be set before Open.
type Job struct {
	slide.Runner
	Sheet, Out, Group string
	PartTiles         int // most tiles of a unit
}

// Register adds -sheet, -out, -group, -part-tiles and the flags of the command
// slide that say how slides are searched.
func (j *Job) Register(fs *flag.FlagSet) {
	fs.StringVar(&j.Sheet, "sheet", "", "CSV `file` of slides: columns slide and, if wanted, id, mpp, group and any others;\ndefault: twenty synthetic slides, two of them corrupt")
	fs.StringVar(&j.Out, "out", filepath.Join("out", "cohort"), "`folder` for the results, or a bucket's with the program of examples/cloud: s3://BUCKET/FOLDER, gs://, azblob://")
	fs.StringVar(&j.Group, "group", "group", "`column` of the sheet that says which slides are compared")
	fs.IntVar(&j.PartTiles, "part-tiles", 500, "most `tiles` of a part, when large slides are cut")
	j.Runner.Register(fs)
}

// Check checks the flags once they are parsed.
func (j *Job) Check() error {
	if j.PartTiles < 1 {
		return fmt.Errorf("-part-tiles %d, want 1 or more", j.PartTiles)
	}
	return j.Runner.Check()
}

// Open reads the sheet, loads the model and opens the folder of the results on
// this machine. The cohort may be used by many goroutines.
func (j *Job) Open(ctx context.Context, dir string) (*cohort.Cohort, error) {
	slides, err := cohort.ReadSheet(ctx, j.Sheet)
	if err != nil {
		return nil, err
	}
	if err := j.Load(); err != nil {
		return nil, err
	}
	settings, err := j.Settings()
	if err != nil {
		return nil, err
	}
	c, err := cohort.Open(dir, slides, settings, searcher{&j.Runner})
	if err != nil {
		return nil, err
	}
	c.Group = j.Group
	return c, nil
}

// Outcome returns an error unless all slides are done, which wraps cli.ErrPartial
// if some are. It names the table.
func Outcome(sum cohort.Summary, table string) error {
	switch {
	case sum.Unfinished > 0:
		return fmt.Errorf("%d of %d slides are unfinished", sum.Unfinished, sum.Slides)
	case sum.Failed == sum.Slides:
		return fmt.Errorf("all %d slides failed: %s has the reasons", sum.Slides, table)
	case sum.Failed > 0:
		return partialf("%d of %d slides failed, and will be tried again by the same command: %s has the reasons", sum.Failed, sum.Slides, table)
	case sum.Partial > 0:
		return partialf("parts of %d slides could not be read and were left out", sum.Partial)
	}
	return nil
}

// partialError is an error of a cohort that is done but for some slides.
type partialError struct{ text string }

func partialf(format string, args ...any) error { return &partialError{fmt.Sprintf(format, args...)} }

// Error says what was not done.
func (p *partialError) Error() string { return p.text }

// Unwrap tells the exit code.
func (p *partialError) Unwrap() error { return cli.ErrPartial }

// searcher does slides as the command slide does.
type searcher struct{ r *slide.Runner }

func (s searcher) Plan(ctx context.Context, p cohort.Part) (*cohort.Found, error) {
	return found(s.r.Plan(ctx, part(p)))
}

func (s searcher) Search(ctx context.Context, p cohort.Part) (*cohort.Found, error) {
	return found(s.r.Run(ctx, part(p)))
}

func (s searcher) Merge(ctx context.Context, p cohort.Part) (*cohort.Found, error) {
	f, err := found(s.r.Merge(ctx, part(p)))
	if errors.Is(err, sam.ErrUnfinished) {
		err = fmt.Errorf("%w: %w", cohort.ErrUnfinished, err)
	}
	return f, err
}

func part(p cohort.Part) slide.Part {
	return slide.Part{Slide: p.Path, MPP: p.MPP, Dir: p.Dir, Part: p.Part, Parts: p.Parts, Title: p.ID}
}

func found(i *slide.Info, err error) (*cohort.Found, error) {
	if err != nil {
		return nil, err
	}
	f := &cohort.Found{
		W: i.Size.W, H: i.Size.H, MPP: i.MPP, Format: i.Format, Tissue: i.Tissue,
		Tiles: i.Done.Total, Searched: i.Done.Done - i.Done.Resumed, Seconds: i.Done.Elapsed.Seconds(),
	}
	if r := i.Result; r != nil {
		f.Tiles, f.Objects, f.Missing = r.Tiles, r.Objects, len(r.Missing)
	}
	return f, nil
}
