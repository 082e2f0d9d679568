package sam

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/slidesam/sam/internal/atomicfile"
)

// Names of the outputs in a run's folder. A run of several scales has a file
// of labels for each, see ScaleResult.
const (
	GeoJSONFile = "objects.geojson"
	CSVFile     = "objects.csv"
	LabelsFile  = "labels.tif"
	OverlayFile = "overlay.png"
)

// labelsName names the labels of a scale.
func labelsName(p *slidePlan, q *scalePlan) string {
	if len(p.Scales) == 1 {
		return LabelsFile
	}
	return "labels-" + strconv.FormatFloat(q.MPP, 'g', -1, 64) + ".tif"
}

// writeSlide merges the tiles and writes all outputs; each appears whole or
// not at all. It fills in what res says of objects.
func writeSlide(ctx context.Context, s *Slide, dir string, p *slidePlan, res *SegmentResult) error {
	out, err := newSlideOutput(ctx, s, dir, p, res)
	if err != nil {
		return err
	}
	defer out.close()
	merger := newScaleMerger(p, out.add)
	read := func(q *scalePlan, i int) ([]tileObject, error) {
		objects, err := readTile(dir, q, i)
		if errors.Is(err, errNoTile) {
			return nil, fmt.Errorf("%w: tile %d of the %d at %g micrometres per pixel is missing: run its shard (%w)", ErrUnfinished, i, len(q.Tiles), q.MPP, err)
		}
		return objects, err
	}
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if more, err = merger.advance(read); err != nil {
			return err
		}
		for k, l := range out.labels {
			if err := l.settle(merger.settled(k)); err != nil {
				return err
			}
		}
	}
	if err := out.commit(); err != nil {
		return err
	}
	res.Merged = true
	return nil
}

// slideOutput is the files of a run while they are written.
type slideOutput struct {
	dir        string
	plan       *slidePlan
	res        *SegmentResult
	files      [2]*atomicfile.File
	geo, table *bufio.Writer
	features   *FeatureWriter
	labels     []*labelWriter // of each scale
	over       *overlay
}

func newSlideOutput(ctx context.Context, s *Slide, dir string, p *slidePlan, res *SegmentResult) (*slideOutput, error) {
	o := &slideOutput{dir: dir, plan: p, res: res}
	var err error
	for i, name := range []string{GeoJSONFile, CSVFile} {
		if o.files[i], err = atomicfile.Create(filepath.Join(dir, name)); err != nil {
			o.close()
			return nil, err
		}
	}
	o.geo, o.table = bufio.NewWriter(o.files[0]), bufio.NewWriter(o.files[1])
	o.features = NewFeatureWriter(o.geo)
	fmt.Fprintln(o.table, csvHeader)
	for k, q := range p.Scales {
		// Written at two places, which atomicfile does not do; what a killed
		// run leaves of it is overwritten.
		f, err := os.OpenFile(o.part(k), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			o.close()
			return nil, err
		}
		o.labels = append(o.labels, newLabelWriter(f, q))
	}
	if o.over, err = newOverlay(ctx, s); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// part is where the labels of scale k are written.
func (o *slideOutput) part(k int) string {
	return filepath.Join(o.dir, o.res.Scales[k].Labels+".part")
}

// add takes the next object, of scale k.
func (o *slideOutput) add(k int, m mergedObject) error {
	q := o.plan.Scales[k]
	o.res.Objects++
	o.res.Scales[k].Objects++
	n := o.res.Objects
	d := describe(m, q)
	f := Feature{Geometry: m.mask.frame(q), Type: Detection, Measurements: d.measurements()}
	if c := q.scale.Class; c != "" {
		f.Class = &Class{Name: c}
	}
	if err := o.features.Write(f); err != nil {
		return err
	}
	o.over.add(f.Geometry, len(o.plan.Scales)-1-k) // the finest in the same colour always
	if _, err := fmt.Fprintln(o.table, d.csv(n)); err != nil {
		return err
	}
	return o.labels[k].add(uint32(n), m.mask)
}

// commit ends all files and gives them their names.
func (o *slideOutput) commit() error {
	err := errors.Join(o.features.Close(), o.geo.Flush(), o.table.Flush())
	for _, l := range o.labels {
		err = errors.Join(err, l.close())
	}
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(o.dir, OverlayFile), o.over.write); err != nil {
		return err
	}
	for _, f := range o.files {
		if err := f.Commit(); err != nil {
			return err
		}
	}
	for k := range o.labels {
		if err := os.Rename(o.part(k), filepath.Join(o.dir, o.res.Scales[k].Labels)); err != nil {
			return err
		}
	}
	return nil
}

// close drops what was not committed.
func (o *slideOutput) close() {
	for _, f := range o.files {
		if f != nil {
			f.Close()
		}
	}
	for k, l := range o.labels {
		l.f.Close()
		os.Remove(o.part(k)) // fails once it is renamed
	}
}
