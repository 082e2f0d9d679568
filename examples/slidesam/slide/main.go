// Package slide is the command that segments whole slides: reads them tile by tile, finds their
// objects and writes what QuPath opens.
package slide

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/wsi"
	_ "github.com/slidesam/sam/remote" // slides of web servers and buckets
)

// Command is slide.
func Command() cli.Command {
	return cli.Command{
		Name: "slide", Usage: "whole slides: objects of one or several scales as GeoJSON, CSV, label pyramids and a page to look at; resumes, shards",
		Flags: func() *flag.FlagSet { return new(job).flags() },
		Run: func(ctx context.Context, args []string, stdio cli.IO) error {
			return run(ctx, args, stdio.Env, stdio.Stdout, stdio.Stderr)
		},
	}
}

func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) error {
	j, err := parse(args, env, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return &cli.UsageError{Err: err}
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if j.json {
		log = slog.New(slog.NewJSONHandler(stderr, nil))
	}
	work := []sample{{j.slide, j.out}}
	if j.sheet != "" {
		if work, err = readSheet(j.sheet, j.out); err != nil {
			return err
		}
	}
	if j.merge {
		if err := j.recall(work[0].out, env); err != nil {
			return err
		}
	}
	m, err := j.load()
	if err != nil {
		return err
	}
	log.Info("model loaded", "device", j.device)
	if j.licence != "" {
		log.Warn("licence of the weights", "licence", j.licence)
	}
	if j.slide == "" && j.sheet == "" {
		return demo(ctx, m, j, log, stdout)
	}
	var failed []error
	for _, w := range work {
		err := one(ctx, m, j, w, log, stdout)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil { // the other slides go on
			if j.sheet == "" {
				return err
			}
			log.Error("slide failed", "slide", w.slide, "error", err.Error())
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		return &failures{len(work), failed}
	}
	return nil
}

// failures are those of a sheet's slides, which the log has.
type failures struct {
	of   int
	list []error
}

// Error counts the failures.
func (f *failures) Error() string {
	return fmt.Sprintf("%d of %d slides failed, see above", len(f.list), f.of)
}

// Unwrap returns the failures.
func (f *failures) Unwrap() []error { return f.list }

// load loads the model, or for an instance decoder the finder in its place.
func (j *job) load() (*sam.Model, error) {
	if !j.instances() {
		m, err := j.Load()
		if err != nil {
			return nil, err
		}
		j.device = m.Device().String()
		return m, nil
	}
	if j.scales[0].prompts == "cellpose" {
		j.device = sam.CPU
		m, err := sam.LoadCellpose(j.Path)
		if err != nil {
			return nil, err
		}
		f := m.Finder(sam.CellposeOptions{})
		j.cells, j.finder, j.licence = m, &f, m.Licence()
		return nil, nil
	}
	in, err := j.loadInstances()
	if err != nil {
		return nil, err
	}
	if in, err = in.On(cmp.Or(j.Device, sam.CPU), sam.FP32); err != nil {
		return nil, err
	}
	j.device = in.Device().String()
	f := in.Finder(sam.InstanceOptions{MinForeground: float32(max(j.iou, 0))}, j.scales[0].prompts == "apg")
	j.finder = &f
	return nil, nil
}

// loadInstances loads the bundled model with its instance decoder, or that of
// the flags.
func (j *job) loadInstances() (*sam.InstanceModel, error) {
	if !j.Bundled() {
		files := []string{j.Path}
		if j.decoder != "" {
			files = append(files, j.decoder)
		}
		return sam.LoadInstances(files...)
	}
	in, err := sam.BundledInstances()
	if j.decoder != "" {
		in, err = sam.LoadInstances("", j.decoder)
	}
	if err != nil {
		return nil, err
	}
	m, err := in.Model()
	if err != nil {
		return nil, err
	}
	j.defaults = m.Defaults()
	return in, nil
}

// remarks says what became of the prompts, and what a reader of the results
// should know.
func (j *job) remarks(s *sam.Slide, res *sam.SegmentResult, note string) []string {
	region := j.region
	out := []string{res.Describe() + "."}
	if !region.Empty() {
		out = append(out, fmt.Sprintf("Only the region %d,%d,%d,%d was searched.", region.Min.X, region.Min.Y, region.Dx(), region.Dy()))
	}
	if h := res.Hint(); h != "" {
		out = append(out, "Hint: "+h+".")
	}
	switch mpp, _ := s.MPP(); {
	case mpp == 0:
		out = append(out, "Warning: the resolution of the slide is not known, and it was searched as it is: sizes mean nothing, and the outlines may be wrong. Give -slide-mpp: 0.25 for a scan at 40x, 0.5 at 20x, 1 at 10x, or 8 over the width of its nuclei in pixels. Nuclei are not to be seen in an overview, of more than a micrometre or so per pixel: give the slide itself.")
	case note != "":
		out = append(out, "Warning: "+note+".")
	}
	if w := j.limits(); w != "" {
		out = append(out, "Warning: "+w+".")
	}
	for _, n := range res.Notes {
		out = append(out, "Note: "+n+".")
	}
	for _, d := range res.Doubts {
		out = append(out, "Warning: "+d+".")
	}
	if n := len(res.Missing); n > 0 {
		out = append(out, fmt.Sprintf("Left out: %d tiles of the slide that could not be read, where nothing was looked for; %s names them. The first: %s.", n, sam.SummaryFile, res.Missing[0]))
	}
	for _, w := range s.Warnings() {
		out = append(out, "Warning: "+w+".")
	}
	return out
}

// limits says what the model cannot do of what is asked for, empty if nothing.
func (j *job) limits() string {
	for _, s := range j.scales {
		if j.Bundled() && (s.prompts == "grid" || s.mpp > nucleiMPP) {
			return "the bundled model outlines nuclei; glands, tumours and other regions that it finds by a grid or at a coarse resolution are not usable on real slides, where they follow patches of texture or the edges of tiles: give a published checkpoint with -model, or point at each in the viewer"
		}
	}
	return ""
}

// nucleiMPP is the coarsest resolution, in micrometres per pixel, at which
// nuclei are asked for.
const nucleiMPP = 1

// open opens a slide, see cli.OpenSlide.
func open(ctx context.Context, j *job, path string, log *slog.Logger) (s *sam.Slide, note string, err error) {
	return cli.OpenSlide(ctx, path, cli.SlideFlags{MPP: j.slideMPP, SkipBad: j.skipBad, Estimate: j.estimate}, log)
}

// one does one slide.
func one(ctx context.Context, m *sam.Model, j *job, w sample, log *slog.Logger, stdout io.Writer) error {
	s, note, err := open(ctx, j, w.slide, log.With("slide", w.slide))
	if err != nil {
		return err
	}
	defer s.Close()
	for _, text := range s.Warnings() {
		log.Warn("slide is odd", "slide", w.slide, "warning", text)
	}
	size := s.Size()
	mpp, _ := s.MPP()
	log.Info("slide opened", "slide", w.slide, "format", s.Format(), "width", size.W, "height", size.H, "levels", len(s.Levels()), "mpp", mpp, "objective", s.Objective())
	if note != "" {
		log.Warn("resolution estimated", "slide", w.slide, "note", note)
	}
	if !j.merge {
		if err := j.save(w.out); err != nil {
			return err
		}
	}
	if text := j.limits(); text != "" {
		log.Warn("beyond the model", "slide", w.slide, "warning", text)
	}
	res, err := segment(ctx, m, s, w.out, j, log)
	if err != nil {
		return fmt.Errorf("%s: %w", w.slide, err)
	}
	if !res.Merged {
		fmt.Fprintf(stdout, "%s: shard %d of %d is done; merge with -merge when all are\n", w.slide, j.shard, j.shards)
		return nil
	}
	notes := j.remarks(s, res, note)
	if err := writePage(ctx, w.out, page{Title: wsi.Name(w.slide), Slide: s, Result: res, Notes: notes, Region: j.region}); err != nil {
		return err
	}
	if j.coco {
		tiny, err := writeCOCO(ctx, wsi.Name(w.slide), size, res)
		if err != nil {
			return fmt.Errorf("%s: %w", w.slide, err)
		}
		if tiny > 0 {
			log.Warn("objects smaller than a pixel are not in "+cocoFile, "objects", tiny)
		}
	}
	fmt.Fprintf(stdout, "%s: %d objects in %d tiles, in %s\n", w.slide, res.Objects, res.Tiles, w.out)
	for _, r := range notes {
		fmt.Fprintf(stdout, "%s: %s\n", w.slide, r)
	}
	if n := len(res.Missing); n > 0 {
		return fmt.Errorf("%s: %w: %d of its tiles, first %s", w.slide, cli.ErrPartial, n, res.Missing[0])
	}
	return nil
}

// segment runs or merges one slide with a line of log now and then.
func segment(ctx context.Context, m *sam.Model, s *sam.Slide, out string, j *job, log *slog.Logger) (*sam.SegmentResult, error) {
	d := j.defaults
	if m != nil {
		d = m.Defaults()
	}
	o := j.options(s, d)
	last := time.Now()
	o.Progress = func(p sam.SegmentProgress) {
		if j.progress != nil {
			j.progress(p)
		}
		if p.Done < p.Total && time.Since(last) < 5*time.Second {
			return
		}
		last = time.Now()
		log.Info("tiles", "done", p.Done, "total", p.Total, "resumed", p.Resumed, "objects", p.Objects,
			"elapsed", p.Elapsed.Round(time.Second).String(), "left", p.Left.Round(time.Second).String())
	}
	finder := j.finder
	if j.cells != nil {
		levels, err := j.cells.LevelsOf(ctx, s)
		if err != nil {
			return nil, err
		}
		if levels != nil {
			log.Info("the slide's tissue becomes 0 to 1", "red", levels[0], "green", levels[1], "blue", levels[2])
		}
		f := j.cells.Finder(sam.CellposeOptions{Levels: levels})
		finder = &f
	}
	switch {
	case finder != nil && j.merge:
		return sam.MergeSlide(ctx, s, out, *finder, o)
	case finder != nil:
		return sam.SegmentSlide(ctx, s, out, *finder, o)
	case j.merge:
		return m.MergeSlide(ctx, s, out, o)
	}
	return m.SegmentSlide(ctx, s, out, o)
}
