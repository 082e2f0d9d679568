// Package segment is the command that cuts objects out of a picture, prompted by points and
// boxes.
package segment

import (
	"context"
	"flag"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/draw"
	"github.com/slidesam/sam/weights/bundled"
)

// job is what the flags ask for.
type job struct {
	cli.Model
	picture   string
	file      string // of prompts
	prompts   []prompt
	out       string
	single    bool
	local     bool
	threshold float64
	maxPixels int64
	window    string
}

// Command is segment.
func Command() cli.Command {
	return cli.Command{
		Name: "segment", Usage: "masks for points and boxes on a picture: overlay, PNG, GeoJSON for QuPath",
		Flags: func() *flag.FlagSet { return new(job).flags() },
		Run:   func(ctx context.Context, args []string, stdio cli.IO) error { return run(ctx, args, stdio.Stdout) },
	}
}

func (j *job) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("segment", flag.ContinueOnError)
	j.Register(fs)
	fs.StringVar(&j.picture, "picture", "", "PNG, JPEG or TIFF `file`; default: the bundled picture")
	fs.StringVar(&j.file, "prompts", "", "JSON `file` of prompts, see README.md")
	fs.Var(promptFlag{list: &j.prompts}, "point", "`x,y` inside an object; may be given again")
	fs.Var(promptFlag{list: &j.prompts, box: true}, "box", "`x0,y0,x1,y1` round an object; may be given again")
	fs.StringVar(&j.out, "out", "out", "`folder` for the results")
	fs.BoolVar(&j.single, "single", false, "take the decoder's single mask, not the best of its three")
	fs.BoolVar(&j.local, "local", true, "keep of each mask only what lies in its box, and the pieces that its foreground points are on")
	j.RegisterMirror(fs)
	fs.Float64Var(&j.threshold, "threshold", 0, "logit above which a pixel belongs to a mask")
	fs.Int64Var(&j.maxPixels, "max-pixels", 0, "most `pixels` of a picture that is read; 0: 134 million")
	fs.StringVar(&j.window, "window", "", "`min,max` of 16-bit samples that become black and white, or percentiles such as 1%,99%")
	return fs
}

func parse(args []string) (job, error) {
	var j job
	fs := j.flags()
	if err := cli.Parse(fs, args); err != nil {
		return j, err
	}
	if fs.NArg() > 0 {
		return j, cli.Usagef("unknown argument %q: pictures are given with -picture", fs.Arg(0))
	}
	if j.file != "" {
		ps, err := readPrompts(j.file)
		if err != nil {
			return j, err
		}
		j.prompts = append(j.prompts, ps...)
	}
	switch {
	case len(j.prompts) == 0 && j.picture != "":
		return j, cli.Usagef("no prompt: give -point x,y, -box x0,y0,x1,y1 or -prompts file.json")
	case len(j.prompts) == 0:
		j.prompts = demo()
	}
	return j, nil
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	j, err := parse(args)
	if err != nil {
		return err
	}
	img, err := j.open(stdout)
	if err != nil {
		return err
	}
	start := time.Now()
	m, err := j.Load()
	if err != nil {
		return err
	}
	loaded := time.Now()
	e, err := m.Embed(ctx, img)
	if err != nil {
		return err
	}
	embedded := time.Now()
	objects, err := j.segment(ctx, m, e)
	if err != nil {
		return err
	}
	done := time.Now()
	if err := j.write(img, objects); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "picture %v; on %v: load %v, embed %v, %d prompts %v\n\n", e.PictureSize(), m.Device(), loaded.Sub(start).Round(time.Millisecond),
		embedded.Sub(loaded).Round(time.Millisecond), len(objects), done.Sub(embedded).Round(time.Millisecond))
	tw := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "prompt\tpredicted IoU\tarea (px)\tbounds\tmask\tnote\t")
	for i, o := range objects {
		b := o.mask.Bounds()
		fmt.Fprintf(tw, "%s\t%.3f\t%d\t%d,%d-%d,%d\t%s\t%s\t\n", o.name, o.iou, o.mask.Area(), b.Min.X, b.Min.Y, b.Max.X, b.Max.Y, maskName(i), remark(o, j.doubt(m)))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n%s: the picture with masks and prompts\n%s: outlines for QuPath\n%s: one mask for each prompt\n",
		filepath.Join(j.out, "overlay.png"), filepath.Join(j.out, "masks.geojson"), filepath.Join(j.out, "mask_*.png"))
	return nil
}

// doubt returns the predicted IoU below which the bundled model's masks of regions
// are mostly wrong, see weights/bundled/README.md; 0 for other models, where nobody
// measured it.
func (j job) doubt(m *sam.Model) float32 {
	if !j.Bundled() {
		return 0
	}
	return float32(m.Defaults().PredIoUThresh)
}

// remark says what is odd about a mask; it is empty if nothing is. A predicted
// IoU under doubt is odd.
func remark(o object, doubt float32) string {
	size := o.mask.Size()
	switch area := o.mask.Area(); {
	case area == 0:
		return "empty: nothing was found"
	case area > size.H*size.W*19/20:
		return "nearly the whole picture: nothing was told apart"
	}
	for _, p := range o.prompt.Points {
		if on := o.mask.At(min(int(p.X), size.W-1), min(int(p.Y), size.H-1)); on != (p.Label == sam.Foreground) {
			return fmt.Sprintf("the point %g,%g is on the wrong side", p.X, p.Y)
		}
	}
	if o.iou < doubt {
		return fmt.Sprintf("doubtful: predicted IoU under %.2f", doubt)
	}
	return ""
}

func (j job) open(stdout io.Writer) (image.Image, error) {
	if j.picture == "" {
		return bundled.Picture(), nil
	}
	img, info, err := sam.OpenPictureWith(j.picture, sam.PictureOptions{MaxPixels: j.maxPixels, Window: j.window})
	if err != nil {
		return nil, err
	}
	if info.Orientation != 1 {
		fmt.Fprintf(stdout, "the picture is turned upright, as its orientation %d says: prompts and masks are in that frame\n", info.Orientation)
	}
	for _, w := range info.Warnings {
		fmt.Fprintln(stdout, "warning:", w)
	}
	return img, nil
}

// object is one prompt and the mask it got.
type object struct {
	name   string
	prompt sam.Prompt
	mask   *sam.Mask
	iou    float32
}

func (j job) segment(ctx context.Context, m *sam.Model, e *sam.Embedding) ([]object, error) {
	objects := make([]object, len(j.prompts))
	for _, single := range []bool{false, true} { // both kinds, each in one batch
		var ps []sam.Prompt
		var of []int
		for i, p := range j.prompts {
			if (p.Single || j.single) == single {
				ps, of = append(ps, p.sam()), append(of, i)
			}
		}
		out, err := m.PredictBatch(ctx, e, ps, sam.PredictOptions{SingleMask: single, MaskThreshold: float32(j.threshold), Local: j.local})
		if err != nil {
			return nil, err
		}
		for k, r := range out {
			name := j.prompts[of[k]].Name
			if name == "" {
				name = fmt.Sprint("object ", of[k])
			}
			best := r.Best()
			objects[of[k]] = object{name, ps[k], r.Masks[best], r.IoUPred[best]}
		}
	}
	return objects, nil
}

func maskName(i int) string { return fmt.Sprintf("mask_%d.png", i) }

// removeMasks removes the masks that an earlier run of more prompts left beside
// the first n.
func removeMasks(dir string, n int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		var i int
		if _, err := fmt.Sscanf(e.Name(), "mask_%d.png", &i); err != nil || i < n || e.Name() != maskName(i) || !e.Type().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// write writes all results, each file whole or not at all.
func (j job) write(img image.Image, objects []object) error {
	if err := os.MkdirAll(j.out, 0o755); err != nil {
		return err
	}
	for i, o := range objects {
		if err := atomicfile.Write(filepath.Join(j.out, maskName(i)), o.mask.WritePNG); err != nil {
			return err
		}
	}
	if err := removeMasks(j.out, len(objects)); err != nil {
		return err
	}
	err := atomicfile.Write(filepath.Join(j.out, "masks.geojson"), func(w io.Writer) error { return features(w, objects) })
	if err != nil {
		return err
	}
	overlay, err := paint(img, objects)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(j.out, "overlay.png"), func(w io.Writer) error { return png.Encode(w, overlay) })
}

func features(w io.Writer, objects []object) error {
	fw := sam.NewFeatureWriter(w)
	for _, o := range objects {
		if o.mask.Area() == 0 {
			continue // nothing to outline
		}
		err := fw.Write(sam.Feature{Name: o.name, Geometry: o.mask.Geometry(sam.Frame{}), Measurements: []sam.Measurement{
			{Name: "Predicted IoU", Value: float64(o.iou)}, {Name: "Area px^2", Value: float64(o.mask.Area())},
		}})
		if err != nil {
			return err
		}
	}
	return fw.Close()
}

func paint(img image.Image, objects []object) (image.Image, error) {
	c, err := draw.New(img)
	if err != nil {
		return nil, err
	}
	for i, o := range objects {
		c.Fill(o.mask, draw.Color(i), 0.3)
	}
	for i, o := range objects {
		c.Outline(o.mask, draw.Color(i), 2)
	}
	for i, o := range objects {
		if b := o.prompt.Box; b != nil {
			c.Box(b.X0, b.Y0, b.X1, b.Y1, draw.Color(i), 1)
		}
		for _, p := range o.prompt.Points {
			c.Point(p.X, p.Y, p.Label == sam.Foreground)
		}
	}
	return c.Image(), nil
}
