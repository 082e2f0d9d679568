package zeroshot

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/dataset"
	"github.com/slidesam/sam/internal/cli"
)

const dataHelp = `a data set, KIND=FOLDER, may be given several times:
monuseg=DIR pannuke=FOLD consep=DIR lizard=DIR conic=DIR nuinsseg=DIR tnbc=DIR glas=DIR neptune=DIR
pairs=IMAGES,MASKS[,MPP]  labels=IMAGES,MASKS[,MPP]  (masks that are binary, or hold instance numbers)
nuclei=IMAGES,MASKS[,MPP]  tumour=IMAGES,MASKS[,MPP]  (as pairs, beside the paper's column of that name)
qupath=IMAGES,ANNOTATIONS[,MPP]  coco=JSON,IMAGES[,MPP]  camelyon16=SLIDES,ANNOTATIONS[,MPP]`

// layouts says how the folders of the kinds look, and what belongs together.
const layouts = `folders:
  monuseg=DIR     the training folder with "Tissue Images" (.tif) and "Annotations" (.xml of ImageScope), or
                  the test folder with both side by side; a picture and its .xml have the same name
  pannuke=FOLD    images.npy, masks.npy and types.npy, also in subfolders images and masks as they unpack
  consep=DIR      one part, Train or Test: Images (.png) and Labels (.mat of the same names)
  lizard=DIR      folders Lizard_Images... (.png), and Labels with a .mat of the same name for each, anywhere below DIR
  conic=DIR       images.npy and labels.npy
  nuinsseg=DIR    a folder for each organ, in it "tissue images" (.png) and "label masks modify" (.tif)
  tnbc=DIR        Slide_01, Slide_02, ... and GT_01, GT_02, ... with pictures of the same names
  glas=DIR        train_1.bmp with train_1_anno.bmp, testA_1.bmp with testA_1_anno.bmp, ...
  neptune=DIR     folders of Omni-Seg, 0_1_dt and the like; in them stains, in these im_1_2.png with im_1_2_mask_distal.png
  pairs, labels, nuclei, tumour=IMAGES,MASKS
                  two folders of pictures (.png, .jpg, .tif, .bmp); a picture and its mask have the same name, extensions
                  aside. Masks of pairs, nuclei and tumour are binary (white is foreground, connected parts are objects),
                  those of labels hold the objects' numbers (grey of 8 or 16 bits, or palette indices)
  qupath=IMAGES,ANNOTATIONS
                  pictures, and GeoJSON of QuPath with the same names (.geojson or .json); objects with an area count
  coco=JSON,IMAGES
                  an instances file of COCO, and the folder that its file names are in
  camelyon16=SLIDES,ANNOTATIONS
                  slides (.tif, .svs) and .xml of ASAP with the same names; normal slides have none
A picture without its mask, and a mask without its picture, is an error that names it.
`

// one are the kinds of one folder.
var one = map[string]func(string) (*dataset.Set, error){
	"monuseg": dataset.MoNuSeg, "pannuke": dataset.PanNuke, "consep": dataset.CoNSeP, "lizard": dataset.Lizard,
	"conic": dataset.CoNIC, "tnbc": dataset.TNBC, "glas": dataset.GlaS, "neptune": dataset.Neptune,
	"nuinsseg": func(dir string) (*dataset.Set, error) { return dataset.NuInsSeg(dir, false) },
}

// two are the kinds of two folders.
var two = []string{"pairs", "labels", "nuclei", "tumour", "qupath", "coco", "camelyon16"}

// checkData checks what a -data flag says before anything is loaded.
func checkData(arg string) error {
	kind, where, ok := strings.Cut(arg, "=")
	if !ok || where == "" {
		return cli.Usagef("-data %q: want KIND=FOLDER, such as monuseg=MoNuSegTestData", arg)
	}
	if one[kind] != nil {
		return nil
	}
	if !slices.Contains(two, kind) {
		return cli.Usagef("-data %q: kind %q is not known, want one of %s", arg, kind, strings.Join(append(slices.Sorted(maps.Keys(one)), two...), ", "))
	}
	if _, _, _, err := cli.Split(arg); err != nil {
		return fmt.Errorf("-data %w", err)
	}
	return nil
}

// openData opens what a -data flag names, which checkData has seen.
func openData(arg string) (eval.Dataset, error) {
	kind, where, _ := strings.Cut(arg, "=")
	if open, ok := one[kind]; ok {
		return open(where)
	}
	if kind != "nuclei" && kind != "tumour" && kind != "camelyon16" {
		d, err := cli.OpenPictures(arg)
		if err != nil {
			return nil, fmt.Errorf("-data %w", err)
		}
		return d, nil
	}
	_, dirs, mpp, err := cli.Split(arg)
	if err != nil {
		return nil, fmt.Errorf("-data %w", err)
	}
	if kind != "camelyon16" {
		return dataset.Pairs(kind, dirs[0], dirs[1], dataset.MaskBinary, mpp) // a column of the paper
	}
	if mpp == 0 {
		mpp = eval.MagnificationMPP(0.5) // the paper's
	}
	return dataset.Camelyon16(dirs[0], dirs[1], mpp)
}

// firstOf is a data set cut off after n pictures.
type firstOf struct {
	eval.Dataset
	n int
}

func (f firstOf) Len() int { return min(f.n, f.Dataset.Len()) }
