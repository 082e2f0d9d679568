package wholeslide

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"

	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/wsi"
)

const (
	stainField  = 128 // side of a field in which stains are looked at, in pixels of level 0
	stainFields = 64  // at most
)

// TissueFields returns squares of level 0, spread evenly over the slide's tissue,
// whatever part of it is searched; none if there is no tissue. Those that cannot be
// read are left out: it matters only if they are searched.
func TissueFields(ctx context.Context, s *wsi.Slide) ([]*image.RGBA, error) {
	tissue, err := Tissue(ctx, s)
	if err != nil {
		return nil, err
	}
	l, size := s.Levels()[0], tissue.Size()
	cols, rows := (l.W-1)/stainField+1, (l.H-1)/stainField+1
	var cells []int
	for k := range cols * rows {
		x, y := min(k%cols*stainField+stainField/2, l.W-1), min(k/cols*stainField+stainField/2, l.H-1)
		if tissue.At(int(float64(x)/float64(l.W)*float64(size.W)), int(float64(y)/float64(l.H)*float64(size.H))) {
			cells = append(cells, k)
		}
	}
	var fields []*image.RGBA
	for i := range min(len(cells), stainFields) {
		k := cells[(2*i+1)*len(cells)/(2*min(len(cells), stainFields))]
		x, w := shift(k%cols*stainField, stainField, l.W)
		y, h := shift(k/cols*stainField, stainField, l.H)
		img := image.NewRGBA(image.Rect(0, 0, w, h))
		var bad *wsi.TileError
		if err := s.ReadRegion(ctx, 0, image.Pt(x, y), img); errors.As(err, &bad) && ctx.Err() == nil {
			continue
		} else if err != nil {
			return nil, err
		}
		wsi.OnWhite(img)
		fields = append(fields, img)
	}
	return fields, nil
}

// findStains returns the stains of a slide, from fields of its tissue. They are
// rounded, so that rounding of the arithmetic does not show in what a run is known by.
//
// The error wraps histology.ErrNoStains if they are not haematoxylin and eosin.
func findStains(ctx context.Context, s *wsi.Slide) (v histology.StainVectors, err error) {
	fields, err := TissueFields(ctx, s)
	if err != nil {
		return v, err
	}
	if v, err = histology.FindStainVectors(fields); err != nil {
		return v, err
	}
	for c := range 3 {
		v.Haematoxylin[c], v.Eosin[c] = math.Round(1000*v.Haematoxylin[c])/1000, math.Round(1000*v.Eosin[c])/1000
	}
	return v, nil
}

// normalise finds the slide's stains if a scale asks for it. A slide with stains
// near those of the training set, or without haematoxylin and eosin, is searched as it
// is; of the latter, and of one that is normalised, the plan says so.
func (p *Plan) normalise(ctx context.Context, s *wsi.Slide) error {
	var found *histology.StainVectors
	looked := false
	for _, q := range p.scales {
		if !q.Normalise {
			continue
		}
		if !looked {
			looked = true
			v, err := findStains(ctx, s)
			switch {
			case errors.Is(err, histology.ErrNoStains):
				p.doubts = append(p.doubts, "the slide was searched in the colours that it has, which the model may not know: "+err.Error())
			case err != nil:
				return err
			case !v.Known():
				found = &v
				h, e := v.Off(histology.TrainingStains)
				p.notes = append(p.notes, fmt.Sprintf("the slide's haematoxylin and eosin are %.0f and %.0f degrees from those that the model learned: they were normalised before it was searched", h, e))
			}
		}
		q.stains = found
	}
	return nil
}
