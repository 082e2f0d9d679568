package sam

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"time"
)

// SegmentOptions changes how SegmentSlide works. The zero value looks for all
// objects on the slide's tissue at its finest level.
type SegmentOptions struct {
	// MPP is the resolution to work at, in micrometres per pixel; 0 means
	// that of level 0, and is the only choice if the slide has none.
	MPP float64
	// Region restricts the work to a rectangle of level 0; zero means all.
	Region image.Rectangle
	// Tile is the side of a tile; 0 means the model's input (1024).
	Tile int
	// Halo is how far neighbouring tiles overlap on each side of a seam; 0
	// means an eighth of the tile. Objects up to about twice as wide are whole
	// in one tile; larger ones are put together.
	Halo int
	// Tissue says where to look, as a mask of the slide at any size; nil
	// means TissueMask. Tiles whose core has no tissue are left out.
	Tissue *Mask
	// AllTiles looks everywhere.
	AllTiles bool
	// Everything says how a tile is searched. Its Prompts must be nil.
	Everything EverythingOptions
	// Find gives the prompts of a tile instead of a grid of points, for
	// instance FindNuclei; those more than half a halo outside the tile's
	// core are not decoded. FindName names it: runs of another name in the
	// same folder are told apart by it.
	Find     func(ctx context.Context, tile *image.RGBA, mpp float64) ([]Prompt, error)
	FindName string
	// MinArea and MaxArea bound objects, in pixels of the working
	// resolution; MaxArea 0 means no bound.
	MinArea, MaxArea int
	// Shard of Shards takes every Shards-th tile; Shards 0 or 1 means all.
	// A run with more than one shard leaves the outputs to MergeSlide.
	Shard, Shards int
	// Class names the objects in GeoJSON; empty: none.
	Class string
	// Progress, if set, is told after each tile. It is called by one
	// goroutine at a time.
	Progress func(SegmentProgress)
}

// SegmentProgress says how far a run is.
type SegmentProgress struct {
	Done, Total int           // tiles of this run, those of earlier runs included
	Resumed     int           // tiles that an earlier run had finished
	Objects     int           // found so far, before seams are merged
	Elapsed     time.Duration // of this run
	Left        time.Duration // what remains at this pace, 0 if unknown
}

// slidePlan is how a slide is cut into tiles. All rectangles are in pixels of
// the working resolution.
type slidePlan struct {
	W, H       int     // of the slide
	FX, FY     float64 // level-0 pixels per pixel
	MPP        float64 // 0: unknown
	Area       image.Rectangle
	Tile, Halo int
	Cols, Rows int
	Tiles      []int // those with tissue, by falling row and column
	ID         string
}

// slideTile is one tile of a plan.
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
	w, h := s.Size()
	p := &slidePlan{W: w, H: h, FX: 1, FY: 1, Tile: o.Tile, Halo: o.Halo}
	mx, my := s.MPP()
	p.MPP = math.Sqrt(mx * my)
	if o.MPP != 0 {
		var err error
		if p.W, p.H, err = s.SizeAt(o.MPP); err != nil {
			return nil, err
		}
		p.MPP, p.FX, p.FY = o.MPP, o.MPP/mx, o.MPP/my
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
	case o.Everything.Prompts != nil:
		return nil, fmt.Errorf("prompts in Everything belong to one picture: use Find")
	case o.Shards < 0 || o.Shard < 0 || o.Shard >= max(o.Shards, 1):
		return nil, fmt.Errorf("shard %d of %d", o.Shard, o.Shards)
	}
	p.Area = image.Rect(0, 0, p.W, p.H)
	if r := o.Region; r != (image.Rectangle{}) {
		at := func(v int, f float64, up bool) int {
			if up {
				return int(math.Ceil(float64(v)/f - 1e-6))
			}
			return int(float64(v)/f + 1e-6)
		}
		r = r.Intersect(image.Rect(0, 0, w, h))
		p.Area = p.Area.Intersect(image.Rect(at(r.Min.X, p.FX, false), at(r.Min.Y, p.FY, false), at(r.Max.X, p.FX, true), at(r.Max.Y, p.FY, true)))
		if p.Area.Empty() {
			return nil, fmt.Errorf("region %v lies outside the slide of %d x %d", o.Region, w, h)
		}
	}
	step := p.Tile - 2*p.Halo
	p.Cols, p.Rows = (p.Area.Dx()-1)/step+1, (p.Area.Dy()-1)/step+1
	tissue := o.Tissue
	if tissue == nil && !o.AllTiles {
		var err error
		if tissue, err = TissueMask(ctx, s); err != nil {
			return nil, err
		}
	}
	if z := tissue.Size(); !o.AllTiles && z.H*z.W > maxTissue {
		return nil, fmt.Errorf("tissue mask of %d x %d, over %d pixels: reduce it", z.W, z.H, maxTissue)
	}
	p.chooseTiles(tissue, o.AllTiles)
	return p, p.name(s, model, o)
}

// chooseTiles lists the tiles whose core has tissue.
func (p *slidePlan) chooseTiles(tissue *Mask, all bool) {
	var cover *coverage
	if !all {
		cover = newCoverage(tissue)
	}
	for i := range p.Cols * p.Rows {
		if all || cover.any(p.tile(i).core, p.W, p.H) {
			p.Tiles = append(p.Tiles, i)
		}
	}
}

// name hashes all that the tiles' content depends on.
func (p *slidePlan) name(s *Slide, model string, o SegmentOptions) error {
	o.Everything.Progress = nil
	b, err := json.Marshal(struct {
		Version           int
		Slide, Model      string
		Plan              slidePlan
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
	}{
		1, s.w.Identity(), model, *p, o.Everything.PointsPerSide, o.Everything.PointGrids, o.Everything.SingleMask,
		o.Everything.PredIoUThresh, o.Everything.StabilityScoreThresh, o.Everything.StabilityScoreOffset, o.Everything.MaskThreshold,
		o.Everything.BoxNMSThresh, o.Everything.CropNMSThresh, o.Everything.CropNLayers, o.Everything.CropOverlapRatio,
		o.Everything.CropNPointsDownscaleFactor, o.Everything.MinMaskRegionArea, findName(o), o.MinArea, o.MaxArea,
	})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	p.ID = hex.EncodeToString(sum[:16])
	return nil
}

func findName(o SegmentOptions) string {
	if o.Find == nil {
		return ""
	}
	return "find " + o.FindName
}

// tile returns tile i, row by row. Windows have one size, shifted inward at
// the slide's edges, unless the slide is smaller.
func (p *slidePlan) tile(i int) slideTile {
	step := p.Tile - 2*p.Halo
	t := slideTile{index: i, row: i / p.Cols, col: i % p.Cols}
	at := p.Area.Min.Add(image.Pt(t.col*step, t.row*step))
	t.core = image.Rectangle{Min: at, Max: at.Add(image.Pt(step, step))}.Intersect(p.Area)
	x, w := shift(at.X-p.Halo, p.Tile, p.W)
	y, h := shift(at.Y-p.Halo, p.Tile, p.H)
	t.window = image.Rect(x, y, x+w, y+h)
	return t
}

// owner returns the tile whose core holds pt, if it lies in the area.
func (p *slidePlan) owner(pt image.Point) (int, bool) {
	if !pt.In(p.Area) {
		return 0, false
	}
	step := p.Tile - 2*p.Halo
	pt = pt.Sub(p.Area.Min)
	return pt.Y/step*p.Cols + pt.X/step, true
}

// shift moves the interval of n from x into 0 to size.
func shift(x, n, size int) (at, length int) {
	if n >= size {
		return 0, size
	}
	return min(max(x, 0), size-n), n
}
