package refine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"slices"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/geojson"
)

// write writes all features in the order of the coarse ones.
func (p *plan) write(ctx context.Context, j *journal, out string, res *Result) error {
	return atomicfile.Write(out, func(file io.Writer) error {
		b := bufio.NewWriter(file)
		w := geojson.NewWriter(b)
		next := 0
		err := p.each(ctx, io.Discard, func(s *geojson.Scanner, f *geojson.Object) error {
			var line bytes.Buffer
			if err := json.Compact(&line, s.Bytes()); err != nil {
				return err
			}
			n := 1
			for offset := p.objects[next].offset; next+n < len(p.objects) && p.objects[next+n].offset == offset; {
				n++
			}
			err := p.writeFeature(w, j, line.Bytes(), f, next, n, res)
			next += n
			return err
		})
		if err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		return b.Flush()
	})
}

// writeFeature writes what became of a feature, which is n objects from first
// on: itself, or of several points one feature for each that was refined, and
// the rest.
func (p *plan) writeFeature(w *geojson.Writer, j *journal, raw []byte, f *geojson.Object, first, n int, res *Result) error {
	if p.objects[first].part < 0 {
		c, reason, err := p.change(j, first)
		if err != nil {
			return err
		}
		res.count(reason)
		c.Nucleus = f.Nucleus != nil
		return writeChanged(w, raw, c)
	}
	points, _ := f.Geometry.(orb.MultiPoint)
	var rest orb.MultiPoint
	var why []Reason
	for k := range n {
		c, reason, err := p.change(j, first+k)
		if err != nil {
			return err
		}
		res.count(reason)
		if reason != Refined {
			rest = append(rest, points[p.objects[first+k].part])
			why = append(why, reason)
			continue
		}
		c.ID = geojson.DerivedID(raw, k)
		if err := writeChanged(w, raw, c); err != nil {
			return err
		}
	}
	if len(rest) == 0 {
		return nil
	}
	c := geojson.Change{Geometry: rest}
	if slices.ContainsFunc(why, Reason.asked) {
		c.Note = note(why[0])
		if slices.ContainsFunc(why, func(r Reason) bool { return r != why[0] }) {
			c.Note = "left alone"
		}
	}
	return writeChanged(w, raw, c)
}

func writeChanged(w *geojson.Writer, raw []byte, c geojson.Change) error {
	if c.Geometry == nil && c.Note == "" {
		return w.WriteRaw(raw) // not asked for: as it was
	}
	raw, err := geojson.Edit(raw, c)
	if err != nil {
		return err
	}
	return w.WriteRaw(raw)
}

// note is what the metadata of an object says.
func note(r Reason) string {
	if r == Refined {
		return r.String()
	}
	return "left alone: " + r.String()
}

// change returns how a feature changes for one of its objects.
func (p *plan) change(j *journal, object int) (geojson.Change, Reason, error) {
	b := p.objects[object]
	if b.reason != Refined {
		c := geojson.Change{}
		if b.reason.asked() {
			c.Note = note(b.reason)
		}
		return c, b.reason, nil
	}
	f, err := j.get(object)
	if err != nil {
		return geojson.Change{}, 0, err
	}
	c := geojson.Change{Note: note(f.Reason)}
	if f.Reason == Unreadable {
		return c, f.Reason, nil
	}
	add := func(name string, v float64) {
		c.Measurements = append(c.Measurements, geojson.Measurement{Name: name, Value: math.Round(v*1e6) / 1e6})
	}
	add(geojson.MeasurePredictedIoU, float64(f.IoUPred))
	add(geojson.MeasureStability, float64(f.Stability))
	if f.Coarse >= 0 {
		add(geojson.MeasureCoarseIoU, f.Coarse)
	}
	if f.Reason != Refined {
		return c, f.Reason, nil
	}
	add(geojson.MeasureAreaPixels, f.Area)
	if p.known {
		mpp := p.resolution(p.windows[b.window].level)
		add(geojson.MeasureAreaMicrons, f.Area*p.own*p.own)
		add(geojson.MeasurePerimeter, f.Perimeter*mpp)
		add(geojson.MeasureScale, mpp)
	}
	add(geojson.MeasureCircularity, f.Circular)
	c.Geometry = f.Outline
	if len(f.Outline) == 1 {
		c.Geometry = f.Outline[0]
	}
	return c, f.Reason, nil
}
