// Package cellpose finds cells as Cellpose-SAM does: a network predicts for each
// pixel whether it is a cell's and which way the cell's middle lies; pixels
// follow these flows, and those that meet are one cell.
//
// Maps are row-major float32, [H, W].
//
//	net, err := cellpose.NewNetwork(backend, checkpoint)
//	maps, err := net.Predict(ctx, picture, nil)
//	labels, err := cellpose.Label(ctx, maps, cellpose.Options{})
//
// Source: cellpose 4.2.1.1, models.py, CellposeModel.eval of one picture in two
// dimensions, with float32 weights; its default is bfloat16.
package cellpose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/slidesam/sam/internal/instance"
)

// Maps are what the network predicts for a picture of H x W pixels.
type Maps struct {
	H, W  int
	Down  []float32 // [H, W], flow to the cell's middle, 5 times a unit vector
	Right []float32 // [H, W]
	Logit []float32 // [H, W] of being a cell's pixel
}

// Options are the thresholds of [Label] and the levels of [Model.Segment]. The
// zero value is the default of Cellpose's eval.
type Options struct {
	CellThreshold float32        // a pixel whose logit is above it may belong to a cell
	FlowThreshold float64        // cells whose flows err by more are dropped; 0: 0.4, below 0: none
	Iterations    int            // steps that pixels follow the flows; 0: 200
	MinSize       int            // cells of fewer pixels are dropped; 0: 15, below 0: none
	MaxShare      float64        // cells of more than this part of the picture are dropped; 0: 0.4
	Levels        *[3][2]float32 // see [Levels]; nil: the picture's own
}

// filled puts in the defaults.
func (o Options) filled() Options {
	o.FlowThreshold, o.Iterations = cmp.Or(o.FlowThreshold, 0.4), cmp.Or(o.Iterations, 200)
	o.MinSize, o.MaxShare = cmp.Or(o.MinSize, 15), cmp.Or(o.MaxShare, 0.4)
	return o
}

// Label returns the cell of each pixel, [H, W]: 0 is background, cells count
// from 1 in the order of their first pixels row by row. The maps are not
// written to.
//
// It returns an error that wraps [instance.ErrMaps] if a map does not hold H x W finite
// values, and ctx's error soon after ctx is done.
//
// Source: dynamics.py, resize_and_compute_masks (cellpose 4.2.1.1).
func Label(ctx context.Context, m Maps, o Options) ([]uint32, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("cellpose: %w", err)
	}
	o = o.filled()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("cellpose: %w", err)
	}
	var at []int32 // pixels of cells
	for i, v := range m.Logit {
		if v > o.CellThreshold {
			at = append(at, int32(i))
		}
	}
	labels := make([]uint32, m.H*m.W)
	if len(at) == 0 {
		return labels, nil
	}
	ends, err := follow(ctx, m, at, o.Iterations)
	if err != nil {
		return nil, err
	}
	meet(labels, ends, at, m.H, m.W)
	n := dropLarge(labels, o.MaxShare)
	if n > 0 && o.FlowThreshold > 0 {
		bad, err := flowErrors(ctx, labels, n, m)
		if err != nil {
			return nil, err
		}
		n = keep(labels, n, func(l uint32) bool { return !(bad[l-1] > o.FlowThreshold) })
	}
	n = dropSmall(labels, n, o.MinSize)
	fillHoles(labels, n, m.H, m.W)
	dropSmall(labels, n, o.MinSize)
	return labels, ctx.Err()
}

// Sides of pictures and steps are bounded: positions are float32, and a picture
// that cannot be held whole is searched in tiles.
const (
	maxSide       = 1 << 15
	maxIterations = 100_000
)

func (m *Maps) check() error {
	if m.H < 1 || m.W < 1 || m.H > maxSide || m.W > maxSide {
		return fmt.Errorf("%w: %d x %d pixels, want sides of 1 to %d", instance.ErrMaps, m.W, m.H, maxSide)
	}
	for _, x := range []struct {
		name string
		data []float32
	}{{"flow down", m.Down}, {"flow right", m.Right}, {"logit", m.Logit}} {
		if err := instance.CheckMap(x.name, x.data, m.H, m.W); err != nil {
			return err
		}
	}
	return nil
}

func (o *Options) check() error {
	switch {
	case o.Iterations < 1 || o.Iterations > maxIterations:
		return fmt.Errorf("%d steps along the flows, want 1 to %d", o.Iterations, maxIterations)
	case math.IsNaN(o.FlowThreshold) || math.IsNaN(float64(o.CellThreshold)) || math.IsNaN(o.MaxShare):
		return errors.New("a threshold is not a number")
	}
	return nil
}
