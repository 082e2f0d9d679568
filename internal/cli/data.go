package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/dataset"
)

// DataHelp says what [OpenPictures] takes.
const DataHelp = `KIND=FOLDERS, may be given several times:
pairs=IMAGES,MASKS[,MPP]  labels=IMAGES,MASKS[,MPP]  (masks that are binary, or hold instance numbers)
qupath=IMAGES,ANNOTATIONS[,MPP]  coco=JSON,IMAGES[,MPP]`

// Split takes a data set's argument apart, KIND=FOLDER,FOLDER with perhaps the
// micrometres per pixel, 0 if they are not given. Errors are UsageErrors.
func Split(arg string) (kind string, folders [2]string, mpp float64, err error) {
	kind, where, _ := strings.Cut(arg, "=")
	part := strings.Split(where, ",")
	if len(part) < 2 || len(part) > 3 {
		return "", folders, 0, Usagef("%q: want two folders and perhaps the micrometres per pixel, with commas, such as labels=fields,labels,0.25", arg)
	}
	if len(part) == 3 {
		if mpp, err = strconv.ParseFloat(part[2], 64); err != nil || !(mpp > 0) {
			return "", folders, 0, Usagef("%q: %q is not micrometres per pixel", arg, part[2])
		}
	}
	return kind, [2]string(part[:2]), mpp, nil
}

// OpenPictures opens annotated pictures as a flag names them: any of the kinds
// of DataHelp.
func OpenPictures(arg string) (eval.Dataset, error) {
	kind, dirs, mpp, err := Split(arg)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "pairs":
		return dataset.Pairs("pictures", dirs[0], dirs[1], dataset.MaskBinary, mpp)
	case "labels":
		return dataset.Pairs("pictures", dirs[0], dirs[1], dataset.MaskLabels, mpp)
	case "qupath":
		return dataset.QuPath("QuPath", dirs[0], dirs[1], dataset.QuPathOptions{MPP: mpp})
	case "coco":
		return dataset.COCO("COCO", dirs[0], dirs[1], mpp)
	}
	return nil, Usagef("%q: kind %q is not known", arg, kind)
}

// Loss returns the loss that -loss names.
func Loss(name string) (sam.FineTuneLoss, error) {
	switch name {
	case "sam":
		return sam.LossSAM, nil
	case "micro-sam":
		return sam.LossMicroSAM, nil
	case "bce":
		return sam.LossBCE, nil
	}
	return 0, fmt.Errorf("-loss %q: want sam, micro-sam or bce", name)
}
