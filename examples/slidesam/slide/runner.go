package slide

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"log/slog"
	"math"
	"path/filepath"
	"slices"

	"github.com/slidesam/sam"
)

// Runner does slides for other commands, as the flags of slide say how. The
// zero value is ready for Register.
type Runner struct {
	Log *slog.Logger
	j   job
	m   *sam.Model
	own *flag.FlagSet
}

// ofOneRun are the flags of slide that say which slide, where to and how much
// of it.
var ofOneRun = []string{"slide", "sheet", "out", "shard", "merge", "json", "coco", "synthetic", "slide-mpp"}

// Register adds the flags of slide that say how slides are searched.
func (r *Runner) Register(fs *flag.FlagSet) {
	r.own = r.j.flags()
	r.own.VisitAll(func(f *flag.Flag) {
		if !slices.Contains(ofOneRun, f.Name) {
			fs.Var(f.Value, f.Name, f.Usage)
		}
	})
}

// Load checks the flags, once they are parsed, and loads the model.
func (r *Runner) Load() error {
	if err := r.Check(); err != nil {
		return err
	}
	var err error
	r.m, err = r.j.load()
	if r.j.licence != "" {
		r.Log.Warn("licence of the weights", "licence", r.j.licence)
	}
	return err
}

// Check checks the flags once they are parsed.
func (r *Runner) Check() error { return r.j.check(func(string) string { return "" }) }

// Settings says what results depend on besides the slides, as JSON: the
// model's fingerprint and the flags.
func (r *Runner) Settings() ([]byte, error) {
	set := map[string]string{}
	r.own.VisitAll(func(f *flag.Flag) {
		// A model is known by its fingerprint, wherever its file lies.
		if !slices.Contains(ofOneRun, f.Name) && f.Name != "device" && f.Name != "model" && f.Name != "decoder" {
			set[f.Name] = f.Value.String()
		}
	})
	if r.m != nil {
		print := r.m.Fingerprint()
		set["model"] = hex.EncodeToString(print[:])
	} else {
		set["model"] = r.j.finder.Name
	}
	return json.Marshal(set)
}

// Part is a slide, or one of several parts of it, and where its files go.
type Part struct {
	Slide       string
	MPP         float64 // of level 0; 0: as the file says
	Dir         string
	Part, Parts int
	Title       string // of the page
}

// Info is what is known of a slide that was opened.
type Info struct {
	Size   sam.Size
	MPP    float64 // of level 0; 0: unknown
	Format string
	Tissue float64 // square millimetres that are searched; 0: unknown
	Result *sam.SegmentResult
	Done   sam.SegmentProgress // of the last tile
}

// Plan counts the tiles of a slide.
func (r *Runner) Plan(ctx context.Context, p Part) (*Info, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	planned := false
	info, err := r.do(ctx, p, false, func(sam.SegmentProgress) {
		planned = true
		stop()
	})
	if planned && errors.Is(err, context.Canceled) {
		err = nil
	}
	return info, err
}

// Run searches a part; of a slide in one part it writes the outputs, too, and
// the page to look at.
func (r *Runner) Run(ctx context.Context, p Part) (*Info, error) { return r.do(ctx, p, false, nil) }

// Merge writes the outputs of a slide whose parts are done, and the page.
func (r *Runner) Merge(ctx context.Context, p Part) (*Info, error) { return r.do(ctx, p, true, nil) }

func (r *Runner) do(ctx context.Context, p Part, merge bool, tell func(sam.SegmentProgress)) (*Info, error) {
	j := r.j
	j.merge, j.slideMPP, j.shard, j.shards = merge, p.MPP, p.Part, p.Parts
	s, note, err := open(ctx, &j, p.Slide, r.Log.With("slide", p.Title))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	info := &Info{Size: s.Size(), Format: s.Format()}
	mx, my := s.MPP()
	info.MPP = math.Sqrt(mx * my)
	if !j.all {
		if j.tissue, err = sam.TissueMask(ctx, s); err != nil {
			return nil, err
		}
	}
	info.Tissue = searched(j.tissue, info.Size, j.region) * mx * my / 1e6
	j.progress = func(p sam.SegmentProgress) {
		info.Done = p
		if tell != nil {
			tell(p)
		}
	}
	info.Result, err = segment(ctx, r.m, s, p.Dir, &j, r.Log.With("slide", p.Title))
	if err != nil || !info.Result.Merged {
		return info, err
	}
	err = writePage(ctx, p.Dir, page{Title: p.Title, Slide: s, Result: info.Result, Notes: j.remarks(s, info.Result, note), Region: j.region})
	if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Join(p.Dir, pageFile), err)
	}
	return info, err
}

// searched returns how many pixels of level 0 lie in the region, which is all
// if it is empty, and are tissue by a mask, which is all if it is nil.
func searched(tissue *sam.Mask, size sam.Size, region image.Rectangle) float64 {
	whole := image.Rect(0, 0, size.W, size.H)
	if region.Empty() {
		region = whole
	}
	region = region.Intersect(whole)
	if tissue == nil {
		return float64(region.Dx()) * float64(region.Dy())
	}
	z := tissue.Size()
	fx, fy := float64(size.W)/float64(z.W), float64(size.H)/float64(z.H)
	n := 0.0
	for r := range tissue.Runs() {
		high := min(float64(r.Y+1)*fy, float64(region.Max.Y)) - max(float64(r.Y)*fy, float64(region.Min.Y))
		wide := min(float64(r.X1)*fx, float64(region.Max.X)) - max(float64(r.X0)*fx, float64(region.Min.X))
		n += max(high, 0) * max(wide, 0)
	}
	return n
}
