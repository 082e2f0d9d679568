package wholeslide

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/wsi"
)

// Plan is how a slide is cut into tiles. It is immutable.
type Plan struct {
	// scales have tiles of their own. The coarsest comes first: it is a small
	// part of the work and gives the large objects of the whole slide early.
	scales        []*scalePlan
	id            string
	shard, shards int
	notes, doubts []string // before anything is searched
}

// scalePlan is how a slide is cut into tiles at one resolution. All
// rectangles are in its pixels.
type scalePlan struct {
	Scale
	index      int       // of the plan's scales
	size       mask.Size // of the slide
	fx, fy     float64   // level-0 pixels per pixel
	mpp        float64   // 0: unknown
	area       image.Rectangle
	tile, halo int
	cols, rows int
	tiles      []int                   // those with tissue, by falling row and column
	lead       image.Point             // how much wider the first core is
	run        string                  // the plan's ID
	stains     *histology.StainVectors // of the slide, if they are normalised
}

// Tile is one rectangle of a slide at a scale.
type Tile struct {
	Index    int
	Row, Col int
	Core     image.Rectangle // owned by this tile alone; cores fill the area
	Window   image.Rectangle // what is read
	MPP      float64         // 0: unknown
	Halo     int             // of the plan: windows overlap by twice as much
	Side     int             // of a window, but where the slide is smaller
}

const (
	minTile = 64
	maxTile = 1 << 14
	// maxTissue bounds a tissue mask, in pixels.
	maxTissue = 1 << 26
	// maxTiles bounds a plan: it is held in memory.
	maxTiles = 1 << 24
	// maxEnlarge is how many times a slide may be enlarged.
	maxEnlarge = 4
)

// New lays out the tiles of a slide.
func New(ctx context.Context, s *wsi.Slide, o Options) (*Plan, error) {
	if o.Shards < 0 || o.Shard < 0 || o.Shard >= max(o.Shards, 1) {
		return nil, fmt.Errorf("shard %d of %d", o.Shard, o.Shards)
	}
	if len(o.Scales) == 0 {
		return nil, errors.New("no scale to look at")
	}
	p := &Plan{shard: o.Shard, shards: max(o.Shards, 1)}
	for _, sc := range o.Scales {
		q, err := newScalePlan(s, sc, o)
		if err != nil {
			return nil, err
		}
		p.scales = append(p.scales, q)
	}
	slices.SortStableFunc(p.scales, func(a, b *scalePlan) int { return cmp.Compare(b.mpp, a.mpp) })
	for i, q := range p.scales {
		if q.index = i; i > 0 && q.mpp == p.scales[i-1].mpp {
			return nil, fmt.Errorf("two scales of %g micrometres per pixel, want different ones", q.mpp)
		}
	}
	var cover *histology.Coverage
	if o.Tissue != nil {
		if z := o.Tissue.Size(); z.H*z.W > maxTissue {
			return nil, fmt.Errorf("tissue mask of %d x %d, over %d pixels: reduce it", z.W, z.H, maxTissue)
		}
		cover = histology.NewCoverage(o.Tissue)
	}
	for _, q := range p.scales {
		if err := q.chooseTiles(ctx, cover); err != nil {
			return nil, err
		}
	}
	if err := p.normalise(ctx, s); err != nil {
		return nil, err
	}
	return p, p.identify(ctx, s)
}

// Tiles returns the number of tiles with tissue of all scales.
func (p *Plan) Tiles() int {
	n := 0
	for _, q := range p.scales {
		n += len(q.tiles)
	}
	return n
}

// newScalePlan lays out the tiles of one scale.
func newScalePlan(s *wsi.Slide, sc Scale, o Options) (*scalePlan, error) {
	l := s.Levels()[0]
	p := &scalePlan{Scale: sc, size: mask.Size{H: l.H, W: l.W}, fx: 1, fy: 1, tile: o.Tile, halo: o.Halo}
	mx, my := s.Meta().MPPX, s.Meta().MPPY
	p.mpp = math.Sqrt(mx * my)
	if sc.MPP != 0 {
		w, h, err := s.SizeAt(sc.MPP)
		if err != nil {
			return nil, err
		}
		if f := sc.MPP / max(mx, my); f < 1/float64(maxEnlarge) {
			return nil, fmt.Errorf("%g micrometres per pixel on a slide of %.4g: enlarging it %.4g times shows nothing more, want %d at most", sc.MPP, max(mx, my), 1/f, maxEnlarge)
		}
		p.size = mask.Size{H: h, W: w}
		p.mpp, p.fx, p.fy = sc.MPP, sc.MPP/mx, sc.MPP/my
	}
	if p.halo == 0 {
		p.halo = p.tile / 8
	}
	switch {
	case p.tile < minTile || p.tile > maxTile:
		return nil, fmt.Errorf("tile of %d pixels, want %d to %d", p.tile, minTile, maxTile)
	case sc.MinArea < 0 || sc.MaxArea < 0 || sc.MaxArea > 0 && sc.MinArea > sc.MaxArea:
		return nil, fmt.Errorf("objects of %d to %d pixels, want the least area first", sc.MinArea, sc.MaxArea)
	case sc.Maps.Find != nil && !(sc.Maps.Options.ForegroundThreshold > 0):
		return nil, fmt.Errorf("threshold of %g for foreground, want more than 0", sc.Maps.Options.ForegroundThreshold)
	case p.halo < 0 || 4*p.halo > p.tile:
		return nil, fmt.Errorf("halo of %d pixels for tiles of %d, want 0 to a quarter", p.halo, p.tile)
	}
	p.area = image.Rect(0, 0, p.size.W, p.size.H)
	if r := o.Region; r != (image.Rectangle{}) {
		at := func(v int, f float64, up bool) int {
			if up {
				return int(math.Ceil(float64(v)/f - 1e-6))
			}
			return int(float64(v)/f + 1e-6)
		}
		r = r.Intersect(image.Rect(0, 0, l.W, l.H))
		p.area = p.area.Intersect(image.Rect(at(r.Min.X, p.fx, false), at(r.Min.Y, p.fy, false), at(r.Max.X, p.fx, true), at(r.Max.Y, p.fy, true)))
		if p.area.Empty() {
			return nil, fmt.Errorf("region %v lies outside the slide of %d x %d", o.Region, l.W, l.H)
		}
	}
	// At the slide's edge a core needs no halo beside it and is wider by one.
	tiles := func(from, to, size int) (n, lead int) {
		left := to - from
		if from == 0 {
			lead = p.halo
		}
		if left -= lead; to == size {
			left -= p.halo
		}
		return max(left-1, 0)/p.step() + 1, lead
	}
	p.cols, p.lead.X = tiles(p.area.Min.X, p.area.Max.X, p.size.W)
	p.rows, p.lead.Y = tiles(p.area.Min.Y, p.area.Max.Y, p.size.H)
	if p.rows > maxTiles/p.cols {
		return nil, fmt.Errorf("%d x %d tiles at %g micrometres per pixel, over %d: work at a coarser resolution, in a region or with larger tiles", p.cols, p.rows, p.mpp, maxTiles)
	}
	return p, nil
}

// step is how far tiles are apart.
func (p *scalePlan) step() int { return p.tile - 2*p.halo }

// chooseTiles lists the tiles whose core has tissue; nil means all.
func (p *scalePlan) chooseTiles(ctx context.Context, tissue *histology.Coverage) error {
	for i := range p.cols * p.rows {
		if i%(1<<16) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if tissue == nil || tissue.Any(p.at(i).Core, p.size.W, p.size.H) {
			p.tiles = append(p.tiles, i)
		}
	}
	return nil
}

// at returns tile i, row by row. Windows have one size, shifted inward at
// the slide's edges, unless the slide is smaller.
func (p *scalePlan) at(i int) Tile {
	t := Tile{Index: i, Row: i / p.cols, Col: i % p.cols, MPP: p.mpp, Halo: p.halo, Side: p.tile}
	x0, x1 := p.core(t.Col, p.cols, p.area.Min.X, p.area.Max.X, p.lead.X)
	y0, y1 := p.core(t.Row, p.rows, p.area.Min.Y, p.area.Max.Y, p.lead.Y)
	t.Core = image.Rect(x0, y0, x1, y1)
	x, w := shift(x0-p.halo, p.tile, p.size.W)
	y, h := shift(y0-p.halo, p.tile, p.size.H)
	t.Window = image.Rect(x, y, x+w, y+h)
	return t
}

// core returns the interval of the k-th of n cores along an axis.
func (p *scalePlan) core(k, n, from, to, lead int) (int, int) {
	a, b := from+lead+k*p.step(), from+lead+(k+1)*p.step()
	if k == 0 {
		a = from
	}
	if k == n-1 {
		b = to
	}
	return a, b
}

// owner returns the tile whose core holds px, if it lies in the area.
func (p *scalePlan) owner(px image.Point) (int, bool) {
	if !px.In(p.area) {
		return 0, false
	}
	at := px.Sub(p.area.Min).Sub(p.lead).Div(p.step())
	col, row := min(max(at.X, 0), p.cols-1), min(max(at.Y, 0), p.rows-1)
	return row*p.cols + col, true
}

// ownerUntil returns the tile whose core holds px, -1 if none does, and a column
// up to which that holds on its row.
func (p *scalePlan) ownerUntil(px image.Point) (tile, x int) {
	i, ok := p.owner(px)
	switch {
	case ok:
		return i, p.at(i).Core.Max.X
	case px.X < p.area.Min.X:
		return -1, p.area.Min.X
	}
	return -1, p.size.W
}

// holds reports whether px is for tile i to judge: it lies in its core, or
// outside those of all tiles with tissue.
func (p *scalePlan) holds(i int, px image.Point) bool {
	owner, ok := p.owner(px)
	if !ok || owner == i {
		return ok
	}
	_, planned := slices.BinarySearch(p.tiles, owner)
	return !planned
}

// pixel returns the pixel that holds a point of the scale; a point on the far
// edge counts to the last one.
func (p *scalePlan) pixel(at Point) image.Point {
	return image.Pt(min(int(at.X), p.size.W-1), min(int(at.Y), p.size.H-1))
}

// level0 returns a rectangle in level-0 pixels.
func (p *scalePlan) level0(r image.Rectangle) (x0, y0, x1, y1 float64) {
	return float64(r.Min.X) * p.fx, float64(r.Min.Y) * p.fy, float64(r.Max.X) * p.fx, float64(r.Max.Y) * p.fy
}

// shift moves the interval of n from x into 0 to size.
func shift(x, n, size int) (at, length int) {
	if n >= size {
		return 0, size
	}
	return min(max(x, 0), size-n), n
}
