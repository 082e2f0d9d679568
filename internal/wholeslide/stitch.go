package wholeslide

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"os"
	"slices"

	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/wsi"
)

// stitcher makes the objects of a scale of the maps that its tiles keep. It goes
// over the rows of the stitched map twice: for the heights of the watershed,
// then for the objects.
//
// Each object is the claimant's of its first pixel, and comes in the order of
// the tiles, then of the first pixels of their seeds; none whose deepest pixel
// lies outside the area. Its stain is that of its pixels in the tile's window.
type stitcher struct {
	plan  *scalePlan
	slide *wsi.Slide
	dir   string
	emit  func(found) error

	maps    *mapRows
	bands   *instance.Bands // nil before the survey
	waiting []stitched
	tally   Tally
}

// stitched is an object whose tile may have others to come.
type stitched struct {
	instance.Object
	tile Tile
}

// advance surveys the maps when it is called first, and then makes the objects
// of the next row of tiles. It reports whether there are more.
func (s *stitcher) advance(ctx context.Context, read readTileFunc) (bool, error) {
	if s.bands == nil {
		return true, s.survey(ctx, read)
	}
	y := s.plan.size.H // of all rows, for the last tiles
	if row := s.maps.row; row+1 < s.plan.rows {
		y = s.plan.at(row * s.plan.cols).Core.Max.Y
	}
	for s.maps.y < y {
		if err := s.maps.next(); err != nil {
			return false, err
		}
		if err := s.bands.Add(ctx, s.maps.values[foregroundMap], s.maps.values[centreMap], s.maps.values[boundaryMap]); err != nil {
			return false, err
		}
	}
	s.maps.row++
	return y < s.plan.size.H, s.release(ctx)
}

type readTileFunc func(p *scalePlan, tile int) (*tileContent, error)

// survey finds the heights of the foreground.
func (s *stitcher) survey(ctx context.Context, read readTileFunc) error {
	p := s.plan
	v, err := instance.NewSurvey(p.size.H, p.size.W, p.Maps.Options)
	if err != nil {
		return err
	}
	maps := newMapRows(p, s.dir, read)
	for maps.y < p.size.H {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := maps.next(); err != nil {
			return err
		}
		if err := v.Add(maps.values[foregroundMap], maps.values[centreMap], maps.values[boundaryMap]); err != nil {
			return err
		}
	}
	s.maps = newMapRows(p, s.dir, func(p *scalePlan, i int) (*tileContent, error) { return readTile(s.dir, p, i) })
	s.bands, err = instance.NewBands(p.size.H, p.size.W, p.Maps.Options, v.Heights(), instance.DefaultLimits, s.take)
	return err
}

// take takes the next object that is complete.
func (s *stitcher) take(k instance.Object) error {
	if !k.Deep.In(s.plan.area) {
		return nil // beyond the region
	}
	var first image.Point
	for r := range k.Mask.Runs() {
		first = image.Pt(r.X0, r.Y)
		break
	}
	t, ok := s.plan.claimant(first)
	if !ok {
		return fmt.Errorf("an object at %v, where no tile is", first)
	}
	s.tally.Masks++
	if !s.plan.fits(k.Mask.Area()) {
		s.tally.Size++
		return nil
	}
	s.tally.Seen++
	s.waiting = append(s.waiting, stitched{k, t})
	return nil
}

// release hands on the objects of the tiles that no further object begins in.
func (s *stitcher) release(ctx context.Context) error {
	settled := s.bands.Settled()
	slices.SortFunc(s.waiting, func(a, b stitched) int {
		return cmp.Or(a.tile.Index-b.tile.Index, a.Seed.Y-b.Seed.Y, a.Seed.X-b.Seed.X)
	})
	n := 0
	for n < len(s.waiting) {
		t := s.waiting[n].tile
		if t.Window.Max.Y > settled && settled < s.plan.size.H {
			break
		}
		to := n
		for to < len(s.waiting) && s.waiting[to].tile.Index == t.Index {
			to++
		}
		if err := s.hand(ctx, t, s.waiting[n:to]); err != nil {
			return err
		}
		n = to
	}
	s.waiting = slices.Delete(s.waiting, 0, n)
	return nil
}

// hand measures the stains of a tile's objects and hands them on.
func (s *stitcher) hand(ctx context.Context, t Tile, objects []stitched) error {
	img, err := readWindow(ctx, s.slide, s.plan, t.Window)
	if err != nil {
		return fmt.Errorf("tile %d at %v of the slide at %g micrometres per pixel: %w", t.Index, t.Window, s.plan.mpp, err)
	}
	for i, k := range objects {
		seen, err := k.Mask.Window(t.Window)
		if err != nil {
			return err
		}
		o := Object{
			Mask: k.Mask, IoUPred: k.Foreground, Stability: 1,
			Pt: Point{float64(k.Deep.X), float64(k.Deep.Y)}, stain: histology.MeanStain(img, seen),
		}
		if err := s.emit(found{sighting: sighting{Object: o}, tile: t.Index, index: i, tiles: 1, whole: true}); err != nil {
			return err
		}
	}
	return nil
}

// settled returns a row above which no further object lies.
func (s *stitcher) settled() int {
	if s.bands == nil {
		return 0
	}
	top := s.bands.Settled()
	for _, k := range s.waiting {
		top = min(top, k.Mask.Bounds().Min.Y)
	}
	return top
}

// doubts says what of the objects is not as in the whole map.
func (s *stitcher) doubts() []string {
	var out []string
	c, l := s.bands.Counts(), instance.DefaultLimits
	large := fmt.Sprintf("foreground without a gap filled more than %d pixels or %d rows at once", l.Pixels, l.Rows)
	if early := c.Early - c.Cut; early > 0 {
		out = append(out, fmt.Sprintf("%s: %d times objects were outlined before all of it was known, %d rows and more from what was not", large, early, instance.Margin))
	}
	if c.Cut > 0 {
		out = append(out, fmt.Sprintf("%s and was cut along a row of pixels %d times: objects may be cut there, and others near have other outlines", large, c.Cut))
	}
	return out
}

// mapRows gives the rows of a scale's stitched map from the top. It holds a
// strip of each tile that the row passes through.
type mapRows struct {
	plan   *scalePlan
	dir    string
	read   readTileFunc
	y, row int                 // to come: row of the map, and row of tiles for whoever counts them
	values [mapCount][]float32 // [W], of row y-1
	set    [][2]int            // their columns that are not background
	tiles  []mappedTile        // that rows from y on may pass through, by index
	opened int                 // of the plan's tiles
}

// mappedTile is a tile whose maps are being read.
type mappedTile struct {
	index  int
	maps   *mapsHeader
	begins int64 // of the strips, in the file
	strip  *strip
}

func newMapRows(p *scalePlan, dir string, read readTileFunc) *mapRows {
	m := &mapRows{plan: p, dir: dir, read: read}
	for k := range m.values {
		m.values[k] = make([]float32, p.size.W)
		for x := range m.values[k] {
			m.values[k][x] = stepValues[background[k]]
		}
	}
	return m
}

// next puts row y into values.
func (m *mapRows) next() error {
	for _, s := range m.set {
		for k := range m.values {
			for x := s[0]; x < s[1]; x++ {
				m.values[k][x] = stepValues[background[k]]
			}
		}
	}
	m.set = m.set[:0]
	if err := m.open(); err != nil {
		return err
	}
	for i := range m.tiles {
		t := &m.tiles[i]
		r := t.maps.rect()
		if m.y < r.Min.Y || m.y >= r.Max.Y {
			continue
		}
		if k := (m.y - r.Min.Y) / stripRows; t.strip == nil || t.strip.y != r.Min.Y+k*stripRows {
			var err error
			if t.strip, err = m.load(t, k); err != nil {
				return fmt.Errorf("maps of tile %d at %g micrometres per pixel: %w", t.index, m.plan.mpp, err)
			}
		}
		for _, run := range t.strip.rows[m.y-t.strip.y] {
			for k, v := range m.values {
				for i, q := range t.strip.values[k][run.at : run.at+run.x1-run.x0] {
					v[run.x0+i] = stepValues[q]
				}
			}
			m.set = append(m.set, [2]int{run.x0, run.x1})
		}
	}
	m.y++
	return nil
}

// open opens the tiles that row y reaches, and drops those that it has left.
func (m *mapRows) open() error {
	m.tiles = slices.DeleteFunc(m.tiles, func(t mappedTile) bool { return t.maps.rect().Max.Y <= m.y })
	p := m.plan
	// The last window is shifted inward, perhaps above the one before.
	last := p.at((p.rows - 1) * p.cols).Window.Min.Y
	for m.opened < len(p.tiles) && min(p.at(p.tiles[m.opened]).Window.Min.Y, last) <= m.y {
		i := p.tiles[m.opened]
		c, err := m.read(p, i)
		if err != nil {
			return err
		}
		info, err := os.Stat(tilePath(m.dir, p, i))
		if err != nil {
			return err
		}
		m.tiles = append(m.tiles, mappedTile{index: i, maps: c.maps, begins: info.Size() - int64(len(c.strips))})
		m.opened++
	}
	return nil
}

// load reads strip k of a tile.
func (m *mapRows) load(t *mappedTile, k int) (*strip, error) {
	f, err := os.Open(tilePath(m.dir, m.plan, t.index))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	from, to, rows := t.maps.strip(k)
	packed := make([]byte, to-from)
	if _, err := f.ReadAt(packed, t.begins+int64(from)); err != nil {
		return nil, err
	}
	return decodeStrip(packed, rows)
}
