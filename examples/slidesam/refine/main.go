// Package refine is the command that makes exact outlines of the coarse boxes,
// points and outlines of a QuPath file.
package refine

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/cli"
	_ "github.com/slidesam/sam/remote" // slides of web servers and buckets
)

// job is what the flags ask for.
type job struct {
	cli.Model
	slide, annotations, out string
	open                    cli.SlideFlags
	json                    bool
	o                       sam.RefineOptions
}

// Command is refine.
func Command() cli.Command {
	return cli.Command{
		Name: "refine", Usage: "coarse boxes, points and outlines of a QuPath file become exact ones, by class or within an annotation; resumes",
		Flags: func() *flag.FlagSet { return new(job).flags() },
		Run: func(ctx context.Context, args []string, stdio cli.IO) error {
			return run(ctx, args, stdio.Stdout, stdio.Stderr)
		},
	}
}

func (j *job) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("refine", flag.ContinueOnError)
	fs.StringVar(&j.annotations, "annotations", "", "GeoJSON `file` as QuPath exports it")
	fs.StringVar(&j.slide, "slide", "", "slide or picture `file` that the annotations are of")
	j.Register(fs)
	fs.StringVar(&j.out, "out", "", "GeoJSON `file` for the result; default: the name of the annotations with .refined before .geojson")
	fs.Float64Var(&j.o.MPP, "mpp", 0, "resolution to work at, micrometres per pixel; 0: the model's own, with the bundled model 0.25")
	fs.Float64Var(&j.open.MPP, "slide-mpp", 0, "resolution of the slide, if the file does not say or is wrong")
	fs.BoolVar(&j.open.Estimate, "estimate-mpp", true, "estimate the resolution of a slide that does not say it; else it is looked at as it is")
	fs.Func("class", "refine objects of this `class`, and of those derived from it; may be given again; default: all", func(s string) error {
		j.o.Classes = append(j.o.Classes, s)
		return nil
	})
	fs.StringVar(&j.o.Within, "within", "", "refine what lies in the annotations of this `name`, class or id; default: all")
	fs.Float64Var(&j.o.PredIoUThresh, "iou", 0, "least predicted IoU of a mask that replaces an outline; 0: none")
	fs.Float64Var(&j.o.StabilityScoreThresh, "stability", 0, "least stability; 0: none")
	fs.Float64Var(&j.o.CoarseIoUThresh, "overlap", 0.25, "least IoU with the coarse outline; 0: none")
	fs.BoolVar(&j.o.SingleMask, "single", false, "take the decoder's single mask, not the best of its three")
	j.RegisterMirror(fs)
	fs.BoolVar(&j.open.SkipBad, "skip-bad", false, "leave alone what lies on tiles of the slide that are missing or corrupt, and say so")
	fs.BoolVar(&j.json, "json", false, "log as JSON")
	return fs
}

func parse(args []string, stderr io.Writer) (*job, error) {
	j := &job{}
	fs := j.flags()
	fs.SetOutput(stderr)
	if err := cli.Parse(fs, args); err != nil {
		return nil, err
	}
	share := func(v float64) bool { return v >= 0 && v <= 1 } // not NaN
	switch {
	case fs.NArg() > 0:
		return nil, cli.Usagef("unknown argument %q: slides are given with -slide, annotations with -annotations", fs.Arg(0))
	case j.annotations == "" || j.slide == "":
		return nil, cli.Usagef("give the slide with -slide and its annotations, a GeoJSON file of QuPath, with -annotations")
	case !(j.o.MPP >= 0 && j.o.MPP <= 1000) || !(j.open.MPP >= 0 && j.open.MPP <= 1000):
		return nil, cli.Usagef("-mpp %g, -slide-mpp %g: want micrometres per pixel, more than 0 and at most 1000", j.o.MPP, j.open.MPP)
	case !(j.o.PredIoUThresh >= 0 && j.o.PredIoUThresh <= 1.5) || !share(j.o.StabilityScoreThresh) || !share(j.o.CoarseIoUThresh):
		return nil, cli.Usagef("-iou %g, -stability %g, -overlap %g: want 0 to 1.5, and 0 to 1", j.o.PredIoUThresh, j.o.StabilityScoreThresh, j.o.CoarseIoUThresh)
	}
	if j.o.CoarseIoUThresh == 0 {
		j.o.CoarseIoUThresh = -1 // none
	}
	if j.out == "" {
		j.out = strings.TrimSuffix(j.annotations, filepath.Ext(j.annotations)) + ".refined.geojson"
	}
	return j, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	j, err := parse(args, stderr)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if j.json {
		log = slog.New(slog.NewJSONHandler(stderr, nil))
	}
	s, note, err := cli.OpenSlide(ctx, j.slide, j.open, log.With("slide", j.slide))
	if err != nil {
		return err
	}
	defer s.Close()
	for _, text := range s.Warnings() {
		log.Warn("slide is odd", "slide", j.slide, "warning", text)
	}
	if mpp, _ := s.MPP(); mpp == 0 {
		note = "the slide does not say its resolution and is looked at as it is: if outlines look wrong, give -slide-mpp"
	}
	m, err := j.Load()
	if err != nil {
		return err
	}
	log.Info("model loaded", "device", m.Device().String())
	last := time.Now()
	j.o.Progress = func(p sam.RefineProgress) {
		if p.Seen < p.Windows && time.Since(last) < 5*time.Second {
			return
		}
		last = time.Now()
		log.Info("windows", "done", p.Seen, "total", p.Windows, "resumed", p.Resumed, "objects", p.Done, "of", p.Total, "refined", p.Refined,
			"elapsed", p.Elapsed.Round(time.Second).String(), "left", p.Left.Round(time.Second).String())
	}
	res, err := m.RefineSlide(ctx, s, j.annotations, j.out, j.o)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %s, in %s\n", j.annotations, res.Describe(), j.out)
	if note != "" {
		fmt.Fprintf(stdout, "%s: Warning: %s.\n", j.slide, note)
	}
	if n := len(res.Missing); n > 0 {
		return fmt.Errorf("%s: %w: %d of its tiles, first %s", j.slide, cli.ErrPartial, n, res.Missing[0])
	}
	return nil
}
