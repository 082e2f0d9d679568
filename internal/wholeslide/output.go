package wholeslide

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/geojson"
	"github.com/slidesam/sam/internal/wsi"
)

// Names of the outputs in a run's folder. A run of several scales has a file
// of labels for each, see ScaleResult.
const (
	GeoJSONFile = "objects.geojson"
	CSVFile     = "objects.csv"
	LabelsFile  = "labels.tif"
	OverlayFile = "overlay.png"
	SummaryFile = "summary.json"
)

// labelsName names the labels of a scale.
func (p *Plan) labelsName(q *scalePlan) string {
	if len(p.scales) == 1 {
		return LabelsFile
	}
	return "labels-" + strconv.FormatFloat(q.mpp, 'g', -1, 64) + ".tif"
}

// Merge merges the tiles of all shards and writes the outputs to dir; each
// appears whole or not at all. It changes nothing else, but for temporary files
// of killed processes, which it removes. Several processes may merge one run at
// once: they write the same bytes.
//
// The error wraps ErrUnfinished if tiles are missing, ErrOtherRun if dir holds
// a run of something else, and os.ErrNotExist if it holds none.
func (p *Plan) Merge(ctx context.Context, s *wsi.Slide, dir string) (*Result, error) {
	if err := p.verify(dir); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s holds no run: give the folder of one, or begin it: %w", dir, err)
		}
		return nil, err
	}
	if err := errors.Join(atomicfile.Sweep(dir), atomicfile.Sweep(filepath.Join(dir, shardFolder))); err != nil {
		return nil, err
	}
	res := p.result(dir)
	out, err := newOutput(ctx, s, dir, p, res)
	if err != nil {
		return nil, err
	}
	defer out.close()
	merger := newScaleMerger(p, s, dir, out.add)
	missing := map[string]bool{}
	read := func(q *scalePlan, i int) (*tileContent, error) {
		c, err := readTile(dir, q, i)
		if errors.Is(err, errNoTile) {
			return nil, fmt.Errorf("%w: tile %d of the %d at %g micrometres per pixel is missing: run its shard (%w)", ErrUnfinished, i, len(q.tiles), q.mpp, err)
		}
		if err != nil {
			return nil, err
		}
		res.Tally.Add(c.tally)
		for _, m := range c.missing {
			missing[m] = true
		}
		return c, nil
	}
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if more, err = merger.advance(ctx, read); err != nil {
			return nil, err
		}
		for k, l := range out.labels {
			y := merger.settled(k)
			out.ids[k].settle(y)
			if err := l.settle(y); err != nil {
				return nil, err
			}
		}
	}
	for _, l := range merger.lanes {
		if l.stitch == nil {
			res.Tally.Severed += l.seams.cut
			continue
		}
		res.Tally.Add(l.stitch.tally)
		out.doubts = append(out.doubts, l.stitch.doubts()...)
	}
	res.Missing = slices.Sorted(maps.Keys(missing))
	if err := out.commit(); err != nil {
		return nil, err
	}
	res.Merged = true
	return res, nil
}

// output is the files of a run while they are written.
type output struct {
	dir        string
	plan       *Plan
	res        *Result
	files      [2]*atomicfile.File
	geo, table *bufio.Writer
	features   *geojson.Writer
	labels     []*labelWriter // of each scale
	ids        []*objectIDs   // of each scale
	over       *overlay
	sizes      []sizes // of each scale
	mpp        float64
	mppNote    string
	doubts     []string // of how objects were put together
}

func newOutput(ctx context.Context, s *wsi.Slide, dir string, p *Plan, res *Result) (*output, error) {
	m := s.Meta()
	o := &output{dir: dir, plan: p, res: res, sizes: make([]sizes, len(p.scales)), mpp: math.Sqrt(m.MPPX * m.MPPY), mppNote: m.MPPNote}
	var err error
	for i, name := range []string{GeoJSONFile, CSVFile} {
		if o.files[i], err = atomicfile.CreateIn(dir, name); err != nil {
			o.close()
			return nil, err
		}
	}
	o.geo, o.table = bufio.NewWriter(o.files[0]), bufio.NewWriter(o.files[1])
	o.features = geojson.NewWriter(o.geo)
	fmt.Fprintln(o.table, csvHeader)
	for _, q := range p.scales {
		f, err := atomicfile.CreateIn(dir, p.labelsName(q))
		if err != nil {
			o.close()
			return nil, err
		}
		o.labels = append(o.labels, newLabelWriter(f, q))
		o.ids = append(o.ids, newObjectIDs(q))
	}
	if o.over, err = newOverlay(ctx, s, p); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// add takes the next object, of scale k.
func (o *output) add(k int, m found) error {
	q := o.plan.scales[k]
	o.res.Objects++
	o.res.Scales[k].Objects++
	o.sizes[k].add(m)
	n := o.res.Objects
	d := measure(m, q)
	id, err := o.ids[k].of(m.Mask)
	if err != nil {
		return err
	}
	f := geojson.Feature{ID: id.String(), Geometry: q.outlines(m.Mask), Type: cmp.Or(q.Type, geojson.Detection), Measurements: d.measurements()}
	if c := q.Class; c != "" {
		f.Class = &geojson.Class{Name: c}
	}
	if err := o.features.Write(f); err != nil {
		return err
	}
	o.over.add(f.Geometry, len(o.plan.scales)-1-k) // the finest in the same colour always
	if _, err := fmt.Fprintln(o.table, d.csv(n, id)); err != nil {
		return err
	}
	return o.labels[k].add(uint32(n), m.Mask)
}

// commit ends all files and gives them their names.
func (o *output) commit() error {
	if err := errors.Join(o.features.Close(), o.geo.Flush(), o.table.Flush()); err != nil {
		return err
	}
	for _, l := range o.labels {
		if err := l.commit(); err != nil {
			return err
		}
	}
	o.res.Doubts = append(slices.Clone(o.plan.doubts), o.doubts...)
	for k := range o.sizes {
		o.res.Doubts = append(o.res.Doubts, o.sizes[k].doubts(o.plan.scales[k])...)
	}
	if err := atomicfile.WriteIn(o.dir, OverlayFile, o.over.write); err != nil {
		return err
	}
	if err := atomicfile.WriteIn(o.dir, SummaryFile, o.summarise); err != nil {
		return err
	}
	for _, f := range o.files {
		if err := f.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// summarise writes what objects.csv does not say: what became of the prompts,
// the resolution of the slide, what to doubt, and what could not be read.
func (o *output) summarise(w io.Writer) error {
	r := o.res
	b, err := json.MarshalIndent(struct {
		Objects int      `json:"objects"`
		MPP     float64  `json:"mpp,omitempty"`      // of level 0
		MPPNote string   `json:"mpp_note,omitempty"` // if the file does not say it
		Tally   Tally    `json:"tally"`
		Hint    string   `json:"hint,omitempty"`
		Notes   []string `json:"notes,omitempty"`
		Doubts  []string `json:"doubts,omitempty"`
		Missing []string `json:"missing,omitempty"`
	}{r.Objects, round(o.mpp, 6), o.mppNote, r.Tally, r.Tally.Hint(r.Objects), r.Notes, r.Doubts, r.Missing}, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// close drops what was not committed.
func (o *output) close() {
	for _, f := range o.files {
		if f != nil {
			f.Close()
		}
	}
	for _, l := range o.labels {
		l.f.Close()
	}
}
