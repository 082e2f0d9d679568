package dataset

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/slidesam/sam/eval"
)

// MaskKind says what the values of mask pictures mean.
type MaskKind string

const (
	// MaskBinary is foreground nearer to white than to black; instances are
	// its connected parts.
	MaskBinary MaskKind = "binary"
	// MaskLabels holds instance numbers: grey of 8 or 16 bits, or palette
	// indices.
	MaskLabels MaskKind = "labels"
)

// Pairs opens two folders of pictures (.png, .jpg, .tif, .bmp) with the same
// file names, extensions aside. Mpp is the micrometres per pixel, 0 if not
// known.
func Pairs(name, images, masks string, kind MaskKind, mpp float64) (*Set, error) {
	s := &Set{name: name}
	if kind != MaskBinary && kind != MaskLabels {
		return nil, s.wrap(fmt.Errorf("mask kind %q, want %q or %q", kind, MaskBinary, MaskLabels))
	}
	pics, err := files(images, pictureExts...)
	if err != nil {
		return nil, s.wrap(err)
	}
	ms, err := files(masks, pictureExts...)
	if err != nil {
		return nil, s.wrap(err)
	}
	by, err := partners(pics, ms, "mask")
	if err != nil {
		return nil, s.wrap(fmt.Errorf("%s and %s: %w", images, masks, err))
	}
	for _, f := range pics {
		s.add(eval.Item{ID: stem(f), Group: patient(stem(f))}, pair(f, by[f], kind, mpp))
	}
	return s.finish(images, "pictures and masks of the same names")
}

// pair loads a picture and its mask.
func pair(img, mask string, kind MaskKind, mpp float64) func(context.Context) (*eval.Picture, error) {
	return func(context.Context) (*eval.Picture, error) {
		p := &eval.Picture{MPP: mpp}
		var err error
		if p.Image, err = readPicture(img); err != nil {
			return nil, err
		}
		m, err := readMask(mask)
		if err != nil {
			return nil, err
		}
		if kind == MaskBinary {
			p.Truth = eval.Parts(maskOf(m))
		} else if p.Truth, err = labelsOf(m); err != nil {
			return nil, fmt.Errorf("%s: %w", mask, err)
		}
		return p, nil
	}
}

// tcga is a barcode of The Cancer Genome Atlas; its first three parts name
// the patient.
var tcga = regexp.MustCompile(`^(TCGA-[A-Za-z0-9]{2}-[A-Za-z0-9]{4})-`)

// patient returns the patient of a TCGA picture, "" for others.
func patient(name string) string {
	if m := tcga.FindStringSubmatch(name); m != nil {
		return strings.ToUpper(m[1])
	}
	return ""
}

// TNBC opens the nuclei of triple-negative breast cancer of Naylor et al.
// (Zenodo 1175282): Slide_01, Slide_02 ... and GT_01, GT_02 ... with pictures
// of the same names, 512 x 512 at 40x. Each slide is a group.
func TNBC(dir string) (*Set, error) {
	s := &Set{name: "TNBC"}
	subs, err := folders(dir)
	if err != nil {
		return nil, s.wrap(err)
	}
	for _, sub := range subs {
		n, ok := strings.CutPrefix(filepath.Base(sub), "Slide_")
		if !ok {
			continue
		}
		gt := filepath.Join(dir, "GT_"+n)
		pics, err := files(sub, ".png")
		if err != nil {
			return nil, s.wrap(err)
		}
		masks, err := files(gt, ".png")
		if err != nil {
			return nil, s.wrap(fmt.Errorf("want masks of %s in %s: %w", sub, gt, err))
		}
		by, err := partners(pics, masks, "mask")
		if err != nil {
			return nil, s.wrap(fmt.Errorf("%s and %s: %w", sub, gt, err))
		}
		for _, f := range pics {
			s.add(eval.Item{ID: "Slide_" + n + "/" + stem(f), Group: "Slide_" + n}, pair(f, by[f], MaskBinary, 0.25))
		}
	}
	return s.finish(dir, "Slide_01/*.png and GT_01/*.png and so on")
}

// GlaS opens the glands of the MICCAI 2015 challenge: train_1.bmp ... with
// train_1_anno.bmp ..., testA and testB, one number per gland, 0.62
// micrometres. The part of the file name before the number is the task.
func GlaS(dir string) (*Set, error) {
	s := &Set{name: "GlaS"}
	list, err := files(dir, ".bmp")
	if err != nil {
		return nil, s.wrap(err)
	}
	for _, f := range list {
		if strings.HasSuffix(stem(f), "_anno") {
			continue
		}
		anno := filepath.Join(dir, stem(f)+"_anno.bmp")
		if !isFile(anno) {
			return nil, s.wrap(fmt.Errorf("%w: no %s for %s", ErrLayout, anno, f))
		}
		task, _, _ := strings.Cut(stem(f), "_")
		s.add(eval.Item{ID: stem(f), Task: task}, pair(f, anno, MaskLabels, 0.62))
	}
	return s.finish(dir, "train_1.bmp with train_1_anno.bmp and so on")
}

// NuInsSeg opens the nuclei of 31 organs of Mahbod et al.: a folder per organ
// with "tissue images" (.png) and "label masks modify" (.tif), 512 x 512 at
// 40x. The organ is the group and, with byOrgan, the task.
func NuInsSeg(dir string, byOrgan bool) (*Set, error) {
	s := &Set{name: "NuInsSeg"}
	organs, err := folders(dir)
	if err != nil {
		return nil, s.wrap(err)
	}
	for _, organ := range organs {
		in, out := filepath.Join(organ, "tissue images"), filepath.Join(organ, "label masks modify")
		if !isDir(in) {
			continue
		}
		pics, err := files(in, ".png")
		if err != nil {
			return nil, s.wrap(err)
		}
		masks, err := files(out, ".tif")
		if err != nil {
			return nil, s.wrap(fmt.Errorf("want label pictures in %s: %w", out, err))
		}
		by, err := partners(pics, masks, "label picture")
		if err != nil {
			return nil, s.wrap(fmt.Errorf("%s: %w", organ, err))
		}
		name := filepath.Base(organ)
		for _, f := range pics {
			item := eval.Item{ID: name + "/" + stem(f), Group: name}
			if byOrgan {
				item.Task = name
			}
			s.add(item, pair(f, by[f], MaskLabels, 0.25))
		}
	}
	return s.finish(dir, `folders of organs with "tissue images" and "label masks modify"`)
}

// neptuneFolder is task, scale and name of a folder of Omni-Seg's test set.
var neptuneFolder = regexp.MustCompile(`^(\d)_([0-3])_([A-Za-z0-9]+)$`)

// Neptune opens the NEPTUNE kidney patches in the layout of Omni-Seg: folders
// named task_scale_name (0_1_dt, 1_1_pt, 2_0_capsule, 3_0_tuft, 4_1_vessel,
// 5_3_ptc; scale 0, 1, 2, 3 is 5x, 10x, 20x, 40x), below them stains, in these
// im_1_2.png with im_1_2_mask_distal.png and the like. The folder's name is the
// task. A picture whose mask is missing is an error.
func Neptune(dir string) (*Set, error) {
	s := &Set{name: "NEPTUNE"}
	tasks, err := folders(dir)
	if err != nil {
		return nil, s.wrap(err)
	}
	for _, task := range tasks {
		m := neptuneFolder.FindStringSubmatch(filepath.Base(task))
		if m == nil {
			continue
		}
		mpp := eval.MagnificationMPP([]float64{5, 10, 20, 40}[m[2][0]-'0'])
		stains, err := folders(task)
		if err != nil {
			return nil, s.wrap(err)
		}
		for _, stain := range append([]string{task}, stains...) {
			if err := s.neptuneStain(task, stain, m[3], mpp); err != nil {
				return nil, s.wrap(err)
			}
		}
	}
	return s.finish(dir, "folders such as 5_3_ptc with pictures im_1_2.png and im_1_2_mask_PTC_lumen.png")
}

func (s *Set) neptuneStain(task, stain, name string, mpp float64) error {
	list, err := files(stain, ".png")
	if err != nil {
		return err
	}
	masks := map[string]string{}
	var pics []string
	for _, f := range list {
		if before, _, ok := strings.Cut(stem(f), "_mask"); ok {
			if other, twice := masks[before]; twice {
				return fmt.Errorf("%w: both %s and %s are masks of %s", ErrLayout, other, f, before)
			}
			masks[before] = f
		} else {
			pics = append(pics, f)
		}
	}
	for _, f := range pics {
		mask, ok := masks[stem(f)]
		if !ok {
			return fmt.Errorf("%w: no %s_mask_*.png in %s", ErrLayout, stem(f), stain)
		}
		delete(masks, stem(f))
		id := filepath.Base(task) + "/"
		if stain != task {
			id += filepath.Base(stain) + "/"
		}
		s.add(eval.Item{ID: id + stem(f), Task: name}, pair(f, mask, MaskBinary, mpp))
	}
	for _, m := range masks {
		return fmt.Errorf("%w: no picture for %s", ErrLayout, m)
	}
	return nil
}
