package slide

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"path/filepath"
	"slices"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/draw"
	"github.com/slidesam/sam/internal/regular"
)

// closeUpFile is a field of the slide at the finest resolution worked at.
const closeUpFile = "closeup.png"

// closeUpSide is the side of the close-up in pixels.
const closeUpSide = 900

// closeUp draws the field of the slide with the most objects and returns its
// place on level 0. What lies outside the region, if that is not empty, was not
// searched and is not shown. Neither the table nor the outlines are held in
// memory.
func closeUp(ctx context.Context, s *sam.Slide, dir string, res *sam.SegmentResult, region image.Rectangle) (image.Rectangle, error) {
	size := s.Size()
	w, h := size.W, size.H
	mpp, own := res.Scales[len(res.Scales)-1].MPP, 0.0
	f := 1.0 // level-0 pixels per pixel
	if own, _ = s.MPP(); own > 0 {
		f = mpp / own
	}
	side := max(1, int(closeUpSide*f))
	field, err := busiest(filepath.Join(dir, sam.CSVFile), side)
	if err != nil {
		return field, err
	}
	field = field.Sub(image.Pt(max(field.Max.X-w, 0), max(field.Max.Y-h, 0))).Intersect(image.Rect(0, 0, w, h))
	if in := field.Intersect(region); !in.Empty() {
		field = in
	}
	pic, err := readField(ctx, s, field, mpp, f)
	if err != nil {
		return field, err
	}
	c, err := draw.New(pic)
	if err != nil {
		return field, err
	}
	colour := map[float64]int{} // as in the overlay
	for k, sc := range res.Scales {
		colour[sc.MPP] = len(res.Scales) - 1 - k
	}
	var wanted []object
	err = readTable(filepath.Join(dir, sam.CSVFile), func(o object) {
		if o.box.Overlaps(field) {
			wanted = append(wanted, o)
		}
	})
	if err != nil {
		return field, err
	}
	err = outlines(filepath.Join(dir, sam.GeoJSONFile), wanted, func(o object, ring [][2]float64) {
		for i, p := range ring {
			ring[i] = [2]float64{(p[0] - float64(field.Min.X)) / f, (p[1] - float64(field.Min.Y)) / f}
		}
		draw.Ring(c, ring, draw.Color(colour[o.mpp]))
	})
	if err != nil {
		return field, err
	}
	return field, atomicfile.Write(filepath.Join(dir, closeUpFile), func(w io.Writer) error { return png.Encode(w, c.Image()) })
}

// busiest returns the square of a grid of the given side that holds the
// centres of the most objects, the first in reading order of equal ones.
func busiest(path string, side int) (image.Rectangle, error) {
	count := map[image.Point]int{}
	if err := readTable(path, func(o object) { count[image.Pt(int(o.x)/side, int(o.y)/side)]++ }); err != nil {
		return image.Rectangle{}, err
	}
	best := image.Point{}
	for p, n := range count {
		if m := count[best]; n > m || n == m && (p.Y < best.Y || p.Y == best.Y && p.X < best.X) {
			best = p
		}
	}
	at := best.Mul(side)
	return image.Rectangle{Min: at, Max: at.Add(image.Pt(side, side))}, nil
}

// readField reads a rectangle of level 0 at mpp, which is f times as coarse.
func readField(ctx context.Context, s *sam.Slide, r image.Rectangle, mpp, f float64) (image.Image, error) {
	if f == 1 {
		return s.ReadRegion(ctx, 0, r)
	}
	at := func(p image.Point) image.Point { return image.Pt(int(float64(p.X)/f), int(float64(p.Y)/f)) }
	return s.ReadAt(ctx, mpp, image.Rectangle{Min: at(r.Min), Max: at(r.Max)})
}

// outlines calls use for each ring of the wanted objects, which are in the
// order of their numbers. The file has a line for each object after the first.
func outlines(path string, wanted []object, use func(o object, ring [][2]float64)) error {
	f, err := regular.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	for n := 0; len(wanted) > 0; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: object %d is missing", path, wanted[0].id)
		}
		if err != nil {
			return err
		}
		if n != wanted[0].id {
			continue
		}
		var feature struct {
			Geometry struct {
				Type        string          `json:"type"`
				Coordinates json.RawMessage `json:"coordinates"`
			} `json:"geometry"`
		}
		if err := json.Unmarshal(trimComma(line), &feature); err != nil {
			return fmt.Errorf("%s: object %d: %w", path, n, err)
		}
		polygons := make([][][][2]float64, 1)
		if feature.Geometry.Type == "MultiPolygon" {
			err = json.Unmarshal(feature.Geometry.Coordinates, &polygons)
		} else {
			err = json.Unmarshal(feature.Geometry.Coordinates, &polygons[0])
		}
		if err != nil {
			return fmt.Errorf("%s: object %d: %w", path, n, err)
		}
		for _, ring := range slices.Concat(polygons...) {
			use(wanted[0], ring)
		}
		wanted = wanted[1:]
	}
	return nil
}

// trimComma drops the comma between the features of a list.
func trimComma(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == ',') {
		line = line[:len(line)-1]
	}
	for len(line) > 0 && line[0] == ',' {
		line = line[1:]
	}
	return line
}
