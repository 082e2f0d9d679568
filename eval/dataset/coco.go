package dataset

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

type cocoFile struct {
	Images []struct {
		ID     int64  `json:"id"`
		File   string `json:"file_name"`
		Width  int    `json:"width"`
		Height int    `json:"height"`
	} `json:"images"`
	Annotations []cocoAnnotation `json:"annotations"`
	Categories  []struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
	} `json:"categories"`
}

type cocoAnnotation struct {
	ID           int64           `json:"id"`
	Image        int64           `json:"image_id"`
	Category     int64           `json:"category_id"`
	Crowd        int             `json:"iscrowd"`
	Segmentation json.RawMessage `json:"segmentation"`
}

// COCO opens a COCO annotation file and its folder of pictures. Segmentations
// are polygons, whose parts add up, or run-length codes, plain or compressed.
// Crowd regions are left out. Categories, by ascending id, are the classes. Mpp
// is the micrometres per pixel, 0 if not known.
func COCO(name, annotations, images string, mpp float64) (*Set, error) {
	s := &Set{name: name}
	b, err := readJSON(annotations)
	if err != nil {
		return nil, s.wrap(err)
	}
	doc, err := parseCOCO(b)
	if err != nil {
		return nil, s.wrap(fmt.Errorf("%w: %s: %w", ErrFormat, annotations, err))
	}
	class := map[int64]int{}
	for i, c := range doc.Categories {
		class[c.ID] = i
		s.classes = append(s.classes, c.Name)
	}
	by := map[int64][]cocoAnnotation{}
	for _, a := range doc.Annotations {
		by[a.Image] = append(by[a.Image], a)
	}
	for _, im := range doc.Images {
		// slashes in any direction, never out of the folder
		file := filepath.Join(images, filepath.FromSlash(path.Clean("/"+strings.ReplaceAll(im.File, `\`, "/"))))
		if !isFile(file) {
			return nil, s.wrap(fmt.Errorf("%w: no %s, which %s names", ErrLayout, file, annotations))
		}
		s.add(eval.Item{ID: im.File, Group: patient(stem(im.File))}, func(context.Context) (*eval.Picture, error) {
			img, err := readPicture(file)
			if err != nil {
				return nil, err
			}
			return cocoPicture(img, image.Pt(im.Width, im.Height), by[im.ID], class, mpp)
		})
	}
	return s.finish(annotations, "at least one image")
}

func parseCOCO(b []byte) (*cocoFile, error) {
	var doc cocoFile
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	if doc.Images == nil || doc.Annotations == nil {
		return nil, fmt.Errorf("no images or no annotations, want a COCO instances file")
	}
	known := map[int64]bool{}
	for _, im := range doc.Images {
		if known[im.ID] {
			return nil, fmt.Errorf("two images with id %d", im.ID)
		}
		known[im.ID] = true
	}
	slices.SortStableFunc(doc.Categories, func(a, b struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
	}) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	for _, a := range doc.Annotations {
		if !known[a.Image] {
			return nil, fmt.Errorf("annotation %d: no image with id %d", a.ID, a.Image)
		}
	}
	return &doc, nil
}

func cocoPicture(img image.Image, size image.Point, list []cocoAnnotation, class map[int64]int, mpp float64) (*eval.Picture, error) {
	got := img.Bounds().Size()
	if size != (image.Point{}) && size != got {
		return nil, fmt.Errorf("%w: picture of %d x %d, annotated as %d x %d", ErrLayout, got.X, got.Y, size.X, size.Y)
	}
	p := &eval.Picture{Image: img, MPP: mpp, Truth: eval.NewLabels(sam.Size{H: got.Y, W: got.X}), Class: map[int32]int{}}
	for i, a := range list {
		if a.Crowd != 0 {
			continue
		}
		m, err := cocoMask(a.Segmentation, sam.Size{H: got.Y, W: got.X})
		if err != nil {
			return nil, fmt.Errorf("%w: annotation %d: %w", ErrFormat, a.ID, err)
		}
		id := int32(i + 1)
		for r := range m.Runs() {
			row := p.Truth.Pix[r.Y*got.X+r.X0 : r.Y*got.X+r.X1]
			for j := range row {
				row[j] = id
			}
		}
		if c, ok := class[a.Category]; ok {
			p.Class[id] = c
		}
	}
	return p, nil
}

// cocoMask decodes either form of a segmentation.
func cocoMask(b json.RawMessage, size sam.Size) (*sam.Mask, error) {
	if t := bytes.TrimLeft(b, " \t\r\n"); len(t) > 0 && t[0] == '{' {
		var r sam.RLE
		if err := json.Unmarshal(t, &r); err != nil {
			return nil, err
		}
		if r.Size != size {
			return nil, fmt.Errorf("run-length code of %s, picture of %s", r.Size, size)
		}
		return sam.MaskFromRLE(r)
	}
	var parts [][]float64
	if err := json.Unmarshal(b, &parts); err != nil {
		return nil, fmt.Errorf("segmentation is neither polygons nor a run-length code: %w", err)
	}
	var area orb.MultiPolygon
	for _, v := range parts {
		if len(v)%2 != 0 {
			return nil, fmt.Errorf("polygon of %d coordinates", len(v))
		}
		ring := make(orb.Ring, 0, len(v)/2)
		for i := 0; i < len(v); i += 2 {
			ring = append(ring, orb.Point{v[i], v[i+1]})
		}
		area = append(area, orb.Polygon{ring})
	}
	return sam.MaskFromPolygons(size, area)
}
