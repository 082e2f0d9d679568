// Command quality measures a checkpoint, by default the bundled one, through
// the Go code: on synthetic slides of unseen seeds and on real pictures with
// nuclei masks: whole masks, and those that sam.PredictOptions.Local leaves.
//
//	go run ./weights/bundled/train/quality -nuclei DIR/nuclei
//
// DIR/nuclei holds images/NAME.jpg and masks/NAME.jpg, binary at 128. -window
// 800 embeds overlapping parts of 800 x 800 instead of whole pictures; -mirror
// measures sam.Model.Mirrored, -precision int8 the model in 8 bits; -kinds tumour -first 501 measures
// synthetic tumour regions alone, on slides from 501 on. With -draw OUT it also writes the real pictures
// with the masks' outlines to OUT/NAME-box.png and OUT/NAME-point.png.
//
//	go run ./weights/bundled/train/quality -unprompted -nuclei DIR/nuclei
//	go run ./weights/bundled/train/quality -unprompted -methods nuclei,ais,apg -model model.safetensors -decoder decoder.safetensors
//
// measures what needs no prompt instead, as the slide command does it: points
// by stain, and the bundled instance decoder or another one of train_decoder.py
// and its points; -reduce 4 makes all pictures as coarse.
package main

import (
	"context"
	"flag"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/synth"
	"github.com/slidesam/sam/weights/bundled"
)

func main() {
	path := flag.String("model", "", "checkpoint; none: the bundled one")
	nuclei := flag.String("nuclei", "", "folder with images and masks")
	pictures := flag.Int("pictures", 6, "synthetic pictures of each kind; 0: none")
	per := flag.Int("per", 24, "objects of a synthetic picture")
	most := flag.Int("most", 0, "objects of a real picture, spread over it; 0: all")
	side := flag.Int("window", 0, "pixels per side of overlapping windows, in which real pictures are embedded one by one, enlarged to the model's frame; 0: in one piece")
	mirror := flag.Bool("mirror", false, "measure the mirrored model")
	var precision sam.Precision
	flag.TextVar(&precision, "precision", sam.FP32, "fp32, int8 or fp16weights")
	show := flag.String("draw", "", "folder for the real pictures with outlines; none: not drawn")
	noPrompt := flag.Bool("unprompted", false, "measure what finds nuclei without a prompt instead")
	dec := flag.String("decoder", "", "with -unprompted, the instance decoder of -model; none: the bundled one")
	only := flag.String("methods", "nuclei", "with -unprompted, what to measure, of nuclei, ais and apg")
	first := flag.Int("first", 1, "the first synthetic slide; training has those from 100000 on")
	names := flag.String("kinds", "nuclei,glands,tumour", "kinds of synthetic objects to measure, of nuclei, glands and tumour")
	reduce := flag.Int("reduce", 1, "with -unprompted, how many times coarser pictures are than bundled.MPP: 1 to 8")
	flag.Parse()
	if *reduce < 1 || *reduce > 8 || *reduce > 1 && !*noPrompt {
		fmt.Fprintln(os.Stderr, "quality: -reduce is for -unprompted, and 1 to 8")
		os.Exit(1)
	}
	if *noPrompt && (*mirror || precision != sam.FP32 || *side != 0) || !*noPrompt && *dec != "" {
		fmt.Fprintln(os.Stderr, "quality: -mirror, -precision and -window do not go with -unprompted, -decoder goes with it alone")
		os.Exit(1)
	}
	if *noPrompt {
		var files []string
		for _, f := range []string{*path, *dec} {
			if f != "" {
				files = append(files, f)
			}
		}
		if err := unprompted(context.Background(), files, *only, *nuclei, *show, *pictures, *first, *reduce); err != nil {
			fmt.Fprintln(os.Stderr, "quality:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*path, precision, *nuclei, *show, strings.Split(*names, ","), *pictures, *first, *per, *most, *side, *mirror); err != nil {
		fmt.Fprintln(os.Stderr, "quality:", err)
		os.Exit(1)
	}
}

func run(path string, precision sam.Precision, nuclei, show string, names []string, pictures, first, per, most, side int, mirror bool) error {
	var some []kind
	for _, name := range names {
		k, ok := kinds[name]
		if !ok {
			return fmt.Errorf("kind %q, want nuclei, glands or tumour", name)
		}
		some = append(some, k)
	}
	if path == "" {
		path = "bundled"
	}
	m, err := load(path)
	if err != nil {
		return err
	}
	if m, err = m.On(sam.CPU, precision); err != nil {
		return err
	}
	if mirror {
		m = m.Mirrored()
	}
	ctx := context.Background()
	if nuclei != "" {
		files, err := filepath.Glob(filepath.Join(nuclei, "images", "*.jpg"))
		if err != nil {
			return err
		}
		var sum row
		for _, f := range files {
			img, truth, err := readPair(f, filepath.Join(nuclei, "masks", filepath.Base(f)))
			if err != nil {
				return err
			}
			r, masks, err := union(ctx, m, img, truth, most, side)
			if err != nil {
				return err
			}
			if show != "" {
				name := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
				for i, what := range []string{"box", "point"} {
					if err := outlines(filepath.Join(show, name+"-"+what+".png"), img, masks[i]); err != nil {
						return err
					}
				}
			}
			fmt.Println(filepath.Base(f), r)
			sum.add(r, 1/float64(len(files)))
		}
		fmt.Println("mean of", len(files), "pictures:", sum)
	}
	if pictures == 0 {
		return nil
	}
	for _, k := range some {
		s, err := objects(ctx, m, k, pictures, first, per)
		if err != nil {
			return err
		}
		fmt.Println(s)
	}
	return nil
}

func load(path string) (*sam.Model, error) {
	if path != "bundled" {
		return sam.Load(path)
	}
	return sam.Bundled()
}

// kind is a kind of object on synthetic slides.
type kind struct {
	name  string
	mpp   float64
	least int // pixels
	label func(t *synth.Truth) []int32
}

var kinds = map[string]kind{
	"nuclei": {"nuclei", bundled.MPP, 30, func(t *synth.Truth) []int32 { return t.Nuclei }},
	"glands": {"glands", 1.4, 1500, func(t *synth.Truth) []int32 { return t.Glands }},
	"tumour": {"tumour regions", 1.4, 1500, func(t *synth.Truth) []int32 { return components(t.Tumour, t.W, t.H) }},
}

// answer is Dice with the truth, or its mean: one box; one point, mask of best
// predicted IoU, and the decoder's single mask.
type answer struct{ box, point, single float64 }

func (a answer) String() string {
	return fmt.Sprintf("box %.3f, point %.3f, point (single mask) %.3f", a.box, a.point, a.single)
}

// asked is how the three are asked for.
var asked = []struct{ box, single bool }{{true, true}, {false, false}, {false, true}}

// score is the mean over the objects of a kind.
type score struct {
	kind         string
	n            int
	whole, local answer     // local: with PredictOptions.Local
	best         [2]float64 // Dice of the best of the point's three masks, whole and local
	iouError     [2]float64 // mean absolute error of the predicted IoU of boxes and points, likewise
	ellipse      float64    // Dice of the ellipse in each box, for which no model is needed
}

func (s score) String() string {
	return fmt.Sprintf("synthetic %s, n %d: %v, error of predicted IoU %.3f; Local: %v, error %.3f; best of three %.3f, with Local %.3f; inscribed ellipse %.3f",
		s.kind, s.n, s.whole, s.iouError[0], s.local, s.iouError[1], s.best[0], s.best[1], s.ellipse)
}

// objects prompts for single objects on slides first, first + 1, ..., each
// picture at the kind's scale in the model's frame.
func objects(ctx context.Context, m *sam.Model, k kind, pictures, first, per int) (score, error) {
	s := score{kind: k.name}
	done := 0
	for seed := uint64(first); done < pictures && seed < uint64(first)+200; seed++ {
		img, t := middle(seed, k.mpp)
		if img == nil {
			continue
		}
		obj := find(k.label(t), t.W, t.H, k.least)
		if len(obj) == 0 {
			continue
		}
		done++
		obj = spread(obj, per)
		e, err := m.Embed(ctx, img)
		if err != nil {
			return s, err
		}
		boxes, points := prompts(obj, image.Point{})
		var got [2][3][]*sam.Prediction // whole and local masks, as asked
		for i := range got {
			for j, a := range asked {
				ps := points
				if a.box {
					ps = boxes
				}
				if got[i][j], err = m.PredictBatch(ctx, e, ps, sam.PredictOptions{SingleMask: a.single, Local: i == 1}); err != nil {
					return s, err
				}
			}
		}
		for i, o := range obj {
			for l, a := range []*answer{&s.whole, &s.local} {
				for j, sum := range []*float64{&a.box, &a.point, &a.single} {
					p := got[l][j][i]
					d, iou := o.agree(p.Masks[p.Best()])
					*sum += d
					if j < 2 {
						s.iouError[l] += math.Abs(iou-float64(p.IoUPred[p.Best()])) / 2
					}
				}
			}
			for l := range s.best {
				top := 0.0
				for _, mask := range got[l][1][i].Masks {
					d, _ := o.agree(mask)
					top = max(top, d)
				}
				s.best[l] += top
			}
			s.ellipse += o.ellipse()
			s.n++
		}
	}
	f := 1 / float64(max(1, s.n))
	for _, v := range []*float64{
		&s.whole.box, &s.whole.point, &s.whole.single, &s.iouError[0],
		&s.local.box, &s.local.point, &s.local.single, &s.iouError[1], &s.best[0], &s.best[1], &s.ellipse,
	} {
		*v *= f
	}
	return s, nil
}

func share(b []bool) float64 {
	n := 0
	for _, v := range b {
		if v {
			n++
		}
	}
	return float64(n) / float64(max(1, len(b)))
}

// row is the union Dice of one real picture, beside what needs no model.
type row struct {
	n            int
	whole, local answer  // local: with PredictOptions.Local
	ellipse, box float64 // the ellipse in each box, each box itself
}

func (r row) String() string {
	return fmt.Sprintf("n %d: %v; Local: %v; inscribed ellipse %.3f, whole box %.3f", r.n, r.whole, r.local, r.ellipse, r.box)
}

func (r *row) add(o row, f float64) {
	r.n += o.n
	r.whole.box += o.whole.box * f
	r.whole.point += o.whole.point * f
	r.local.box += o.local.box * f
	r.local.point += o.local.point * f
	r.whole.single += o.whole.single * f
	r.local.single += o.local.single * f
	r.ellipse += o.ellipse * f
	r.box += o.box * f
}

// union prompts for every 4-connected component of at least 10 pixels and
// compares the union of the answers with the truth. It also returns the masks:
// those of boxes and the best ones of points. The picture is embedded in
// windows of side pixels, see windows.
func union(ctx context.Context, m *sam.Model, img image.Image, truth []bool, most, side int) (row, [2][]*sam.Mask, error) {
	var masks [2][]*sam.Mask
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	obj := find(components(truth, w, h), w, h, 10)
	if most > 0 && len(obj) > most { // spread over the picture; the truth shrinks to them
		obj = spread(obj, most)
		truth = make([]bool, w*h)
		for _, o := range obj {
			for _, i := range o.pix {
				truth[i] = true
			}
		}
	}
	got := [2 * 3][]bool{}
	for i := range got {
		got[i] = make([]bool, w*h)
	}
	for _, v := range windows(img.Bounds(), side, obj) {
		if len(v.obj) == 0 {
			continue
		}
		e, err := m.Embed(ctx, part(img, v.Rectangle))
		if err != nil {
			return row{}, masks, err
		}
		at := v.Min.Sub(img.Bounds().Min)
		boxes, points := prompts(v.obj, at)
		for k := range got {
			a, all := asked[k%3], points
			if a.box {
				all = boxes
			}
			for chunk := range slices.Chunk(all, 64) {
				ps, err := m.PredictBatch(ctx, e, chunk, sam.PredictOptions{SingleMask: a.single, Local: k >= 3})
				if err != nil {
					return row{}, masks, err
				}
				for _, p := range ps {
					best, err := p.Masks[p.Best()].Place(sam.Size{H: h, W: w}, at)
					if err != nil {
						return row{}, masks, err
					}
					fill(got[k], best)
					if k < len(masks) {
						masks[k] = append(masks[k], best)
					}
				}
			}
		}
	}
	r := row{n: len(obj), whole: answer{dice(got[0], truth), dice(got[1], truth), dice(got[2], truth)},
		local: answer{dice(got[3], truth), dice(got[4], truth), dice(got[5], truth)}}
	el, bx := make([]bool, w*h), make([]bool, w*h)
	for _, o := range obj {
		b := o.box
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				bx[y*w+x] = true
				el[y*w+x] = el[y*w+x] || inEllipse(b, x, y)
			}
		}
	}
	r.ellipse, r.box = dice(el, truth), dice(bx, truth)
	return r, masks, nil
}

// fill sets the pixels of a mask in dst, row by row.
func fill(dst []bool, m *sam.Mask) {
	w, b := m.Size().W, m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if m.At(x, y) {
				dst[y*w+x] = true
			}
		}
	}
}
