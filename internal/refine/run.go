package refine

import (
	"context"
	"errors"
	"fmt"
	"image"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/geojson"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/regular"
	"github.com/slidesam/sam/internal/wsi"
)

// JournalSuffix is what the journal's name has behind the output's.
const JournalSuffix = ".part"

// Run refines the objects of the GeoJSON file in and writes them to out. The
// file appears whole or not at all, its features in the order of in. What was
// done is in a journal beside it until then: Run with the same slide, model,
// annotations and options goes on from there, and ends with the same bytes.
//
// The error wraps [geojson.ErrFormat] if in cannot be used, [ErrOtherRun] if
// there is a journal of something else, and ctx's error soon after ctx is done.
// When Run returns nothing reads the slide any more.
func Run(ctx context.Context, s *wsi.Slide, in, out string, predict Predictor, o Options) (*Result, error) {
	f, err := regular.Open(in)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if same, err := sameFile(f, out); err != nil || same {
		return nil, errors.Join(err, fmt.Errorf("%s would be overwritten: give another file for the result", in))
	}
	p, err := newPlan(ctx, s, f, o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o777); err != nil {
		return nil, err
	}
	j, err := openJournal(out+JournalSuffix, p.id, len(p.windows), len(p.objects))
	if err != nil {
		return nil, err
	}
	defer j.f.Close()
	res := &Result{Objects: len(p.objects), Windows: len(p.windows)}
	if err := p.search(ctx, j, predict, res); err != nil {
		return nil, err
	}
	res.Missing = slices.Sorted(maps.Keys(j.missing))
	if err := p.write(ctx, j, out, res); err != nil {
		return nil, err
	}
	return res, j.remove()
}

// sameFile reports whether path names the open file.
func sameFile(f *os.File, path string) (bool, error) {
	a, err := f.Stat()
	if err != nil {
		return false, err
	}
	b, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(a, b), err
}

// view is a window on its way to the model.
type view struct {
	window int
	img    *image.RGBA
	err    error
}

// search answers the windows that the journal lacks.
func (p *plan) search(ctx context.Context, j *journal, predict Predictor, res *Result) error {
	var todo []int
	total := 0
	for i, w := range p.windows {
		total += len(w.objects)
		if !j.done[i] {
			todo = append(todo, i)
		}
	}
	res.Resumed = len(p.windows) - len(todo)
	ctx, stop := context.WithCancel(ctx)
	ahead := make(chan view, 1)
	go p.readAhead(ctx, todo, ahead)
	defer func() {
		stop()
		for range ahead { // until the reader is gone
		}
	}()
	begun := time.Now()
	report := func(done int) {
		if p.o.Progress == nil {
			return
		}
		r := Progress{
			Done: j.found, Total: total, Refined: j.refined, Windows: len(p.windows), Seen: res.Resumed + done, Resumed: res.Resumed, Elapsed: time.Since(begun),
		}
		if done > 0 {
			r.Left = r.Elapsed / time.Duration(done) * time.Duration(len(todo)-done)
		}
		p.o.Progress(r)
	}
	report(0)
	done := 0
	for v := range ahead {
		err := v.err
		if err == nil {
			err = p.answer(ctx, j, v, predict)
		}
		if err != nil {
			w := p.windows[v.window]
			return fmt.Errorf("window at %v of the slide at %g micrometres per pixel: %w", w.at, p.resolution(w.level), err)
		}
		done++
		report(done)
	}
	return ctx.Err()
}

// readAhead reads windows until one cannot be read or ctx is done.
func (p *plan) readAhead(ctx context.Context, todo []int, ahead chan<- view) {
	defer close(ahead)
	for _, i := range todo {
		w := p.windows[i]
		v := view{window: i, img: image.NewRGBA(image.Rect(0, 0, w.at.Dx(), w.at.Dy()))}
		if v.err = p.slide.ReadAt(ctx, p.resolution(w.level), w.at.Min, v.img); v.err == nil {
			wsi.OnWhite(v.img)
		}
		select {
		case ahead <- v:
		case <-ctx.Done():
			return
		}
		if v.err != nil {
			return
		}
	}
}

// missing names the tiles of the slide that a window lacks, and returns their
// places on level 0.
func (p *plan) missing(w window) (names []string, at []orb.Bound) {
	fx, fy := p.scale(w.level)
	b := orb.Bound{Min: orb.Point{float64(w.at.Min.X) * fx, float64(w.at.Min.Y) * fy}, Max: orb.Point{float64(w.at.Max.X) * fx, float64(w.at.Max.Y) * fy}}
	for _, e := range p.file.Skipped() {
		f := p.file.Levels()[e.Level].Downsample
		t := orb.Bound{Min: orb.Point{float64(e.Rect.Min.X) * f, float64(e.Rect.Min.Y) * f}, Max: orb.Point{float64(e.Rect.Max.X) * f, float64(e.Rect.Max.Y) * f}}
		if t.Intersects(b) {
			names, at = append(names, e.Error()), append(at, t)
		}
	}
	return names, at
}

// asked is an object as its window shows it.
type asked struct {
	object int32
	bound  orb.Bound  // on level 0
	coarse *mask.Mask // nil for a point
	prompt Prompt
}

// answer has the objects of a window refined, and writes its page.
func (p *plan) answer(ctx context.Context, j *journal, v view, predict Predictor) error {
	w := p.windows[v.window]
	missing, holes := p.missing(w)
	var out []finding
	var all []asked
	for _, n := range w.objects {
		a, err := p.ask(w, n)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(holes, a.bound.Intersects) {
			out = append(out, finding{Object: n, Reason: Unreadable, Coarse: -1})
			continue
		}
		all = append(all, *a)
	}
	if len(all) == 0 {
		return j.put(v.window, out, missing)
	}
	prompts := make([]Prompt, len(all))
	for i, a := range all {
		prompts[i] = a.prompt
	}
	mpp := 0.0
	if p.known {
		mpp = p.resolution(w.level)
	}
	answers, err := predict(ctx, v.img, mpp, prompts)
	if err != nil {
		return err
	}
	if len(answers) != len(all) {
		return fmt.Errorf("%d answers to %d prompts", len(answers), len(all))
	}
	for i, a := range all {
		f, err := p.judge(w, a, answers[i])
		if err != nil {
			return err
		}
		out = append(out, f)
	}
	return j.put(v.window, out, missing)
}

// ask makes the prompt for an object.
func (p *plan) ask(w window, n int32) (*asked, error) {
	b := p.objects[n]
	raw, err := geojson.FeatureAt(p.in, b.offset, b.length)
	if err != nil {
		return nil, err
	}
	f, err := geojson.Parse(raw, geojson.Options{})
	if err != nil {
		return nil, err
	}
	fx, fy := p.scale(w.level)
	local := func(q orb.Point) orb.Point {
		return orb.Point{
			min(max(q[0]/fx-float64(w.at.Min.X), 0), float64(w.at.Dx())),
			min(max(q[1]/fy-float64(w.at.Min.Y), 0), float64(w.at.Dy())),
		}
	}
	g := shape(f, b.part)
	a := &asked{object: n, bound: g.Bound()}
	if q, ok := g.(orb.Point); ok {
		q = local(q)
		a.prompt.Point = &Point{q[0], q[1]}
		return a, nil
	}
	lo, hi := local(a.bound.Min), local(a.bound.Max)
	a.prompt.Box = &Box{lo[0], lo[1], hi[0], hi[1]}
	var area orb.MultiPolygon
	for _, poly := range geojson.Area(g) {
		var q orb.Polygon
		for _, ring := range poly {
			r := make(orb.Ring, len(ring))
			for i, v := range ring {
				r[i] = orb.Point{v[0]/fx - float64(w.at.Min.X), v[1]/fy - float64(w.at.Min.Y)}
			}
			q = append(q, r)
		}
		area = append(area, q)
	}
	a.coarse, err = mask.FromPolygons(mask.Size{H: w.at.Dy(), W: w.at.Dx()}, area)
	return a, err
}

// margin is how far beyond its box a mask may reach, of the box's sides: the
// outline is coarse, but what lies farther away is another object.
const margin = 0.1

// judge decides whether a mask replaces the outline.
func (p *plan) judge(w window, a asked, r Answer) (finding, error) {
	f := finding{Object: a.object, IoUPred: r.IoUPred, Stability: r.Stability, Coarse: -1}
	m, err := r.Mask, error(nil)
	if b := a.prompt.Box; b != nil {
		dx, dy := margin*(b.X1-b.X0), margin*(b.Y1-b.Y0)
		m, err = m.Clip(image.Rect(int(math.Floor(b.X0-dx)), int(math.Floor(b.Y0-dy)), int(math.Ceil(b.X1+dx)), int(math.Ceil(b.Y1+dy))))
		if err != nil {
			return f, err
		}
		if m, err = onto(m, a.coarse); err != nil {
			return f, err
		}
		if a.coarse.Area() > 0 {
			f.Coarse = 0
			if m.Area() > 0 {
				f.Coarse = m.IoU(a.coarse)
			}
		}
	}
	under := func(v, least float64) bool { return least > 0 && !(v >= least) }
	switch {
	case m.Area() == 0:
		f.Reason = EmptyMask
	case under(float64(r.IoUPred), p.o.PredIoU):
		f.Reason = LowIoU
	case under(float64(r.Stability), p.o.Stability):
		f.Reason = LowStable
	case f.Coarse >= 0 && under(f.Coarse, p.o.CoarseIoU):
		f.Reason = Disagrees
	default:
		f.Outline, f.Area = p.outline(w, m)
		f.Perimeter, f.Circular = m.Perimeter(), m.Circularity()
	}
	return f, nil
}

// onto returns the 8-connected parts of a mask that lie on another one. It is
// the mask itself if none does.
func onto(m, on *mask.Mask) (*mask.Mask, error) {
	both, err := m.Intersect(on)
	if err != nil {
		return nil, err
	}
	var pixels []image.Point
	for r := range both.Runs() {
		pixels = append(pixels, image.Pt(r.X0, r.Y))
	}
	return m.Touching(pixels)
}

// outline returns a window's mask on level 0, to a thousandth of a pixel, and
// its area.
func (p *plan) outline(w window, m *mask.Mask) (orb.MultiPolygon, float64) {
	fx, fy := p.scale(w.level)
	round := func(v float64) float64 { return math.Round(v*1000) / 1000 }
	out := m.Polygons()
	for _, poly := range out {
		for _, ring := range poly {
			for i, v := range ring {
				ring[i] = orb.Point{round((v[0] + float64(w.at.Min.X)) * fx), round((v[1] + float64(w.at.Min.Y)) * fy)}
			}
		}
	}
	return out, round(float64(m.Area()) * fx * fy)
}
