package instance

import (
	"context"
	"fmt"
	"image"

	"github.com/slidesam/sam/internal/mask"
)

// Heights is the range of a picture's smoothed distances to the boundary over
// its foreground: the watershed tells 65,536 levels between them apart.
type Heights struct {
	Least, Most float32
	Any         bool // there is foreground
}

// level brings a height to its level, in float64 and rounded down.
func (h Heights) level(v float32) uint16 {
	span := float64(h.Most) - float64(h.Least)
	if !(span > 0) {
		return 0
	}
	scale := (levels - 1) / span
	return uint16(min((float64(v)-float64(h.Least))*scale, levels-1))
}

// Survey finds the [Heights] of a picture whose maps come row by row. It holds
// as many rows as the filters are high.
type Survey struct {
	filter    *filter
	threshold float32
	heights   Heights
}

// NewSurvey begins the survey of a picture of h rows of w pixels. It returns an
// error for options that mean nothing.
func NewSurvey(h, w int, o Options) (*Survey, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("instance: %w", err)
	}
	return &Survey{filter: newFilter(h, w, o, foreground, boundary), threshold: o.ForegroundThreshold}, nil
}

// Add takes the next row of each map, [W] finite values, from the top. It does
// not keep them.
func (s *Survey) Add(foreground, centre, boundary []float32) error {
	return s.filter.add([maps][]float32{foreground, centre, boundary}, s.look)
}

func (s *Survey) look(r *smoothRow) error {
	h := &s.heights
	for _, span := range r.spans {
		for x := span[0]; x < span[1]; x++ {
			if !(r.smooth[foreground][x] > s.threshold) {
				continue
			}
			v := r.smooth[boundary][x]
			if !h.Any {
				*h = Heights{v, v, true}
			}
			h.Least, h.Most = min(h.Least, v), max(h.Most, v)
		}
	}
	return nil
}

// Heights returns the range of the rows that were added, once all were.
func (s *Survey) Heights() Heights { return s.heights }

// Bands makes the instances of a picture whose maps come row by row: the same,
// pixel by pixel, that [Find] makes of the maps as a whole.
//
// The watershed works within each 8-connected part of the foreground and
// nothing of one part enters another: pixels of others only lie between those
// of a part on the stacks of the levels, and the order among its own is the
// same without them. So a part is flooded as soon as it has come to its end,
// and held until then. Instances come in the order of the last rows of their
// parts, and do not depend on how the rows are cut into bands, tiles or files.
//
// Bands holds some rows of the maps and the unfinished parts, of which a pixel
// takes 20 bytes or so, and 25 more while its part is flooded. If these have more
// pixels together than the limits allow, the largest part is flooded early, and
// so is one of more rows: instances that end [Margin] rows or more above the last
// row are handed on, and the others wait with their pixels. What is handed on
// leaves the others as they would have been, since no instance depends on pixels
// that become another's. What lies further down could move an outline that far up
// only along an unbroken chain of ties; nothing excludes that. If a part stays
// larger than half of what it was, or higher than half of what is allowed, as when
// a sheet of foreground has no seeds, it is cut along the row. Both are counted.
type Bands struct {
	filter  *filter
	o       Options
	size    mask.Size
	heights Heights
	emit    func(Object) error
	limits  Limits

	above  []reach // of the last row, from the left
	held   int     // pixels
	flood  flood
	counts Counts
}

// Counts says how much a [Bands] had to part with before its end.
type Counts struct {
	Early int // parts that were flooded early, each time
	Cut   int // and those that were cut along a row
}

// Limits bound what [Bands] holds.
type Limits struct {
	Pixels int // of foreground that wait for the end of their parts, together
	Rows   int // of a part
}

// DefaultLimits are a square millimetre of foreground and a millimetre of
// height at 0.25 micrometres per pixel. A process whose foreground was one part
// of a picture of 60,000 pixels across took 1.7 GB with it.
var DefaultLimits = Limits{Pixels: 1 << 24, Rows: 1 << 12}

// Margin is how many rows lie between what is handed on of an unfinished part
// and what is not known of it.
const Margin = 128

// NewBands begins a picture of h rows of w pixels whose foreground has the
// given heights, and hands its instances to emit, their masks in the frame of
// the picture.
//
// It returns an error for options that mean nothing.
func NewBands(h, w int, o Options, heights Heights, limits Limits, emit func(Object) error) (*Bands, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("instance: %w", err)
	}
	return &Bands{filter: newFilter(h, w, o, foreground, centre, boundary), o: o, size: mask.Size{H: h, W: w}, heights: heights, emit: emit, limits: limits}, nil
}

// Add takes the next row of each map, [W] finite values, from the top. It does
// not keep them.
//
// It returns the errors of emit, and ctx's error soon after ctx is done.
func (b *Bands) Add(ctx context.Context, foreground, centre, boundary []float32) error {
	return b.filter.add([maps][]float32{foreground, centre, boundary}, func(r *smoothRow) error { return b.row(ctx, r) })
}

// Settled returns a row above which no further instance has a pixel: all rows
// once all were added.
func (b *Bands) Settled() int {
	top := b.filter.out
	for _, r := range b.above {
		top = min(top, r.of.root().top)
	}
	return top
}

// Counts returns how much was parted with before its end.
func (b *Bands) Counts() Counts { return b.counts }

// row takes the next row of smoothed maps.
func (b *Bands) row(ctx context.Context, r *smoothRow) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	above := b.above
	b.above = b.join(r, above)
	for _, a := range above {
		if p := a.of.root(); p.last < r.y && !p.done {
			if err := b.finish(ctx, p); err != nil {
				return err
			}
		}
	}
	for _, a := range b.above {
		if p := a.of.root(); r.y-p.top >= b.limits.Rows {
			if err := b.shed(ctx, p, r.y); err != nil {
				return err
			}
		}
	}
	for b.held > b.limits.Pixels {
		if err := b.shed(ctx, b.largest(), r.y); err != nil {
			return err
		}
	}
	if r.y+1 < b.size.H {
		return nil
	}
	for _, a := range b.above {
		if p := a.of.root(); !p.done {
			if err := b.finish(ctx, p); err != nil {
				return err
			}
		}
	}
	b.above = nil
	return nil
}

// largest returns the unfinished part of most pixels, the first from the left
// of several.
func (b *Bands) largest() *part {
	most := b.above[0].of.root()
	for _, a := range b.above {
		if p := a.of.root(); p.pixels > most.pixels {
			most = p
		}
	}
	return most
}

// finish floods a part and hands on its instances.
func (b *Bands) finish(ctx context.Context, p *part) error {
	p.done = true
	b.held -= p.pixels
	found, err := b.flooded(ctx, p)
	if err != nil {
		return err
	}
	p.runs = nil
	for _, k := range found {
		if err := b.hand(k); err != nil {
			return err
		}
	}
	return nil
}

// flooded floods what is held of a part.
func (b *Bands) flooded(ctx context.Context, p *part) ([]grown, error) {
	p.sort()
	if err := b.flood.run(ctx, p.runs); err != nil {
		return nil, err
	}
	return b.flood.instances(p.runs), nil
}

// shed makes an unfinished part smaller, of which row y is the last.
func (b *Bands) shed(ctx context.Context, p *part, y int) error {
	found, err := b.flooded(ctx, p)
	if err != nil {
		return err
	}
	keep := make([]bool, len(found)+1)
	for i, k := range found {
		keep[i+1] = k.bounds.Max.Y > y+1-Margin
	}
	left, n := b.flood.keep(p.runs, keep, y)
	if b.counts.Early++; n > p.pixels/2 || n > 0 && y-left[0].y >= b.limits.Rows/2 {
		b.counts.Cut++
		left, n = nil, 0
		clear(keep)
	}
	b.held -= p.pixels - n
	p.runs, p.pixels, p.top = left, n, y+1
	if len(left) > 0 {
		p.top = left[0].y
	}
	for i, k := range found {
		if !keep[i+1] {
			if err := b.hand(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// hand gives an instance to emit unless it is too small or too faint.
func (b *Bands) hand(k grown) error {
	mean := float32(k.sum / float64(k.pixels))
	if k.pixels < b.o.MinSize || mean < b.o.MinForeground {
		return nil
	}
	m, err := mask.NewBuilder(b.size, k.bounds)
	if err != nil {
		return err
	}
	for _, r := range k.runs {
		m.SetRun(r)
	}
	return b.emit(Object{Mask: m.Mask(), Foreground: mean, Deep: k.deep, Seed: k.seed})
}

// grown is an instance of a flooded part.
type grown struct {
	seed, deep image.Point
	least      float32 // distance to the boundary at deep
	bounds     image.Rectangle
	pixels     int
	sum        float64 // of their foreground
	runs       []mask.Run
}
