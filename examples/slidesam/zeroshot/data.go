package zeroshot

import (
	"fmt"
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
