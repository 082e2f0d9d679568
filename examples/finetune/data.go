package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/dataset"
)

// openData opens what a -data or -test flag names.
func openData(arg string) (eval.Dataset, error) {
	kind, where, _ := strings.Cut(arg, "=")
	part := strings.Split(where, ",")
	if len(part) < 2 || len(part) > 3 {
		return nil, fmt.Errorf("%q: want KIND=FOLDER,FOLDER and perhaps the micrometres per pixel", arg)
	}
	mpp := 0.0
	if len(part) == 3 {
		var err error
		if mpp, err = strconv.ParseFloat(part[2], 64); err != nil || !(mpp > 0) {
			return nil, fmt.Errorf("%q: %q is not micrometres per pixel", arg, part[2])
		}
	}
	switch kind {
	case "pairs":
		return dataset.Pairs("pictures", part[0], part[1], dataset.MaskBinary, mpp)
	case "labels":
		return dataset.Pairs("pictures", part[0], part[1], dataset.MaskLabels, mpp)
	case "qupath":
		return dataset.QuPath("QuPath", part[0], part[1], dataset.QuPathOptions{MPP: mpp})
	case "coco":
		return dataset.COCO("COCO", part[0], part[1], mpp)
	}
	return nil, fmt.Errorf("%q: kind %q is not known", arg, kind)
}

// pictures is a data set in memory.
type pictures struct {
	name string
	list []*eval.Picture
}

func (p *pictures) Name() string         { return p.name }
func (p *pictures) Len() int             { return len(p.list) }
func (p *pictures) Item(i int) eval.Item { return p.list[i].Item }

func (p *pictures) Load(ctx context.Context, i int) (*eval.Picture, error) {
	return p.list[i], ctx.Err()
}

// load reads all pictures of data sets.
func load(ctx context.Context, name string, sets []eval.Dataset) (*pictures, error) {
	out := &pictures{name: name}
	for _, d := range sets {
		for i := range d.Len() {
			p, err := d.Load(ctx, i)
			if err != nil {
				return nil, err
			}
			out.list = append(out.list, p)
		}
	}
	return out, nil
}

// read fills the fields to learn from and what is measured on.
func (j *job) read(ctx context.Context) error {
	var learn, test []eval.Dataset
	open := func(dst *[]eval.Dataset, args []string) error {
		for _, a := range args {
			d, err := openData(a)
			if err != nil {
				return err
			}
			*dst = append(*dst, d)
		}
		return nil
	}
	if err := open(&learn, j.data); err != nil {
		return fmt.Errorf("-data %w", err)
	}
	if err := open(&test, j.test); err != nil {
		return fmt.Errorf("-test %w", err)
	}
	if j.slide != "" {
		o := dataset.SlideOptions{QuPathOptions: dataset.QuPathOptions{MPP: j.mpp}}
		d, err := dataset.QuPathSlide("slide", j.slide, j.annotations, o)
		if err != nil {
			return err
		}
		learn = append(learn, d)
	}
	if len(learn) == 0 {
		learn, test = []eval.Dataset{dark(trainSlides)}, append(test, dark(testSlides))
	}
	var err error
	if j.learn, err = load(ctx, "fields", learn); err != nil {
		return err
	}
	for _, p := range j.learn.list {
		f, ids, err := field(p)
		if err != nil {
			return err
		}
		j.fields, j.ids = append(j.fields, f), append(j.ids, ids)
		j.objects += len(f.Objects)
	}
	if len(test) > 0 {
		j.tests, err = load(ctx, "test", test)
	}
	return err
}

// field is what fine-tuning learns of a picture, and the objects' numbers in
// its truth.
func field(p *eval.Picture) (f sam.TrainingField, ids []int32, err error) {
	f = sam.TrainingField{Name: p.ID, Image: p.Image}
	size := sam.Size{H: p.Truth.H, W: p.Truth.W}
	for _, id := range p.Truth.Pix {
		if id != 0 && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		m, err := sam.NewMask(size, func(x, y int) bool { return p.Truth.Pix[y*size.W+x] == id })
		if err != nil {
			return f, nil, err
		}
		f.Objects = append(f.Objects, m)
	}
	return f, ids, nil
}

// heldBack is the fields with nothing but the objects that only measured.
func (j *job) heldBack() *pictures {
	out := &pictures{name: "held back"}
	for i, p := range j.learn.list {
		keep := map[int32]bool{}
		for _, k := range j.tuned.HeldBack[i] {
			keep[j.ids[i][k]] = true
		}
		if len(keep) == 0 {
			continue
		}
		q := *p
		q.Truth = eval.NewLabels(sam.Size{H: p.Truth.H, W: p.Truth.W})
		for k, id := range p.Truth.Pix {
			if keep[id] {
				q.Truth.Pix[k] = id
			}
		}
		out.list = append(out.list, &q)
	}
	return out
}
