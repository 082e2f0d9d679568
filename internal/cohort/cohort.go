// Package cohort does the slides of a sheet one by one or in parts on many
// machines, and makes one table and one report of what was found.
//
// It knows whoever searches a slide only as a [Searcher], and works in steps
// that may run in different processes on one folder, each of them twice or
// killed and run again: [Cohort.Plan] cuts large slides into parts,
// [Cohort.Search] does one part, [Cohort.Merge] joins the parts of a slide, and
// [Cohort.Report] writes the table and the report. What is done is known by
// files that are whole or not there; nothing is locked.
//
// A slide that fails is a line of the table with its reason, and never stops
// another.
//
//	c, err := cohort.Open(dir, slides, settings, searcher)
//	for _, u := range cohort.Share(units, i, n) {
//		err = c.Search(ctx, u)
//	}
//	summary, err := c.Report(ctx)
package cohort

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/slidesam/sam/internal/atomicfile"
)

// ErrOther is wrapped by the error for a folder that holds a cohort that was
// begun with other settings.
var ErrOther = errors.New("folder holds another cohort")

// Names of files in a cohort's folder.
const (
	SettingsFile = "cohort.json" // what the results depend on besides the slides
	UnitsFile    = "units.csv"   // the plan
	TableFile    = "cohort.csv"
	ParquetFile  = "cohort.parquet"
	TimesFile    = "times.csv"
	ReportFile   = "index.html"

	slidesFolder = "slides"
	recordFile   = "slide.json"  // of a slide that is done
	failureFile  = "failed.json" // of one that failed
	timesFolder  = "times"
)

// Part is a slide, or one of its parts, on its way to a Searcher.
type Part struct {
	Slide
	Dir         string // of the slide's results
	Part, Parts int
}

// Found says what a Searcher did. Of a part that is not the whole slide only
// the first six fields count.
type Found struct {
	W, H     int     // of level 0
	MPP      float64 // of level 0; 0: unknown
	Format   string
	Tissue   float64 // square millimetres that were searched; 0: unknown
	Tiles    int     // of the slide
	Searched int     // tiles that this attempt searched
	Seconds  float64 // that it took
	Objects  int
	Missing  int // tiles of the slide that could not be read and were left out
}

// Searcher finds the objects of slides.
type Searcher interface {
	// Plan counts the tiles of a slide.
	Plan(ctx context.Context, p Part) (*Found, error)
	// Search searches a part; of a slide in one part it writes the outputs of a
	// whole slide to the part's folder.
	Search(ctx context.Context, p Part) (*Found, error)
	// Merge writes the outputs of a slide whose parts are done. The error wraps
	// ErrUnfinished if some are not.
	Merge(ctx context.Context, p Part) (*Found, error)
}

// ErrUnfinished is wrapped by the error of a Searcher's Merge when parts are
// missing.
var ErrUnfinished = errors.New("parts are missing")

// Cohort is the slides of a sheet and the folder of their results.
type Cohort struct {
	Dir    string
	Slides []Slide
	Group  string // column of the sheet that says which slides belong together; empty or absent: none
	search Searcher
	fetch  func(s Slide, name string) error // a file of a slide that the report shows; nil: all are there
}

// Open makes dir the folder of a cohort, or returns the one that it is. The
// error wraps ErrOther if that was begun with other settings. Slides may be
// added to the sheet of a cohort that is begun.
func Open(dir string, slides []Slide, settings []byte, s Searcher) (*Cohort, error) {
	if err := os.MkdirAll(filepath.Join(dir, slidesFolder), 0o777); err != nil {
		return nil, err
	}
	if err := atomicfile.Sweep(dir); err != nil {
		return nil, err
	}
	settings = append(bytes.TrimSpace(bytes.Clone(settings)), '\n')
	have, err := os.ReadFile(filepath.Join(dir, SettingsFile))
	if errors.Is(err, os.ErrNotExist) {
		have, err = settings, writeFile(filepath.Join(dir, SettingsFile), settings)
	}
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(have, settings) {
		return nil, fmt.Errorf("%w: %s was begun with %s, this is %s: use an empty folder, or the model and flags it was begun with", ErrOther, dir, bytes.TrimSpace(have), bytes.TrimSpace(settings))
	}
	return &Cohort{Dir: dir, Slides: slides, Group: "group", search: s}, nil
}

// folder is where the results of a slide lie.
func (c *Cohort) folder(s Slide) string { return filepath.Join(c.Dir, slidesFolder, s.ID) }

func writeFile(path string, b []byte) error {
	dir, name := filepath.Split(path)
	return atomicfile.WriteIn(filepath.Clean(dir), name, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}
