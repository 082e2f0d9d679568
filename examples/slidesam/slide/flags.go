package slide

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"image"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/sheet"
	"github.com/slidesam/sam/internal/wsi"
)

// job is what the flags ask for.
type job struct {
	cli.Model
	slide, sheet, out string
	slideMPP          float64
	scales            []scale
	tile, halo        int
	region            image.Rectangle
	points, layers    int
	iou, stability    float64
	all, merge, json  bool
	local, estimate   bool
	skipBad, coco     bool
	sharpen           bool
	normalise         bool
	shard, shards     int
	synthetic         int

	// As they were given.
	textRegion, textShard, textMPP, textPrompts, textMinArea, textMaxArea, textClass string

	decoder string
	finder  *sam.SlideFinder // of -prompts ais, apg and cellpose, once the model is loaded
	cells   *sam.CellposeModel
	licence string // of its weights, where it forbids something
	device  string // that the model is on

	defaults sam.Defaults // of the finder's model, if it has any

	tissue   *sam.Mask // if it is known; nil: it is looked for
	progress func(sam.SegmentProgress)
	set      *flag.FlagSet // that the flags were parsed with
}

// scale is one of the resolutions to look at.
type scale struct {
	mpp              float64 // 0: the slide's own
	prompts          string
	minArea, maxArea area
	class            string
}

// area is a number of pixels of the scale, or of square micrometres.
type area struct {
	n  float64
	um bool
}

// pixels returns the area in pixels of mpp micrometres.
func (a area) pixels(mpp float64) int {
	if a.um {
		return int(math.Round(a.n / (mpp * mpp)))
	}
	return int(a.n)
}

func (j *job) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("slide", flag.ContinueOnError)
	fs.StringVar(&j.slide, "slide", "", "slide or picture `file`; default: a synthetic slide")
	fs.StringVar(&j.sheet, "sheet", "", "CSV `file` of slides, columns slide and, if wanted, out: a folder within that of -out")
	j.Register(fs)
	fs.StringVar(&j.decoder, "decoder", "", "the model's instance decoder, if it is a `file` of its own, or one for the bundled model (slidesam finetune -train instances); for -prompts ais and apg")
	fs.StringVar(&j.out, "out", "out", "`folder` for the results; with -sheet, of all slides")
	fs.StringVar(&j.textMPP, "mpp", "0", "resolutions to work at, micrometres per pixel, as `0.5` or 0.5,2; 0: the slide's own,\n"+
		"with the bundled model 0.25. prompts, min-area, max-area and class may be lists as well, one value for each")
	fs.Float64Var(&j.slideMPP, "slide-mpp", 0, "resolution of the slide, if the file does not say or is wrong")
	fs.BoolVar(&j.estimate, "estimate-mpp", true, "estimate the resolution of a slide that does not say it, by its objective or the size of\nits nuclei; else such a slide is searched as it is")
	fs.BoolVar(&j.sharpen, "sharpen", true, "undo some of the blur of a slide that is enlarged; with the bundled model alone")
	fs.BoolVar(&j.normalise, "normalise", true, "bring stains of H&E that the model did not learn to those that it did, before it sees the\nslide; with the bundled model and -prompts nuclei or grid alone")
	fs.IntVar(&j.tile, "tile", 0, "side of a tile in pixels; 0: the model's input")
	fs.IntVar(&j.halo, "halo", 0, "overlap of tiles in pixels; 0: an eighth of a tile")
	fs.StringVar(&j.textRegion, "region", "", "`x,y,w,h` of level 0 to work on; default: all")
	fs.StringVar(&j.textPrompts, "prompts", "nuclei", "nuclei: a point at each nucleus by its stain; grid: points over all, which the bundled model\n"+
		"is not for: it outlines nuclei, and no glands or regions of real slides;\n"+
		"ais: none, objects by an instance decoder, the bundled model's, micro-sam's or patho-sam's;\napg: points by that decoder;\n"+
		"cellpose: none, cells by a Cellpose-SAM model (cpsam); for those of a QuPath file see slidesam refine")
	fs.IntVar(&j.points, "points", 32, "points on the side of the grid")
	fs.IntVar(&j.layers, "layers", 0, "crop layers of the grid")
	fs.StringVar(&j.textMinArea, "min-area", "0", "least `area` of an object in pixels, or in square micrometres as 8um2; smaller holes and islands are\nremoved too; 0: for nuclei, and for ais and apg with the bundled model, 8 square micrometres, else none")
	fs.StringVar(&j.textMaxArea, "max-area", "0", "most `area` of an object in pixels, or in square micrometres as 200um2; 0: no bound")
	fs.Float64Var(&j.iou, "iou", 0, "least predicted IoU; 0: 0.88, with the bundled model 0.56, and on a slide that is\nenlarged less: 0.5 on one of 0.5 micrometres per pixel, 0.4 from 1 on; below 0: none;\nwith -prompts ais the least mean probability of an object's pixels, 0: none")
	fs.Float64Var(&j.stability, "stability", 0, "least stability; 0: 0.95, with the bundled model 0.4, on a slide that is enlarged\n0.35 and 0.3; below 0: none")
	fs.BoolVar(&j.local, "local", true, "keep of each mask only the pieces that its point is on")
	j.RegisterMirror(fs)
	fs.BoolVar(&j.all, "all", false, "look at glass too")
	fs.BoolVar(&j.skipBad, "skip-bad", false, "leave out tiles of the slide that are missing or corrupt, and say so")
	fs.StringVar(&j.textShard, "shard", "", "`i/n`, i from 0: do every n-th tile; auto: from the array job's variables")
	fs.BoolVar(&j.merge, "merge", false, "join the shards; flags that are not given are those of the run")
	fs.BoolVar(&j.coco, "coco", false, "write objects.coco.json as well, a COCO instances file in pixels of level 0")
	fs.BoolVar(&j.json, "json", false, "log as JSON")
	fs.IntVar(&j.synthetic, "synthetic", demoSide, "side of the synthetic slide in pixels of 0.25 micrometres")
	fs.StringVar(&j.textClass, "class", "auto", "`class` of the objects for QuPath; auto: Nucleus, Cell with -prompts cellpose, none with grid; empty: none")
	return fs
}

func parse(args []string, env func(string) string, stderr io.Writer) (*job, error) {
	j := &job{}
	fs := j.flags()
	j.set = fs
	fs.SetOutput(stderr)
	if err := cli.Parse(fs, args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q: slides are given with -slide", fs.Arg(0))
	}
	return j, j.check(env)
}

// check reads the flags' texts and checks that the flags mean something.
func (j *job) check(env func(string) string) error {
	switch {
	case j.slide != "" && j.sheet != "":
		return errors.New("both -slide and -sheet are given, want one")
	case !(j.slideMPP >= 0 && j.slideMPP <= 1000):
		return fmt.Errorf("-slide-mpp %g, want micrometres per pixel, more than 0 and at most 1000", j.slideMPP)
	case !(j.iou <= 1.5) || !(j.stability <= 1): // NaN too
		return fmt.Errorf("-iou %g, -stability %g: no mask has so much; want at most 1.5 and 1", j.iou, j.stability)
	case j.tile != 0 && (j.tile < 64 || j.tile > 1<<14):
		return fmt.Errorf("-tile %d, want 64 to %d pixels, or 0 for the model's input", j.tile, 1<<14)
	case j.halo < 0 || j.tile > 0 && 4*j.halo > j.tile:
		return fmt.Errorf("-halo %d for tiles of %d pixels, want 0 to a quarter", j.halo, j.tile)
	case j.layers < 0:
		return fmt.Errorf("-layers %d, want 0 or more", j.layers)
	case j.points < 1:
		return fmt.Errorf("-points %d, want 1 or more", j.points)
	case j.synthetic < 256 || j.synthetic > 1<<20:
		return fmt.Errorf("-synthetic %d, want 256 to %d", j.synthetic, 1<<20)
	}
	var err error
	if j.scales, err = parseScales(j.textMPP, j.textPrompts, j.textMinArea, j.textMaxArea, j.textClass); err != nil {
		return err
	}
	if err := j.checkInstances(); err != nil {
		return err
	}
	if j.region, err = parseRegion(j.textRegion); err != nil {
		return err
	}
	j.shard, j.shards, err = ParseShard(j.textShard, env)
	if err == nil && j.merge && j.shards > 1 {
		err = errors.New("-merge joins all shards: leave -shard out")
	}
	return err
}

// promptless reports whether objects come from a model that finds them by
// itself.
func promptless(prompts string) bool {
	return prompts == "ais" || prompts == "apg" || prompts == "cellpose"
}

// instances reports whether no scale has prompts.
func (j *job) instances() bool { return promptless(j.scales[0].prompts) }

// checkInstances checks the flags that go with -prompts ais, apg and cellpose.
func (j *job) checkInstances() error {
	first := j.scales[0].prompts
	for _, s := range j.scales[1:] {
		if (promptless(s.prompts) || j.instances()) && s.prompts != first {
			return errors.New("-prompts: ais, apg and cellpose are for all scales or none")
		}
	}
	switch {
	case first == "cellpose" && j.Bundled():
		return errors.New("-prompts cellpose needs -model: a Cellpose-SAM checkpoint, cpsam")
	case first == "cellpose" && j.Device != "" && j.Device != sam.Auto && j.Device != sam.CPU:
		return errors.New("-prompts cellpose runs on the CPU: leave -device out")
	case j.instances() && j.Precision != sam.FP32:
		return fmt.Errorf("-prompts %s computes in fp32: leave -precision out", first)
	case j.instances() && j.stability != 0:
		return fmt.Errorf("-stability does not go with -prompts %s", first)
	case j.instances() && first != "ais" && j.iou != 0:
		return fmt.Errorf("-iou does not go with -prompts %s", first)
	case first == "ais" && j.iou > 1:
		return fmt.Errorf("-iou %g with -prompts ais: no object has so much; want at most 1", j.iou)
	case j.instances() && j.Mirror:
		return fmt.Errorf("-mirror does not go with -prompts %s", first)
	case j.decoder != "" && (!j.instances() || first == "cellpose"):
		return errors.New("-decoder goes with -prompts ais or apg")
	}
	return nil
}

// parseScales reads the lists of the scales' flags.
func parseScales(mpp, prompts, minArea, maxArea, class string) ([]scale, error) {
	out := make([]scale, len(strings.Split(mpp, ",")))
	for _, f := range []struct {
		name, list string
		set        func(s *scale, v string) error
	}{
		{"mpp", mpp, func(s *scale, v string) (err error) {
			if s.mpp, err = strconv.ParseFloat(v, 64); err != nil || !(s.mpp >= 0 && s.mpp <= 1000) {
				err = fmt.Errorf("%q is not micrometres per pixel, want 0 to 1000", v)
			}
			return err
		}},
		{"prompts", prompts, func(s *scale, v string) error {
			if s.prompts = v; v != "nuclei" && v != "grid" && !promptless(v) {
				if strings.HasSuffix(v, "json") {
					return fmt.Errorf("for the boxes, points and outlines of a QuPath file: slidesam refine -annotations %s", v)
				}
				return errors.New("want nuclei, grid, ais, apg or cellpose")
			}
			return nil
		}},
		{"min-area", minArea, func(s *scale, v string) (err error) { s.minArea, err = parseArea(v); return err }},
		{"max-area", maxArea, func(s *scale, v string) (err error) { s.maxArea, err = parseArea(v); return err }},
		{"class", class, func(s *scale, v string) error { s.class = v; return nil }},
	} {
		vs := strings.Split(f.list, ",")
		if len(vs) != 1 && len(vs) != len(out) {
			return nil, fmt.Errorf("-%s %q for %d scales, want one value or one for each", f.name, f.list, len(out))
		}
		for i := range out {
			if err := f.set(&out[i], strings.TrimSpace(vs[i%len(vs)])); err != nil {
				return nil, fmt.Errorf("-%s %q: %w", f.name, f.list, err)
			}
		}
	}
	return out, nil
}

// parseArea reads a number of pixels, or of square micrometres with um2 behind.
func parseArea(s string) (area, error) {
	var a area
	text := s
	for _, unit := range []string{"um2", "µm2", "um^2", "µm^2", "um²", "µm²"} {
		if t, ok := strings.CutSuffix(s, unit); ok {
			text, a.um = strings.TrimSpace(t), true
		}
	}
	var err error
	if a.n, err = strconv.ParseFloat(text, 64); err != nil || !(a.n >= 0 && a.n <= 1<<40) || !a.um && a.n != math.Trunc(a.n) {
		return a, fmt.Errorf("%q: want pixels, or square micrometres as 8um2, 0 or more", s)
	}
	return a, nil
}

func parseRegion(s string) (image.Rectangle, error) {
	if s == "" {
		return image.Rectangle{}, nil
	}
	var v [4]int
	f := strings.Split(s, ",")
	for i := range v {
		if len(f) != 4 {
			return image.Rectangle{}, fmt.Errorf("-region %q, want x,y,w,h", s)
		}
		n, err := strconv.Atoi(strings.TrimSpace(f[i]))
		if err != nil || n < 0 || n > 1<<30 {
			return image.Rectangle{}, fmt.Errorf("-region %q, want x,y,w,h", s)
		}
		v[i] = n
	}
	if v[2] == 0 || v[3] == 0 {
		return image.Rectangle{}, fmt.Errorf("-region %q is empty", s)
	}
	return image.Rect(v[0], v[1], v[0]+v[2], v[1]+v[3]), nil
}

// arrays are the variables of array jobs: index, its first value, number.
var arrays = []struct{ index, first, count string }{
	{"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"},
	{"SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_LAST"},
	{"AWS_BATCH_JOB_ARRAY_INDEX", "", "AWS_BATCH_JOB_ARRAY_SIZE"},
	{"CLOUD_RUN_TASK_INDEX", "", "CLOUD_RUN_TASK_COUNT"},
	{"JOB_COMPLETION_INDEX", "", "JOB_COMPLETIONS"}, // Kubernetes sets the index alone, the template the number
}

// ParseShard reads i/n, auto for the variables of an array job, or nothing,
// which gives 0, 0.
func ParseShard(s string, env func(string) string) (i, n int, err error) {
	switch s {
	case "":
		return 0, 0, nil
	case "auto":
		for _, a := range arrays {
			if env(a.index) == "" || env(a.index) == "undefined" {
				continue
			}
			first := 0
			if v := env(a.first); a.first != "" && v != "" {
				if first, err = strconv.Atoi(v); err != nil {
					return 0, 0, fmt.Errorf("%s is %q", a.first, v)
				}
			}
			i, e1 := strconv.Atoi(env(a.index))
			n, e2 := strconv.Atoi(env(a.count))
			if a.index == "SGE_TASK_ID" { // the last one, not their number
				n -= first - 1
			}
			i -= first
			if e1 != nil || e2 != nil || i < 0 || i >= n {
				return 0, 0, fmt.Errorf("%s is %q, %s is %q: not a part of an array job from 1 step to the next", a.index, env(a.index), a.count, env(a.count))
			}
			return i, n, nil
		}
		return 0, 0, errors.New("-shard auto: no variable of an array job is set (Slurm, Grid Engine, AWS Batch, Cloud Run, Kubernetes); give -shard i/n")
	}
	a, b, ok := strings.Cut(s, "/")
	i, e1 := strconv.Atoi(a)
	n, e2 := strconv.Atoi(b)
	if !ok || e1 != nil || e2 != nil || n < 1 || i < 0 || i >= n {
		return 0, 0, fmt.Errorf("-shard %q, want i/n with i from 0 to n-1", s)
	}
	return i, n, nil
}

// leastNucleus is the area in square micrometres that no nucleus is below,
// nor a part of one worth keeping; a lymphocyte's is about 30.
const leastNucleus = 8

// options are the flags as sam wants them, for slide s and a model's defaults.
func (j *job) options(s *sam.Slide, d sam.Defaults) sam.SegmentOptions {
	o := sam.SegmentOptions{
		Region: j.region, Tile: j.tile, Halo: j.halo, AllTiles: j.all, Tissue: j.tissue, Shard: j.shard, Shards: j.shards,
	}
	for _, sc := range j.scales {
		c := sam.SegmentScale{MPP: sc.mpp, Class: sc.classOr(), Sharpen: j.sharpen && j.Bundled(), Normalise: j.normalise && j.Bundled()}
		own, _ := s.MPP()
		if sc.mpp == 0 {
			c.MPP = d.Resolution(own)
		}
		mpp := cmp.Or(c.MPP, own, 0.5) // as FindNuclei assumes
		c.MinArea, c.MaxArea = sc.minArea.pixels(mpp), sc.maxArea.pixels(mpp)
		c.Everything = sam.EverythingOptions{PredIoUThresh: j.iou, StabilityScoreThresh: j.stability, MinMaskRegionArea: c.MinArea, Local: j.local}
		switch sc.prompts {
		case "ais", "apg", "cellpose":
			c.Everything, c.Disjoint, c.Normalise = sam.EverythingOptions{}, true, false // not measured with it
			if j.Bundled() && c.MinArea == 0 {
				c.MinArea = int(leastNucleus / (mpp * mpp))
			}
		case "nuclei":
			// One mask a point: nuclei have no parts to choose from, and do
			// not overlap.
			c.Find, c.FindName = sam.FindNuclei, "nuclei"
			c.Everything.SingleMask, c.Everything.BoxNMSThresh, c.Disjoint = true, 0.5, true
			if c.MinArea == 0 {
				c.MinArea = int(leastNucleus / (mpp * mpp))
				c.Everything.MinMaskRegionArea = c.MinArea
			}
		default:
			c.Everything.PointsPerSide, c.Everything.CropNLayers = j.points, j.layers
			c.Type = sam.Annotation // few and large, to be edited
		}
		o.Scales = append(o.Scales, c)
	}
	return o
}

// classOr returns the class of the scale's objects.
func (s scale) classOr() string {
	switch {
	case s.class != "auto":
		return s.class
	case s.prompts == "cellpose":
		return "Cell"
	case s.prompts == "grid":
		return ""
	}
	return "Nucleus"
}

// sample is one line of a sheet.
type sample struct{ slide, out string }

// readSheet reads a sheet. Slides are found beside the sheet if their paths are
// relative; out lies in dir if it is relative, and defaults to the slide's name.
func readSheet(path, dir string) ([]sample, error) {
	head, rows, err := sheet.Read(path)
	if err != nil {
		return nil, err
	}
	slide, out := sheet.Column(head, "slide"), sheet.Column(head, "out")
	if slide < 0 {
		return nil, fmt.Errorf("%s: no column slide in %v", path, head)
	}
	var all []sample
	seen := map[string]int{}
	for n, r := range rows {
		s := sample{slide: r[slide]}
		if !filepath.IsAbs(s.slide) && !strings.Contains(s.slide, "://") {
			s.slide = filepath.Join(filepath.Dir(path), s.slide)
		}
		base := wsi.Name(s.slide)
		s.out = filepath.Join(dir, strings.TrimSuffix(base, filepath.Ext(base)))
		if out >= 0 && r[out] != "" {
			if s.out = r[out]; !filepath.IsAbs(s.out) {
				s.out = filepath.Join(dir, s.out)
			}
		}
		if k, dup := seen[s.out]; dup {
			return nil, fmt.Errorf("%s: lines %d and %d write to %s: give them different names in a column out", path, k+2, n+2, s.out)
		}
		seen[s.out] = n
		all = append(all, s)
	}
	return all, nil
}
