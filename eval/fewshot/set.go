package fewshot

import (
	"context"
	"fmt"
	"image"
	"math/rand/v2"
	"slices"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

// Set is annotated pictures in memory. It is an [eval.Dataset].
type Set struct {
	Title    string
	Pictures []*eval.Picture
}

// Load reads all pictures of data sets. Pictures of the same name get numbers.
func Load(ctx context.Context, title string, sets ...eval.Dataset) (*Set, error) {
	out := &Set{Title: title}
	seen := map[string]int{}
	for _, d := range sets {
		for i := range d.Len() {
			p, err := d.Load(ctx, i)
			if err != nil {
				return nil, err
			}
			q := *p
			if seen[p.ID]++; seen[p.ID] > 1 {
				q.ID = fmt.Sprintf("%s (%d)", p.ID, seen[p.ID])
			}
			out.Pictures = append(out.Pictures, &q)
		}
	}
	return out, nil
}

// Name is the title.
func (s *Set) Name() string { return s.Title }

// Len is the number of pictures.
func (s *Set) Len() int { return len(s.Pictures) }

// Item names a picture. All count as of one task.
func (s *Set) Item(i int) eval.Item {
	item := s.Pictures[i].Item
	item.Task = ""
	return item
}

// Load returns a picture.
func (s *Set) Load(ctx context.Context, i int) (*eval.Picture, error) {
	return s.Pictures[i], ctx.Err()
}

// object is an object of a picture: its number in the truth and where it lies.
type object struct {
	id int32
	at image.Rectangle
}

// objects are those of a picture by their numbers.
func objects(l eval.Labels) []object {
	index := map[int32]int{}
	var out []object
	for i, id := range l.Pix {
		if id == 0 {
			continue
		}
		k, ok := index[id]
		if !ok {
			k = len(out)
			index[id] = k
			out = append(out, object{id: id})
		}
		x, y := i%l.W, i/l.W
		out[k].at = out[k].at.Union(image.Rect(x, y, x+1, y+1))
	}
	slices.SortFunc(out, func(a, b object) int { return int(a.id) - int(b.id) })
	return out
}

// Objects is the number of objects on all pictures.
func (s *Set) Objects() (n int) {
	for _, p := range s.Pictures {
		n += len(objects(p.Truth))
	}
	return n
}

// Fields returns what a fine-tuning learns of the pictures. The objects of a
// field are in the order of their numbers in the truth.
func (s *Set) Fields() ([]sam.TrainingField, error) {
	var out []sam.TrainingField
	for _, p := range s.Pictures {
		f := sam.TrainingField{Name: p.ID, Image: p.Image, Known: p.Known}
		size := sam.Size{H: p.Truth.H, W: p.Truth.W}
		for _, o := range objects(p.Truth) {
			part, err := sam.NewMask(sam.Size{H: o.at.Dy(), W: o.at.Dx()}, func(x, y int) bool {
				return p.Truth.Pix[(y+o.at.Min.Y)*size.W+x+o.at.Min.X] == o.id
			})
			if err != nil {
				return nil, fmt.Errorf("fewshot: picture %s: object %d: %w", p.ID, o.id, err)
			}
			m, err := part.Place(size, o.at.Min)
			if err != nil {
				return nil, fmt.Errorf("fewshot: picture %s: object %d: %w", p.ID, o.id, err)
			}
			f.Objects = append(f.Objects, m)
		}
		out = append(out, f)
	}
	return out, nil
}

// Only returns the pictures with nothing but some objects, by their places
// among the fields' objects: what a fine-tuning held back. Pictures without
// any are left out.
func (s *Set) Only(title string, places [][]int) *Set {
	out := &Set{Title: title}
	for i, p := range s.Pictures {
		if i >= len(places) || len(places[i]) == 0 {
			continue
		}
		all, keep := objects(p.Truth), map[int32]bool{}
		for _, k := range places[i] {
			keep[all[k].id] = true
		}
		q := *p
		q.Truth = eval.NewLabels(sam.Size{H: p.Truth.H, W: p.Truth.W})
		for k, id := range p.Truth.Pix {
			if keep[id] {
				q.Truth.Pix[k] = id
			}
		}
		out.Pictures = append(out.Pictures, &q)
	}
	return out
}

// At returns the pictures at some places, with all their objects: the fields
// that the fine-tuning of an instance decoder held back.
func (s *Set) At(title string, places []int) *Set {
	out := &Set{Title: title}
	for _, i := range places {
		out.Pictures = append(out.Pictures, s.Pictures[i])
	}
	return out
}

// Some returns the pictures with n objects of each, drawn by the seed, or all
// of one that has fewer.
func (s *Set) Some(n int, seed uint64) *Set {
	places := make([][]int, len(s.Pictures))
	for i, p := range s.Pictures {
		all := rand.New(rand.NewPCG(seed, uint64(i))).Perm(len(objects(p.Truth)))
		places[i] = all[:min(n, len(all))]
	}
	return s.Only(s.Title, places)
}
