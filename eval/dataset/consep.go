package dataset

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

// CoNSePClasses are the four groups in which CoNSeP's seven classes are
// scored: 3 and 4 are epithelial, 5, 6 and 7 spindle-shaped.
var CoNSePClasses = []string{"other", "inflammatory", "epithelial", "spindle-shaped"}

// CoNSeP opens one part of CoNSeP, Train or Test: folders Images (.png, 1000 x
// 1000 at 40x) and Labels (.mat with inst_map and type_map).
func CoNSeP(dir string) (*Set, error) {
	s := &Set{name: "CoNSeP", classes: CoNSePClasses}
	pics, err := files(filepath.Join(dir, "Images"), ".png")
	if err != nil {
		return nil, s.wrap(err)
	}
	mats, err := files(filepath.Join(dir, "Labels"), ".mat")
	if err != nil {
		return nil, s.wrap(err)
	}
	by, err := partners(pics, mats, ".mat file")
	if err != nil {
		return nil, s.wrap(fmt.Errorf("%s: %w", dir, err))
	}
	for _, f := range pics {
		s.add(eval.Item{ID: stem(f)}, func(context.Context) (*eval.Picture, error) {
			p, m, err := matPicture(f, by[f], "type_map")
			if err != nil {
				return nil, err
			}
			p.MPP = 0.25
			types, ok := m["type_map"]
			if !ok {
				return nil, fmt.Errorf("%w: %s: no type_map", ErrLayout, by[f])
			}
			h, w := p.Truth.H, p.Truth.W
			if !slices.Equal(types.dims, []int{h, w}) {
				return nil, fmt.Errorf("%w: %s: type_map %v, inst_map [%d %d]", ErrFormat, by[f], types.dims, h, w)
			}
			group := []float64{0, 1, 2, 3, 3, 4, 4, 4}
			p.Class, err = majority(p.Truth, len(CoNSePClasses), func(i int) float64 {
				if c := types.data[i%w*h+i/w]; c >= 0 && c < 8 && c == float64(int(c)) {
					return group[int(c)]
				}
				return -1
			})
			if err != nil {
				return nil, fmt.Errorf("%s: type_map: %w", by[f], err)
			}
			return p, nil
		})
	}
	return s.finish(dir, "Images/*.png and Labels/*.mat")
}

// LizardClasses are the classes of Lizard; a value of 1 in the file is the
// first.
var LizardClasses = []string{"neutrophil", "epithelial", "lymphocyte", "plasma", "eosinophil", "connective"}

// Lizard opens Lizard: pictures (.png) in folders whose names begin with
// Lizard_Images, and Labels with a .mat per picture (inst_map, id, class),
// anywhere below dir, at 20x (0.5 micrometres). A picture without labels is an
// error; labels without a picture are not, since the pictures come in two
// archives.
func Lizard(dir string) (*Set, error) {
	s := &Set{name: "Lizard", classes: LizardClasses}
	mats := map[string]string{}
	var pics []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		switch strings.ToLower(filepath.Ext(path)) {
		case ".mat":
			mats[stem(path)] = path
		case ".png":
			if strings.HasPrefix(rel, "Lizard_Images") {
				pics = append(pics, path)
			}
		}
		return nil
	})
	if err != nil {
		return nil, s.wrap(fmt.Errorf("%w: %w", ErrLayout, err))
	}
	for _, f := range pics {
		mat, ok := mats[stem(f)]
		if !ok {
			return nil, s.wrap(fmt.Errorf("%w: no %s.mat below %s", ErrLayout, stem(f), dir))
		}
		s.add(eval.Item{ID: stem(f)}, func(context.Context) (*eval.Picture, error) {
			p, m, err := matPicture(f, mat, "id", "class")
			if err != nil {
				return nil, err
			}
			p.MPP = 0.5
			id, class := m["id"], m["class"]
			if id == nil || class == nil || len(id.data) != len(class.data) {
				return nil, fmt.Errorf("%w: %s: want id and class of the same length", ErrLayout, mat)
			}
			p.Class = map[int32]int{}
			for i, v := range id.data {
				n, err := instance(v)
				if err != nil {
					return nil, fmt.Errorf("%s: id: %w", mat, err)
				}
				c := class.data[i]
				if !(c >= 1 && c <= float64(len(LizardClasses))) || c != float64(int(c)) {
					return nil, fmt.Errorf("%w: %s: class %g, want 1 to %d", ErrFormat, mat, c, len(LizardClasses))
				}
				p.Class[n] = int(c) - 1
			}
			return p, nil
		})
	}
	return s.finish(dir, "Lizard_Images1/*.png, Lizard_Images2/*.png and Labels/*.mat")
}

// matPicture reads a picture and the inst_map of a .mat file, and other arrays
// of it.
func matPicture(img, mat string, names ...string) (*eval.Picture, map[string]*matArray, error) {
	p := &eval.Picture{}
	var err error
	if p.Image, err = readPicture(img); err != nil {
		return nil, nil, err
	}
	m, err := readMat(mat, append(names, "inst_map")...)
	if err != nil {
		return nil, nil, err
	}
	inst, ok := m["inst_map"]
	if !ok {
		return nil, nil, fmt.Errorf("%w: %s: no inst_map", ErrLayout, mat)
	}
	if len(inst.dims) != 2 || len(inst.data) == 0 {
		return nil, nil, fmt.Errorf("%w: %s: inst_map has dimensions %v, want two", ErrFormat, mat, inst.dims)
	}
	h, w := inst.dims[0], inst.dims[1]
	p.Truth = eval.NewLabels(sam.Size{H: h, W: w})
	for x := range w { // column-major
		for y := range h {
			if p.Truth.Pix[y*w+x], err = instance(inst.data[x*h+y]); err != nil {
				return nil, nil, fmt.Errorf("%s: inst_map: %w", mat, err)
			}
		}
	}
	return p, m, nil
}
