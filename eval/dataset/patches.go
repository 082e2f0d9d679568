package dataset

import (
	"context"
	"fmt"
	"image"
	"math"
	"path/filepath"
	"strings"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

// PanNukeClasses are the classes of PanNuke in the order of its channels.
var PanNukeClasses = []string{"neoplastic", "inflammatory", "connective", "dead", "epithelial"}

// PanNuke opens one fold of PanNuke, a folder with images.npy [N, 256, 256, 3],
// masks.npy [N, 256, 256, 6] (five channels of instance numbers, one per class,
// and the background) and types.npy, 0.25 micrometres. The two big files may
// also lie in subfolders images and masks, with types.npy beside images.npy,
// as the archives unpack. Where classes overlap the later channel wins. Types,
// the tissues, are text and not read.
func PanNuke(dir string) (*Set, error) {
	s := &Set{name: "PanNuke", classes: PanNukeClasses}
	images, err := openArray(find(dir, "images.npy"))
	if err != nil {
		return nil, s.wrap(err)
	}
	masks, err := openArray(find(dir, "masks.npy"))
	if err != nil {
		return nil, s.wrap(err)
	}
	if err := images.want(-1, -1, -1, 3); err != nil {
		return nil, s.wrap(err)
	}
	if err := masks.want(images.shape[0], images.shape[1], images.shape[2], 6); err != nil {
		return nil, s.wrap(err)
	}
	for i := range images.shape[0] {
		s.add(eval.Item{ID: fmt.Sprintf("%05d", i)}, func(context.Context) (*eval.Picture, error) {
			img, err := images.picture(i)
			if err != nil {
				return nil, err
			}
			m, err := masks.slice(i)
			if err != nil {
				return nil, err
			}
			p := &eval.Picture{Image: img, MPP: 0.25, Truth: eval.NewLabels(sam.Size{H: masks.shape[1], W: masks.shape[2]}), Class: map[int32]int{}}
			// numbers are unique within a channel only
			ids := map[[2]int]int32{}
			for j := range p.Truth.Pix {
				for c := range PanNukeClasses {
					v, err := instance(m[6*j+c])
					if err != nil {
						return nil, fmt.Errorf("%s: %w", masks.path, err)
					}
					if v == 0 {
						continue
					}
					key := [2]int{c, int(v)}
					if ids[key] == 0 {
						ids[key] = int32(len(ids) + 1)
						p.Class[ids[key]] = c
					}
					p.Truth.Pix[j] = ids[key]
				}
			}
			return p, nil
		})
	}
	return s.finish(dir, "images.npy and masks.npy")
}

// find returns dir/name, or dir/x/name for name x.npy if only that exists.
func find(dir, name string) string {
	p := filepath.Join(dir, name)
	if deep := filepath.Join(dir, strings.TrimSuffix(name, ".npy"), name); !isFile(p) && isFile(deep) {
		return deep
	}
	return p
}

// instance checks an instance number that was stored as any type.
func instance(v float64) (int32, error) {
	if !(v >= 0 && v <= math.MaxInt32) || v != math.Trunc(v) {
		return 0, fmt.Errorf("%w: %g is no instance number", ErrFormat, v)
	}
	return int32(v), nil
}

// picture reads slice i, [H, W, 3], as colours 0 to 255.
func (a *array) picture(i int) (image.Image, error) {
	v, err := a.slice(i)
	if err != nil {
		return nil, err
	}
	h, w := a.shape[1], a.shape[2]
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for j := range h * w {
		for c := range 3 {
			x := v[3*j+c]
			if !(x >= 0 && x <= 255) {
				return nil, fmt.Errorf("%w: %s: colour value %g, want 0 to 255", ErrFormat, a.path, x)
			}
			img.Pix[4*j+c] = uint8(math.Round(x))
		}
		img.Pix[4*j+3] = 255
	}
	return img, nil
}

// CoNICClasses are the classes of CoNIC; a value of 1 in the file is the
// first.
var CoNICClasses = []string{"neutrophil", "epithelial", "lymphocyte", "plasma", "eosinophil", "connective"}

// CoNIC opens the patches of the CoNIC challenge: a folder with images.npy
// [N, 256, 256, 3] and labels.npy [N, 256, 256, 2] (instance numbers and
// classes 1 to 6), 0.5 micrometres.
func CoNIC(dir string) (*Set, error) {
	s := &Set{name: "CoNIC", classes: CoNICClasses}
	images, err := openArray(filepath.Join(dir, "images.npy"))
	if err != nil {
		return nil, s.wrap(err)
	}
	labels, err := openArray(filepath.Join(dir, "labels.npy"))
	if err != nil {
		return nil, s.wrap(err)
	}
	if err := images.want(-1, -1, -1, 3); err != nil {
		return nil, s.wrap(err)
	}
	if err := labels.want(images.shape[0], images.shape[1], images.shape[2], 2); err != nil {
		return nil, s.wrap(err)
	}
	for i := range images.shape[0] {
		s.add(eval.Item{ID: fmt.Sprintf("%05d", i)}, func(context.Context) (*eval.Picture, error) {
			img, err := images.picture(i)
			if err != nil {
				return nil, err
			}
			m, err := labels.slice(i)
			if err != nil {
				return nil, err
			}
			p := &eval.Picture{Image: img, MPP: 0.5, Truth: eval.NewLabels(sam.Size{H: labels.shape[1], W: labels.shape[2]})}
			for j := range p.Truth.Pix {
				if p.Truth.Pix[j], err = instance(m[2*j]); err != nil {
					return nil, fmt.Errorf("%s: %w", labels.path, err)
				}
			}
			p.Class, err = majority(p.Truth, len(CoNICClasses), func(j int) float64 { return m[2*j+1] })
			if err != nil {
				return nil, fmt.Errorf("%s: %w", labels.path, err)
			}
			return p, nil
		})
	}
	return s.finish(dir, "images.npy and labels.npy")
}

// majority gives each instance the class, less 1, that most of its pixels
// have, the lower on ties; none if that is 0.
func majority(l eval.Labels, classes int, class func(i int) float64) (map[int32]int, error) {
	votes := map[int32][]int{}
	for i, v := range l.Pix {
		if v == 0 {
			continue
		}
		c := class(i)
		if !(c >= 0 && c <= float64(classes)) || c != math.Trunc(c) {
			return nil, fmt.Errorf("%w: class %g, want 0 to %d", ErrFormat, c, classes)
		}
		if votes[v] == nil {
			votes[v] = make([]int, classes+1)
		}
		votes[v][int(c)]++
	}
	out := map[int32]int{}
	for id, n := range votes {
		best := 0
		for c, k := range n {
			if k > n[best] {
				best = c
			}
		}
		if best > 0 {
			out[id] = best - 1
		}
	}
	return out, nil
}
