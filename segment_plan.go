package sam

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"slices"
)

// slidePlan is how a slide is cut into tiles.
type slidePlan struct {
	// Scales have tiles of their own. The coarsest comes first: it is a small
	// part of the work and gives the large objects of the whole slide early.
	Scales []*scalePlan
	ID     string
}

// tiles returns the number of tiles with tissue of all scales.
func (p *slidePlan) tiles() int {
	n := 0
	for _, q := range p.Scales {
		n += len(q.Tiles)
	}
	return n
}

// scalePlan is how a slide is cut into tiles at one resolution. All
// rectangles are in its pixels.
type scalePlan struct {
	Index      int     // of the plan's scales
	W, H       int     // of the slide
	FX, FY     float64 // level-0 pixels per pixel
	MPP        float64 // 0: unknown
	Area       image.Rectangle
	Tile, Halo int
	Cols, Rows int
	Tiles      []int       `json:"-"` // those with tissue, by falling row and column
	lead       image.Point // how much wider the first core is
	scale      SegmentScale
	run        string // the plan's ID
}

// slideTile is one tile of a scale.
type slideTile struct {
	index    int
	row, col int
	core     image.Rectangle // owned by this tile alone; cores fill the area
	window   image.Rectangle // what is read
}

// maxTissue bounds a tissue mask.
const maxTissue = 1 << 26

// minTile is the smallest tile.
const minTile = 64

// newSlidePlan lays out the tiles of a slide; side is the model's input.
func newSlidePlan(ctx context.Context, s *Slide, side int, model string, o SegmentOptions) (*slidePlan, error) {
	scales, err := o.scales()
	if err != nil {
		return nil, err
	}
	if o.Shards < 0 || o.Shard < 0 || o.Shard >= max(o.Shards, 1) {
		return nil, fmt.Errorf("shard %d of %d", o.Shard, o.Shards)
	}
	p := &slidePlan{}
	for _, sc := range scales {
		q, err := newScalePlan(s, side, sc, o)
		if err != nil {
			return nil, err
		}
		p.Scales = append(p.Scales, q)
	}
	slices.SortStableFunc(p.Scales, func(a, b *scalePlan) int { return cmp.Compare(b.MPP, a.MPP) })
	for i, q := range p.Scales {
		if q.Index = i; i > 0 && q.MPP == p.Scales[i-1].MPP {
			return nil, fmt.Errorf("two scales of %g micrometres per pixel, want different ones", q.MPP)
		}
	}
	var cover *coverage
	if !o.AllTiles {
		tissue := o.Tissue
		if tissue == nil {
			if tissue, err = TissueMask(ctx, s); err != nil {
				return nil, err
			}
		}
		if z := tissue.Size(); z.H*z.W > maxTissue {
			return nil, fmt.Errorf("tissue mask of %d x %d, over %d pixels: reduce it", z.W, z.H, maxTissue)
		}
		cover = newCoverage(tissue)
	}
	for _, q := range p.Scales {
		q.chooseTiles(cover)
	}
	return p, p.name(s, model)
}

// newScalePlan lays out the tiles of one scale.
func newScalePlan(s *Slide, side int, sc SegmentScale, o SegmentOptions) (*scalePlan, error) {
	size := s.Size()
	p := &scalePlan{W: size.W, H: size.H, FX: 1, FY: 1, Tile: o.Tile, Halo: o.Halo, scale: sc}
	mx, my := s.MPP()
	p.MPP = math.Sqrt(mx * my)
	if sc.MPP != 0 {
		size, err := s.SizeAt(sc.MPP)
		if err != nil {
			return nil, err
		}
		p.W, p.H = size.W, size.H
		p.MPP, p.FX, p.FY = sc.MPP, sc.MPP/mx, sc.MPP/my
	}
	if p.Tile == 0 {
		p.Tile = side
	}
	if p.Halo == 0 {
		p.Halo = p.Tile / 8
	}
	switch {
	case p.Tile < minTile || p.Tile > 1<<14:
		return nil, fmt.Errorf("tile of %d pixels, want %d to %d", p.Tile, minTile, 1<<14)
	case p.Halo < 0 || 4*p.Halo > p.Tile:
		return nil, fmt.Errorf("halo of %d pixels for tiles of %d, want 0 to a quarter", p.Halo, p.Tile)
	case sc.Everything.Prompts != nil:
		return nil, fmt.Errorf("prompts in Everything belong to one picture: use Find")
	}
	p.Area = image.Rect(0, 0, p.W, p.H)
	if r := o.Region; r != (image.Rectangle{}) {
		at := func(v int, f float64, up bool) int {
			if up {
				return int(math.Ceil(float64(v)/f - 1e-6))
			}
			return int(float64(v)/f + 1e-6)
		}
		r = r.Intersect(image.Rect(0, 0, size.W, size.H))
		p.Area = p.Area.Intersect(image.Rect(at(r.Min.X, p.FX, false), at(r.Min.Y, p.FY, false), at(r.Max.X, p.FX, true), at(r.Max.Y, p.FY, true)))
		if p.Area.Empty() {
			return nil, fmt.Errorf("region %v lies outside the slide of %d x %d", o.Region, size.W, size.H)
		}
	}
	// At the slide's edge a core needs no halo beside it and is wider by one.
	tiles := func(from, to, size int) (n, lead int) {
		left := to - from
		if from == 0 {
			lead = p.Halo
		}
		if left -= lead; to == size {
			left -= p.Halo
		}
		return max(left-1, 0)/p.step() + 1, lead
	}
	p.Cols, p.lead.X = tiles(p.Area.Min.X, p.Area.Max.X, p.W)
	p.Rows, p.lead.Y = tiles(p.Area.Min.Y, p.Area.Max.Y, p.H)
	return p, nil
}

// step is how far tiles are apart.
func (p *scalePlan) step() int { return p.Tile - 2*p.Halo }

// chooseTiles lists the tiles whose core has tissue; nil means all.
func (p *scalePlan) chooseTiles(tissue *coverage) {
	for i := range p.Cols * p.Rows {
		if tissue == nil || tissue.any(p.tile(i).core, p.W, p.H) {
			p.Tiles = append(p.Tiles, i)
		}
	}
}

// name hashes all that the tiles' content depends on.
func (p *slidePlan) name(s *Slide, model string) error {
	type scale struct {
		Plan              scalePlan
		Tiles             []int
		PointsPerSide     int
		PointGrids        [][]Point
		Single            bool
		PredIoU, Stab     float64
		Offset, Threshold float64
		NMS, CropNMS      float64
		Crops             int
		Overlap           float64
		Down, Region      int
		Find              string
		Min, Max          int
		Local             bool `json:",omitempty"` // so that runs begun before it go on
	}
	var scales []scale
	for _, q := range p.Scales {
		e := q.scale.Everything
		scales = append(scales, scale{
			*q, q.Tiles, e.PointsPerSide, e.PointGrids, e.SingleMask, e.PredIoUThresh, e.StabilityScoreThresh, e.StabilityScoreOffset, e.MaskThreshold,
			e.BoxNMSThresh, e.CropNMSThresh, e.CropNLayers, e.CropOverlapRatio, e.CropNPointsDownscaleFactor, e.MinMaskRegionArea,
			findName(q.scale), q.scale.MinArea, q.scale.MaxArea, e.Local,
		})
	}
	b, err := json.Marshal(struct {
		Version      int
		Slide, Model string
		Scales       []scale
	}{2, s.w.Identity(), model, scales})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	p.ID = hex.EncodeToString(sum[:16])
	for _, q := range p.Scales {
		q.run = p.ID
	}
	return nil
}

func findName(o SegmentScale) string {
	if o.Find == nil {
		return ""
	}
	return "find " + o.FindName
}

// tile returns tile i, row by row. Windows have one size, shifted inward at
// the slide's edges, unless the slide is smaller.
func (p *scalePlan) tile(i int) slideTile {
	t := slideTile{index: i, row: i / p.Cols, col: i % p.Cols}
	x0, x1 := p.core(t.col, p.Cols, p.Area.Min.X, p.Area.Max.X, p.lead.X)
	y0, y1 := p.core(t.row, p.Rows, p.Area.Min.Y, p.Area.Max.Y, p.lead.Y)
	t.core = image.Rect(x0, y0, x1, y1)
	x, w := shift(x0-p.Halo, p.Tile, p.W)
	y, h := shift(y0-p.Halo, p.Tile, p.H)
	t.window = image.Rect(x, y, x+w, y+h)
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

// owner returns the tile whose core holds pt, if it lies in the area.
func (p *scalePlan) owner(pt image.Point) (int, bool) {
	if !pt.In(p.Area) {
		return 0, false
	}
	at := pt.Sub(p.Area.Min).Sub(p.lead).Div(p.step())
	col, row := min(max(at.X, 0), p.Cols-1), min(max(at.Y, 0), p.Rows-1)
	return row*p.Cols + col, true
}

// holds reports whether pt is for tile i to judge: it lies in its core, or
// outside those of all tiles with tissue.
func (p *scalePlan) holds(i int, pt image.Point) bool {
	owner, ok := p.owner(pt)
	if !ok || owner == i {
		return ok
	}
	_, planned := slices.BinarySearch(p.Tiles, owner)
	return !planned
}

// pixel returns the pixel that holds a point of the scale; a point on the far
// edge counts to the last one.
func (p *scalePlan) pixel(at Point) image.Point {
	return image.Pt(min(int(at.X), p.W-1), min(int(at.Y), p.H-1))
}

// shift moves the interval of n from x into 0 to size.
func shift(x, n, size int) (at, length int) {
	if n >= size {
		return 0, size
	}
	return min(max(x, 0), size-n), n
}
