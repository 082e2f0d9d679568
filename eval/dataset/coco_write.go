package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/slidesam/sam"
)

// COCOWriter writes objects of pictures as a COCO instances file, each as it
// comes: segmentations are compressed run-length codes, which keep holes, boxes
// are those of the pixels, and the score of results is there as well. [COCO] and
// pycocotools read it.
//
//	c := dataset.NewCOCOWriter(w)
//	err := c.Image("a.png", sam.Size{H: 512, W: 512})
//	err = c.Object(mask, "Nucleus", 0.9)
//	err = c.Close()
type COCOWriter struct {
	w          io.Writer
	images     []cocoImage
	categories []string
	n          int // objects
	err        error
}

type cocoImage struct {
	ID     int    `json:"id"`
	File   string `json:"file_name"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

type cocoCategory struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

type cocoObject struct {
	ID           int               `json:"id"`
	Image        int               `json:"image_id"`
	Category     int               `json:"category_id"`
	Segmentation sam.CompressedRLE `json:"segmentation"`
	Area         int               `json:"area"`
	Box          [4]int            `json:"bbox"` // x, y, width, height
	Crowd        int               `json:"iscrowd"`
	Score        float64           `json:"score"`
}

// NewCOCOWriter returns a COCOWriter on w, which should be buffered.
func NewCOCOWriter(w io.Writer) *COCOWriter { return &COCOWriter{w: w} }

// Image begins a picture; the objects that follow are its own.
func (c *COCOWriter) Image(file string, size sam.Size) error {
	c.images = append(c.images, cocoImage{len(c.images) + 1, file, size.W, size.H})
	if len(c.images) == 1 {
		c.write(`{"annotations":[`)
	}
	return c.err
}

// Object writes an object of the last picture. Its class becomes a category; an
// empty one is called object. The error is one of w, or of a mask that is empty
// or not of the picture's size.
func (c *COCOWriter) Object(m *sam.Mask, class string, score float64) error {
	if len(c.images) == 0 {
		return errors.New("dataset: write COCO: no picture yet: call Image first")
	}
	im := c.images[len(c.images)-1]
	if m.Area() == 0 || m.Size() != (sam.Size{H: im.Height, W: im.Width}) {
		return fmt.Errorf("dataset: write COCO: a mask of %d pixels on a picture of %s, want one on %d x %d", m.Area(), m.Size(), im.Width, im.Height)
	}
	if class == "" {
		class = "object"
	}
	k := slices.Index(c.categories, class)
	if k < 0 {
		k = len(c.categories)
		c.categories = append(c.categories, class)
	}
	b := m.Bounds()
	line, err := json.Marshal(cocoObject{
		ID: c.n + 1, Image: im.ID, Category: k + 1, Segmentation: sam.CompressedRLE(m.RLE()), Area: m.Area(),
		Box: [4]int{b.Min.X, b.Min.Y, b.Dx(), b.Dy()}, Score: score,
	})
	if err != nil {
		return fmt.Errorf("dataset: write COCO: %w", err)
	}
	if c.n > 0 {
		c.write(",")
	}
	c.n++
	c.write("\n")
	c.write(string(line))
	return c.err
}

// Close writes the pictures and the categories. It does not close w.
func (c *COCOWriter) Close() error {
	if len(c.images) == 0 {
		c.write(`{"annotations":[`)
	}
	end := struct {
		Images     []cocoImage    `json:"images"`
		Categories []cocoCategory `json:"categories"`
	}{append([]cocoImage{}, c.images...), []cocoCategory{}}
	for i, name := range c.categories {
		end.Categories = append(end.Categories, cocoCategory{i + 1, name})
	}
	b, err := json.Marshal(end)
	if err != nil {
		return fmt.Errorf("dataset: write COCO: %w", err)
	}
	c.write("\n],")
	c.write(string(b[1:]))
	c.write("\n")
	return c.err
}

func (c *COCOWriter) write(s string) {
	if c.err != nil {
		return
	}
	if _, err := io.WriteString(c.w, s); err != nil {
		c.err = fmt.Errorf("dataset: write COCO: %w", err)
	}
}
