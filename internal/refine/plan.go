package refine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"slices"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/planar"

	"github.com/slidesam/sam/internal/geojson"
	"github.com/slidesam/sam/internal/wsi"
)

// maxObjects bounds the objects of a file: some hundred bytes of each are held.
const maxObjects = 1 << 25

// plan is which object is looked for in which window.
type plan struct {
	o       Options
	file    *wsi.Slide // as it is
	slide   *wsi.Slide // with a resolution, if only that of its pixels
	known   bool       // whether that is real
	mpp     float64    // of the finest windows
	own     float64    // of level 0
	in      *os.File
	objects []object // in the file's order
	windows []window // in the order of work
	id      string
}

// object is a feature of the file, or one of the points of a feature.
type object struct {
	offset, length int64
	part           int32 // of a feature of several points; -1: the whole feature
	window         int32 // -1: none
	reason         Reason
}

// window is a part of the slide that is looked at once.
type window struct {
	level   int             // of halved resolution; 0: the finest
	at      image.Rectangle // in pixels of the level
	objects []int32
	key     windowKey
}

type windowKey struct {
	level, step, col, row int
}

// newPlan reads the annotations once and puts the objects into windows.
func newPlan(ctx context.Context, s *wsi.Slide, in *os.File, o Options) (*plan, error) {
	p := &plan{o: o, file: s, slide: s, known: true, in: in}
	if o.Window < 64 || o.Window > 1<<14 {
		return nil, fmt.Errorf("window of %d pixels, want 64 to %d", o.Window, 1<<14)
	}
	m := s.Meta()
	if m.MPPX == 0 || m.MPPY == 0 {
		if o.MPP != 0 {
			return nil, wsi.ErrNoMPP
		}
		var err error
		if p.slide, err = wsi.FromSource(s, 1); err != nil {
			return nil, err
		}
		p.known, m = false, p.slide.Meta()
	}
	p.own = math.Sqrt(m.MPPX * m.MPPY)
	if p.mpp = o.MPP; p.mpp == 0 {
		p.mpp = p.own
	}
	if !(p.mpp > p.own/4.001) || p.mpp > 1e3*p.own {
		return nil, fmt.Errorf("%g micrometres per pixel on a slide of %.4g: want a quarter of that to a thousand times", p.mpp, p.own)
	}
	within, err := p.containers(ctx)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	if err := p.read(ctx, sum, within); err != nil {
		return nil, err
	}
	return p, p.identify(ctx, hex.EncodeToString(sum.Sum(nil)))
}

// containers returns the areas that objects have to lie in, nil if anywhere.
func (p *plan) containers(ctx context.Context) ([]orb.MultiPolygon, error) {
	if p.o.Within == "" {
		return nil, nil
	}
	var out []orb.MultiPolygon
	err := p.each(ctx, io.Discard, func(_ *geojson.Scanner, f *geojson.Object) error {
		if area := geojson.Area(f.Geometry); len(area) > 0 && p.isContainer(f) {
			out = append(out, area)
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("no annotation with an area is called %q, by its name, class or id", p.o.Within)
	}
	return out, err
}

func (p *plan) isContainer(f *geojson.Object) bool {
	w := p.o.Within
	return w != "" && f.Type == geojson.Annotation && (f.Name == w || f.ID == w || geojson.IsClass(f.Class, w))
}

// each calls use for each feature of the file.
func (p *plan) each(ctx context.Context, sum io.Writer, use func(*geojson.Scanner, *geojson.Object) error) error {
	if _, err := p.in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	s := geojson.NewScanner(io.TeeReader(p.in, sum))
	for n := 0; s.Scan(); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := geojson.Parse(s.Bytes(), geojson.Options{})
		if err != nil {
			return fmt.Errorf("%s: feature %d: %w", p.in.Name(), n, err)
		}
		if err := use(s, f); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%s: %w", p.in.Name(), err)
	}
	return nil
}

// read lists the objects.
func (p *plan) read(ctx context.Context, sum io.Writer, within []orb.MultiPolygon) error {
	byKey := map[windowKey]int32{}
	err := p.each(ctx, sum, func(s *geojson.Scanner, f *geojson.Object) error {
		offset, length := s.Place()
		parts := 1
		if points, ok := f.Geometry.(orb.MultiPoint); ok && f.Nucleus == nil {
			parts = len(points)
		}
		if len(p.objects)+parts > maxObjects {
			return fmt.Errorf("%s: over %d objects: refine it in parts", p.in.Name(), maxObjects)
		}
		for k := range max(parts, 1) {
			b := object{offset: offset, length: length, part: -1, window: -1}
			if parts > 1 {
				b.part = int32(k)
			}
			var key windowKey
			if key, b.reason = p.place(f, b.part, within); b.reason == Refined {
				i, ok := byKey[key]
				if !ok {
					i = int32(len(p.windows))
					byKey[key] = i
					p.windows = append(p.windows, window{level: key.level, at: p.rectangle(key), key: key})
				}
				b.window = i
				p.windows[i].objects = append(p.windows[i].objects, int32(len(p.objects)))
			}
			p.objects = append(p.objects, b)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// Row by row, the coarsest first: they are few, and show early what comes.
	order := make([]int32, len(p.windows))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		x, y := p.windows[a].key, p.windows[b].key
		return cmp.Or(cmp.Compare(y.level, x.level), cmp.Compare(x.step, y.step), cmp.Compare(x.row, y.row), cmp.Compare(x.col, y.col))
	})
	sorted := make([]window, len(order))
	for i, k := range order {
		sorted[i] = p.windows[k]
		for _, n := range sorted[i].objects {
			p.objects[n].window = int32(i)
		}
	}
	p.windows = sorted
	return nil
}

// shape returns what of a feature is refined: its nucleus if it has one, or one
// of its points.
func shape(f *geojson.Object, part int32) orb.Geometry {
	if f.Nucleus != nil {
		return f.Nucleus
	}
	points, ok := f.Geometry.(orb.MultiPoint)
	switch {
	case ok && part >= 0:
		return points[part]
	case ok && len(points) == 1:
		return points[0]
	}
	return f.Geometry
}

// place returns the window that an object is looked for in, and Refined, or why
// it is left alone.
func (p *plan) place(f *geojson.Object, part int32, within []orb.MultiPolygon) (windowKey, Reason) {
	var none windowKey
	if p.isContainer(f) && geojson.Area(f.Geometry) != nil {
		return none, Container
	}
	if len(p.o.Classes) > 0 && !slices.ContainsFunc(p.o.Classes, func(c string) bool { return geojson.IsClass(f.Class, c) }) {
		return none, OtherName
	}
	g := shape(f, part)
	point, isPoint := g.(orb.Point)
	area := geojson.Area(g)
	if !isPoint && !(math.Abs(planar.Area(area)) > 0) {
		return none, NoOutline
	}
	b := g.Bound()
	if isPoint {
		b = point.Bound()
	}
	if within != nil && !slices.ContainsFunc(within, func(a orb.MultiPolygon) bool { return planar.MultiPolygonContains(a, b.Center()) }) {
		return none, Outside
	}
	if f.Locked {
		return none, Locked
	}
	l := p.slide.Levels()[0]
	w, h := float64(l.W), float64(l.H)
	if b.Max[0] <= 0 || b.Max[1] <= 0 || b.Min[0] >= w || b.Min[1] >= h {
		return none, OffSlide
	}
	b = orb.Bound{Min: orb.Point{max(b.Min[0], 0), max(b.Min[1], 0)}, Max: orb.Point{min(b.Max[0], w), min(b.Max[1], h)}}
	return p.key(b), Refined
}

// key chooses the window of an object with the given bounds. Small objects
// share windows that overlap by a quarter, larger ones such that overlap by
// half; what does not fit into half a window is seen at half the resolution,
// and so on.
func (p *plan) key(b orb.Bound) windowKey {
	side := float64(p.o.Window)
	room := side / 16 // around an object at least
	for level := 0; ; level++ {
		size := p.sizeAt(level)
		fx, fy := p.scale(level)
		wide := max((b.Max[0]-b.Min[0])/fx, (b.Max[1]-b.Min[1])/fy)
		step := p.o.Window / 2
		switch {
		case level == 0 && wide <= side/4-room:
			step = p.o.Window * 3 / 4
		case wide <= side/2-room:
		case max(size.X, size.Y) <= p.o.Window: // the window holds the slide
		default:
			continue
		}
		c := b.Center()
		return windowKey{level, step, int(c[0] / fx / float64(step)), int(c[1] / fy / float64(step))}
	}
}

// resolution returns the micrometres per pixel of a level of windows.
func (p *plan) resolution(level int) float64 { return math.Ldexp(p.mpp, level) }

// scale returns the level-0 pixels per pixel of a level of windows.
func (p *plan) scale(level int) (fx, fy float64) {
	m := p.slide.Meta()
	return p.resolution(level) / m.MPPX, p.resolution(level) / m.MPPY
}

// sizeAt returns the size of the slide at a level of windows.
func (p *plan) sizeAt(level int) image.Point {
	w, h, _ := p.slide.SizeAt(p.resolution(level)) // the slide has a resolution
	return image.Pt(w, h)
}

// rectangle returns a window's place at its level, within the slide.
func (p *plan) rectangle(k windowKey) image.Rectangle {
	size := p.sizeAt(k.level)
	axis := func(i, n int) (int, int) {
		if n <= p.o.Window {
			return 0, n
		}
		at := min(max(i*k.step+k.step/2-p.o.Window/2, 0), n-p.o.Window)
		return at, at + p.o.Window
	}
	x0, x1 := axis(k.col, size.X)
	y0, y1 := axis(k.row, size.Y)
	return image.Rect(x0, y0, x1, y1)
}

// identity is all that answers depend on.
type identity struct {
	Version     int             `json:"version"`
	Slide       string          `json:"slide"`
	Annotations string          `json:"annotations"`
	MPP         float64         `json:"mpp"`
	Window      int             `json:"window"`
	Classes     []string        `json:"classes"`
	Within      string          `json:"within"`
	PredIoU     float64         `json:"pred_iou"`
	Stability   float64         `json:"stability"`
	CoarseIoU   float64         `json:"coarse_iou"`
	Model       json.RawMessage `json:"model"`
}

const identityVersion = 2

func (p *plan) identify(ctx context.Context, annotations string) error {
	slide, err := p.file.Identity(ctx)
	if err != nil {
		return err
	}
	model := p.o.Model
	if model == nil {
		model = json.RawMessage("null")
	}
	b, err := json.Marshal(identity{
		identityVersion, slide, annotations, p.mpp, p.o.Window, p.o.Classes, p.o.Within, p.o.PredIoU, p.o.Stability, p.o.CoarseIoU, model,
	})
	if err != nil {
		return errors.Join(errors.New("identify the run"), err)
	}
	sum := sha256.Sum256(b)
	p.id = hex.EncodeToString(sum[:16])
	return nil
}
