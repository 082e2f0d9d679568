package zeroshot

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/dataset"
)

const dataHelp = `a data set, KIND=FOLDER, may be given several times:
monuseg=DIR pannuke=FOLD consep=DIR lizard=DIR conic=DIR nuinsseg=DIR tnbc=DIR glas=DIR neptune=DIR
pairs=IMAGES,MASKS[,MPP]  labels=IMAGES,MASKS[,MPP]  (masks that are binary, or hold instance numbers)
nuclei=IMAGES,MASKS[,MPP]  tumour=IMAGES,MASKS[,MPP]  (as pairs, beside the paper's column of that name)
qupath=IMAGES,ANNOTATIONS[,MPP]  coco=JSON,IMAGES[,MPP]  camelyon16=SLIDES,ANNOTATIONS[,MPP]`

// openData opens what a -data flag names.
func openData(arg string) (eval.Dataset, error) {
	kind, where, ok := strings.Cut(arg, "=")
	if !ok || where == "" {
		return nil, fmt.Errorf("-data %q: want KIND=FOLDER, such as monuseg=MoNuSegTestData", arg)
	}
	one := map[string]func(string) (*dataset.Set, error){
		"monuseg": dataset.MoNuSeg, "pannuke": dataset.PanNuke, "consep": dataset.CoNSeP, "lizard": dataset.Lizard,
		"conic": dataset.CoNIC, "tnbc": dataset.TNBC, "glas": dataset.GlaS, "neptune": dataset.Neptune,
		"nuinsseg": func(dir string) (*dataset.Set, error) { return dataset.NuInsSeg(dir, false) },
	}
	if open, ok := one[kind]; ok {
		return open(where)
	}
	part := strings.Split(where, ",")
	mpp := 0.0
	if len(part) == 3 {
		var err error
		if mpp, err = strconv.ParseFloat(part[2], 64); err != nil || !(mpp > 0) {
			return nil, fmt.Errorf("-data %q: %q is not micrometres per pixel", arg, part[2])
		}
	}
	if len(part) < 2 || len(part) > 3 {
		return nil, fmt.Errorf("-data %q: want two folders and perhaps the micrometres per pixel, with commas", arg)
	}
	switch kind {
	case "pairs", "nuclei", "tumour":
		name := map[string]string{"pairs": "pictures"}[kind]
		if name == "" {
			name = kind // a column of the paper
		}
		return dataset.Pairs(name, part[0], part[1], dataset.MaskBinary, mpp)
	case "labels":
		return dataset.Pairs("pictures", part[0], part[1], dataset.MaskLabels, mpp)
	case "qupath":
		return dataset.QuPath("QuPath", part[0], part[1], dataset.QuPathOptions{MPP: mpp})
	case "coco":
		return dataset.COCO("COCO", part[0], part[1], mpp)
	case "camelyon16":
		if mpp == 0 {
			mpp = eval.MagnificationMPP(0.5) // the paper's
		}
		return dataset.Camelyon16(part[0], part[1], mpp)
	}
	return nil, fmt.Errorf("-data %q: kind %q is not known", arg, kind)
}

// firstOf is a data set cut off after n pictures.
type firstOf struct {
	eval.Dataset
	n int
}

func (f firstOf) Len() int { return min(f.n, f.Dataset.Len()) }
