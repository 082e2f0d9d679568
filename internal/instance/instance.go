// Package instance makes instances of the three maps that an instance decoder
// predicts: how likely a pixel is foreground, how far it is from its object's
// centre, and how far from its object's boundary. It is the post-processing of
// micro-sam's automatic instance segmentation, to the pixel.
//
// Maps are row-major float32, [H, W].
//
//	objects, err := instance.Find(ctx, maps, instance.Defaults())
package instance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrMaps is wrapped by every error about maps that no instances can be made
// of.
var ErrMaps = errors.New("bad maps")

// Maps are what an instance decoder predicts for a picture of H x W pixels.
// All values lie between 0 and 1.
type Maps struct {
	H, W       int
	Foreground []float32 // [H, W], probability that a pixel belongs to an object
	Centre     []float32 // [H, W], 0 at the centre of an object, 1 far from it
	Boundary   []float32 // [H, W], 0 deep inside an object, 1 at its boundary and outside
}

// Options are the thresholds and filters of [Find].
type Options struct {
	ForegroundThreshold float32 // a pixel above it may belong to an object
	CentreThreshold     float32 // a seed lies below it
	BoundaryThreshold   float32 // and below this
	ForegroundSmoothing float64 // sigma of the Gaussian over Foreground, in pixels; 0: none
	DistanceSmoothing   float64 // sigma of the Gaussian over both distances, in pixels; 0: none
	MinSize             int     // objects of fewer pixels are dropped
	MinForeground       float32 // and those whose pixels have less Foreground on average, before smoothing
}

// Defaults returns the options of micro-sam's InstanceSegmentationWithDecoder.
func Defaults() Options {
	return Options{
		ForegroundThreshold: 0.5, CentreThreshold: 0.5, BoundaryThreshold: 0.5,
		ForegroundSmoothing: 1.0, DistanceSmoothing: 1.6,
	}
}

// Segment returns the instance of each pixel, [H, W], as [Find] does: 0 is
// background, instances count from 1 in Find's order.
func Segment(ctx context.Context, m Maps, o Options) ([]uint32, error) {
	found, err := Find(ctx, m, o)
	if err != nil {
		return nil, err
	}
	labels := make([]uint32, m.H*m.W)
	for i, k := range found {
		for r := range k.Mask.Runs() {
			for x := r.X0; x < r.X1; x++ {
				labels[r.Y*m.W+x] = uint32(i + 1)
			}
		}
	}
	return labels, nil
}

// Find returns the instances of a picture, in the order of the first pixels of
// their seeds. They do not overlap.
//
// Seeds are the 8-connected parts of the foreground in which both smoothed
// distances are below their thresholds. They grow over the foreground by a
// watershed of the smoothed distance to the boundary; foreground that no seed
// reaches stays background. The maps are not written to. [Bands] does the same
// with maps that are larger than memory.
//
// Find returns an error that wraps ErrMaps if a map does not hold H x W
// finite values, and ctx's error if it is cancelled.
//
// Source: instance_segmentation.py, InstanceSegmentationWithDecoder.generate
// without tile_shape (micro-sam 3acdcd72); torch_em/util/segmentation.py,
// watershed_from_center_and_boundary_distances (torch-em 6f71247c).
func Find(ctx context.Context, m Maps, o Options) ([]Object, error) {
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("instance: %w", err)
	}
	survey, err := NewSurvey(m.H, m.W, o)
	if err != nil {
		return nil, err
	}
	row := func(x []float32, y int) []float32 { return x[y*m.W : (y+1)*m.W] }
	for y := range m.H {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := survey.Add(row(m.Foreground, y), row(m.Centre, y), row(m.Boundary, y)); err != nil {
			return nil, err
		}
	}
	var out []Object
	// The maps are in memory: so may be all of their foreground.
	b, err := NewBands(m.H, m.W, o, survey.Heights(), Limits{m.H * m.W, m.H}, func(k Object) error {
		out = append(out, k)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for y := range m.H {
		if err := b.Add(ctx, row(m.Foreground, y), row(m.Centre, y), row(m.Boundary, y)); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b Object) int { return cmp.Or(a.Seed.Y-b.Seed.Y, a.Seed.X-b.Seed.X) })
	return out, nil
}

// Check returns an error that wraps ErrMaps unless the maps have a size and hold
// finite values, as many as that.
func (m *Maps) Check() error {
	if m.H <= 0 || m.W <= 0 || m.W > math.MaxInt32/m.H {
		return fmt.Errorf("%w: %d x %d pixels", ErrMaps, m.W, m.H)
	}
	for _, x := range []struct {
		name string
		data []float32
	}{{"foreground", m.Foreground}, {"centre", m.Centre}, {"boundary", m.Boundary}} {
		if err := CheckMap(x.name, x.data, m.H, m.W); err != nil {
			return err
		}
	}
	return nil
}

// CheckMap returns an error that wraps ErrMaps unless a map holds h x w finite
// values.
func CheckMap(name string, data []float32, h, w int) error {
	if len(data) != h*w {
		return fmt.Errorf("%w: %s: %d values, want %d for %d x %d pixels", ErrMaps, name, len(data), h*w, w, h)
	}
	for i, v := range data {
		if v-v != 0 { //nolint:staticcheck // false for infinities and NaN alone
			return fmt.Errorf("%w: %s: %g at (%d, %d)", ErrMaps, name, v, i%w, i/w)
		}
	}
	return nil
}

// maxSigma bounds the filters: none of a published model has more than 2.
const maxSigma = 100

func (o *Options) check() error {
	for _, s := range []float64{o.ForegroundSmoothing, o.DistanceSmoothing} {
		if !(s >= 0 && s <= maxSigma) {
			return fmt.Errorf("smoothing by a sigma of %g pixels, want 0 to %d", s, maxSigma)
		}
	}
	if !(o.MinForeground >= 0 && o.MinForeground <= 1) {
		return fmt.Errorf("least mean foreground of %g, want 0 to 1", o.MinForeground)
	}
	if o.MinSize < 0 {
		return fmt.Errorf("least size of %d pixels, want 0 or more", o.MinSize)
	}
	return nil
}

// Reach is how many rows and columns, at most, lie between a pixel that may be
// foreground and one that an instance depends on: the filters make foreground
// of what lies near, and mix what lies near that into its distances.
func (o *Options) Reach() int {
	radius := func(sigma float64) int {
		if sigma > 0 {
			return len(gaussian(sigma)) - 1
		}
		return 0
	}
	f := radius(o.ForegroundSmoothing)
	return f + max(f, radius(o.DistanceSmoothing))
}
