package slide

import (
	"bufio"
	"context"
	"io"
	"path/filepath"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval/dataset"
	"github.com/slidesam/sam/internal/atomicfile"
)

// cocoFile is the objects as a COCO instances file, of -coco.
const cocoFile = "objects.coco.json"

// writeCOCO writes the objects of a run in pixels of level 0, with the slide's
// name as the picture's. It returns how many were left out because they cover
// the middle of no such pixel.
func writeCOCO(ctx context.Context, name string, size sam.Size, res *sam.SegmentResult) (tiny int, err error) {
	err = atomicfile.Write(filepath.Join(res.Dir, cocoFile), func(file io.Writer) error {
		b := bufio.NewWriter(file)
		w := dataset.NewCOCOWriter(b)
		if err := w.Image(name, size); err != nil {
			return err
		}
		for f, err := range res.Features() {
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			var area orb.MultiPolygon
			switch g := f.Geometry.(type) {
			case orb.Polygon:
				area = orb.MultiPolygon{g}
			case orb.MultiPolygon:
				area = g
			}
			m, err := sam.MaskFromPolygons(size, area)
			if err != nil {
				return err
			}
			if m.Area() == 0 {
				tiny++
				continue
			}
			class, score := "", 0.0
			if f.Class != nil {
				class = f.Class.Name
			}
			for _, v := range f.Measurements {
				if v.Name == sam.MeasurePredictedIoU {
					score = v.Value
				}
			}
			if err := w.Object(m, class, score); err != nil {
				return err
			}
		}
		if err := w.Close(); err != nil {
			return err
		}
		return b.Flush()
	})
	return tiny, err
}
