package dataset

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

// MoNuSeg opens the nuclei of the MICCAI 2018 challenge: the training folder
// with "Tissue Images" (.tif) and "Annotations" (.xml of Aperio ImageScope), or
// the test folder with both side by side; 1000 x 1000 at 40x. Each region is a
// nucleus. The patient is the group.
func MoNuSeg(dir string) (*Set, error) {
	s := &Set{name: "MoNuSeg"}
	in, xmls := filepath.Join(dir, "Tissue Images"), filepath.Join(dir, "Annotations")
	if !isDir(in) {
		in, xmls = dir, dir
	}
	pics, err := files(in, pictureExts...)
	if err != nil {
		return nil, s.wrap(err)
	}
	notes, err := files(xmls, ".xml")
	if err != nil {
		return nil, s.wrap(err)
	}
	by, err := partners(pics, notes, "annotation (.xml)")
	if err != nil {
		return nil, s.wrap(fmt.Errorf("%s: %w", dir, err))
	}
	for _, f := range pics {
		s.add(eval.Item{ID: stem(f), Group: patient(stem(f))}, func(context.Context) (*eval.Picture, error) {
			list, err := openXML(by[f], parseAperio)
			if err != nil {
				return nil, err
			}
			return outlined(f, by[f], list, 0.25)
		})
	}
	return s.finish(dir, `"Tissue Images"/*.tif and Annotations/*.xml, or *.tif and *.xml`)
}

// outlined reads a picture and paints the outlines of its annotation file.
func outlined(img, notes string, list []outline, mpp float64) (*eval.Picture, error) {
	p := &eval.Picture{MPP: mpp}
	var err error
	if p.Image, err = readPicture(img); err != nil {
		return nil, err
	}
	b := p.Image.Bounds()
	if p.Truth, err = paintAll(b.Dy(), b.Dx(), list); err != nil {
		return nil, fmt.Errorf("%s: %w", notes, err)
	}
	return p, nil
}

// camelyonNormal are the names of slides without tumour, which have no
// annotations.
var camelyonNormal = regexp.MustCompile(`(?i)normal`)

// Camelyon16 opens slides (.tif, .svs) and their ASAP annotations (.xml of the
// same names) and reads each slide whole at mpp micrometres per pixel; the
// paper's tumour task has 20, that is 0.5x. The groups _0, _1 and Tumor are
// tumour, _2 and Exclusion are cut out again, other groups are left out;
// instances are connected parts. A slide without annotations is an error
// unless its name says normal; so is a slide whose pixel size is not known.
func Camelyon16(slides, annotations string, mpp float64) (*Set, error) {
	s := &Set{name: "CAMELYON16"}
	list, err := files(slides, ".tif", ".tiff", ".svs")
	if err != nil {
		return nil, s.wrap(err)
	}
	if !(mpp > 0) {
		return nil, s.wrap(fmt.Errorf("%g micrometres per pixel", mpp))
	}
	for _, f := range list {
		notes := filepath.Join(annotations, stem(f)+".xml")
		if !isFile(notes) {
			if !camelyonNormal.MatchString(stem(f)) {
				return nil, s.wrap(fmt.Errorf("%w: no %s for %s", ErrLayout, notes, f))
			}
			notes = ""
		}
		s.add(eval.Item{ID: stem(f)}, func(ctx context.Context) (*eval.Picture, error) {
			return wholeSlide(ctx, f, notes, mpp)
		})
	}
	return s.finish(slides, "slides such as tumor_001.tif, with tumor_001.xml in "+annotations)
}

func wholeSlide(ctx context.Context, path, notes string, mpp float64) (*eval.Picture, error) {
	sl, err := sam.OpenSlide(path)
	if err != nil {
		return nil, err
	}
	defer sl.Close()
	size, err := sl.SizeAt(mpp)
	if err != nil {
		return nil, err
	}
	w, h := size.W, size.H
	if w <= 0 || h <= 0 || w > maxPixels/h {
		return nil, fmt.Errorf("%w: %s: %d x %d pixels at %g micrometres, at most %d in all are read", ErrFormat, path, w, h, mpp, maxPixels)
	}
	img, err := sl.ReadAt(ctx, mpp, image.Rect(0, 0, w, h))
	if err != nil {
		return nil, err
	}
	opaque(img)
	p := &eval.Picture{Image: img, MPP: mpp, Truth: eval.NewLabels(sam.Size{H: h, W: w})}
	if notes == "" {
		return p, nil
	}
	list, err := openXML(notes, parseASAP)
	if err != nil {
		return nil, err
	}
	level0, _ := sl.MPP()
	var in, out orb.MultiPolygon
	for _, o := range list {
		switch strings.ToLower(o.group) {
		case "_0", "_1", "tumor", "tumour":
			in = append(in, scaled(o.area, level0/mpp)...)
		case "_2", "exclusion":
			out = append(out, scaled(o.area, level0/mpp)...)
		}
	}
	// each polygon by itself: one inside another adds, and does not cut out
	for _, a := range in {
		if err := paint(p.Truth, 1, orb.MultiPolygon{a}); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrFormat, notes, err)
		}
	}
	for _, a := range out {
		if err := paint(p.Truth, 0, orb.MultiPolygon{a}); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrFormat, notes, err)
		}
	}
	p.Truth = eval.Parts(p.Truth.Mask())
	return p, nil
}

// opaque puts white beneath what a slide leaves transparent.
func opaque(img *image.RGBA) {
	for i := 0; i+3 < len(img.Pix); i += 4 {
		if a := img.Pix[i+3]; a != 255 { // premultiplied
			for c := range 3 {
				img.Pix[i+c] = uint8(min(255, int(img.Pix[i+c])+255-int(a)))
			}
			img.Pix[i+3] = 255
		}
	}
}
