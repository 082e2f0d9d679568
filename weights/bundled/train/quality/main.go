// Command quality measures a checkpoint, by default the bundled one, through
// the Go code: on synthetic slides of unseen seeds and on real pictures with
// nuclei masks.
//
//	go run ./weights/bundled/train/quality -nuclei DIR/nuclei
//
// DIR/nuclei holds images/NAME.jpg and masks/NAME.jpg, binary at 128. -window
// 800 embeds overlapping parts of 800 x 800 instead of whole pictures. With
// -draw OUT it also writes the real pictures with the masks' outlines to
// OUT/NAME-box.png and OUT/NAME-point.png.
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
	show := flag.String("draw", "", "folder for the real pictures with outlines; none: not drawn")
	flag.Parse()
	if err := run(*path, *nuclei, *show, *pictures, *per, *most, *side); err != nil {
		fmt.Fprintln(os.Stderr, "quality:", err)
		os.Exit(1)
	}
}

func run(path, nuclei, show string, pictures, per, most, side int) error {
	if path == "" {
		path = "bundled"
	}
	m, err := load(path)
	if err != nil {
		return err
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
	for _, k := range []kind{nucleiKind, glandKind, tumourKind} {
		s, err := objects(ctx, m, k, pictures, per)
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

var (
	nucleiKind = kind{"nuclei", bundled.MPP, 30, func(t *synth.Truth) []int32 { return t.Nuclei }}
	glandKind  = kind{"glands", 1.4, 1500, func(t *synth.Truth) []int32 { return t.Glands }}
	tumourKind = kind{"tumour regions", 1.4, 1500, func(t *synth.Truth) []int32 { return components(t.Tumour, t.W, t.H) }}
)

// score is the mean over the objects of a kind.
type score struct {
	kind             string
	n                int
	box, point, best float64 // Dice: one box; one point, mask of best predicted IoU; best of the point's three
	ellipse          float64 // Dice of the ellipse in each box, for which no model is needed
	iouError         float64 // mean absolute error of the predicted IoU, boxes and points
}

func (s score) String() string {
	return fmt.Sprintf("synthetic %s, n %d: box %.3f, point %.3f, best of three %.3f, error of predicted IoU %.3f; inscribed ellipse %.3f",
		s.kind, s.n, s.box, s.point, s.best, s.iouError, s.ellipse)
}

// objects prompts for single objects on slides 1, 2, ... (training has seeds
// from 100000 on), each picture at the kind's scale in the model's frame.
func objects(ctx context.Context, m *sam.Model, k kind, pictures, per int) (score, error) {
	const side = 1024
	s := score{kind: k.name}
	done := 0
	for seed := uint64(1); done < pictures && seed < 200; seed++ {
		slide := synth.New(seed, synth.Options{})
		c := int(12500 / k.mpp) // the middle of the slide
		if _, t := slide.Region(c/8, c/8, side/8, side/8, k.mpp*8); share(t.Tissue) < 0.6 {
			continue
		}
		img, t := slide.Region(c, c, side, side, k.mpp)
		obj := find(k.label(t), side, side, k.least)
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
		pb, err := m.PredictBatch(ctx, e, boxes, sam.PredictOptions{SingleMask: true})
		if err != nil {
			return s, err
		}
		pp, err := m.PredictBatch(ctx, e, points, sam.PredictOptions{})
		if err != nil {
			return s, err
		}
		for i, o := range obj {
			d, iou := o.agree(pb[i].Masks[0])
			s.box += d
			s.iouError += math.Abs(iou-float64(pb[i].IoU[0])) / 2
			best, top := pp[i].Best(), 0.0
			for _, k := range pp[i].Masks {
				d, _ := o.agree(k)
				top = max(top, d)
			}
			d, iou = o.agree(pp[i].Masks[best])
			s.point += d
			s.best += top
			s.iouError += math.Abs(iou-float64(pp[i].IoU[best])) / 2
			s.ellipse += o.ellipse()
			s.n++
		}
	}
	f := 1 / float64(max(1, s.n))
	s.box, s.point, s.best, s.iouError, s.ellipse = s.box*f, s.point*f, s.best*f, s.iouError*f, s.ellipse*f
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
	n                  int
	box, point, single float64 // single: one point, the decoder's single mask
	ellipse, whole     float64 // the ellipse in each box, each whole box
}

func (r row) String() string {
	return fmt.Sprintf("n %d: box %.3f, point %.3f, point (single mask) %.3f; inscribed ellipse %.3f, whole box %.3f",
		r.n, r.box, r.point, r.single, r.ellipse, r.whole)
}

func (r *row) add(o row, f float64) {
	r.n += o.n
	r.box += o.box * f
	r.point += o.point * f
	r.single += o.single * f
	r.ellipse += o.ellipse * f
	r.whole += o.whole * f
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
	got := [3][]bool{}
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
		for k, q := range []struct {
			p      []sam.Prompt
			single bool
		}{{boxes, true}, {points, false}, {points, true}} {
			for chunk := range slices.Chunk(q.p, 64) {
				ps, err := m.PredictBatch(ctx, e, chunk, sam.PredictOptions{SingleMask: q.single})
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
	r := row{n: len(obj), box: dice(got[0], truth), point: dice(got[1], truth), single: dice(got[2], truth)}
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
	r.ellipse, r.whole = dice(el, truth), dice(bx, truth)
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
