package slide

import (
	"context"
	"fmt"
	"image"
	"image/draw"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/project"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/internal/synth"
)

// synthetic is a synthetic slide as a source of pixels.
type synthetic struct {
	slide  *synth.Slide
	levels []sam.SlideLevel
}

func newSynthetic(seed uint64, side int) *synthetic {
	s := &synthetic{slide: synth.New(seed, synth.Options{Width: side, Height: side, Solid: side < 10_000})}
	for k := 0; ; k++ {
		w, h, _ := s.slide.Level(k)
		s.levels = append(s.levels, sam.SlideLevel{W: w, H: h, TileW: 256, TileH: 256, Downsample: float64(int(1) << k)})
		if max(w, h) <= 2048 {
			return s
		}
	}
}

// Levels returns the levels.
func (s *synthetic) Levels() []sam.SlideLevel { return s.levels }

// ReadRegion draws a rectangle of a level.
func (s *synthetic) ReadRegion(ctx context.Context, level int, at image.Point, dst *image.RGBA) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, _, mpp := s.slide.Level(level)
	img, _ := s.slide.Region(at.X, at.Y, dst.Rect.Dx(), dst.Rect.Dy(), mpp)
	draw.Draw(dst, dst.Rect, img, image.Point{}, draw.Src)
	return nil
}

// The demonstration: one field of a synthetic slide. Truth is drawn for
// slides of at most maxTruth pixels a side.
const (
	demoSeed = 2031
	demoSide = 1024
	maxTruth = 8192
)

// demo segments a synthetic slide and counts what was found against truth.
func demo(ctx context.Context, m *sam.Model, j *job, log *slog.Logger, stdout io.Writer) error {
	src := newSynthetic(demoSeed, j.synthetic)
	s, err := sam.NewSlide(src, src.slide.MPP())
	if err != nil {
		return err
	}
	res, err := segment(ctx, m, s, j.out, j, log)
	if err != nil || !res.Merged {
		return err
	}
	fine := res.Scales[len(res.Scales)-1].MPP
	size, err := s.SizeAt(fine)
	if err != nil {
		return err
	}
	w, h := size.W, size.H
	var notes []string
	if max(w, h) <= maxTruth {
		_, truth := src.slide.Region(0, 0, w, h, fine)
		c, err := compare(j.out, truth, fine, s)
		if err != nil {
			return err
		}
		notes = append(notes, c.String())
	}
	if err := writePage(ctx, j.out, page{Title: "A synthetic slide", Slide: s, Result: res, Notes: notes}); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "synthetic slide: %d objects in %d tiles\n%s\n%s: look at it\n", res.Objects, res.Tiles, strings.Join(notes, "\n"), filepath.Join(j.out, pageFile))
	return nil
}

// comparison counts objects of the finest scale against nuclei: an object
// hits the nucleus that the centre of its box lies in, and matches the one that
// it has an IoU of at least 0.5 with.
type comparison struct {
	objects, hits, nuclei, found int
	match                        eval.Counts
}

// String says it in a line.
func (c comparison) String() string {
	return fmt.Sprintf("nuclei: %d of %d have an object, %d of %d objects lie on one; %d pairs of IoU 0.5 and more, mean %.2f, F1 %.2f",
		c.found, c.nuclei, c.hits, c.objects, c.match.TP, c.match.MeanMatched(eval.EmptyZero), c.match.F1(eval.EmptyZero))
}

// compare compares the objects in dir with truth drawn at mpp.
func compare(dir string, truth *synth.Truth, mpp float64, s *sam.Slide) (comparison, error) {
	var c comparison
	own, _ := s.MPP()
	found := map[int32]bool{}
	err := readTable(filepath.Join(dir, sam.CSVFile), func(o object) {
		if o.mpp != mpp {
			return
		}
		c.objects++
		x, y := int(o.midX*own/mpp), int(o.midY*own/mpp)
		if n := truth.Nuclei[y*truth.W+x]; n > 0 {
			c.hits++
			found[n] = true
		}
	})
	if err != nil {
		return c, err
	}
	c.found, c.nuclei = len(found), len(truth.List)
	pred, err := readOutlines(filepath.Join(dir, sam.GeoJSONFile), truth.W, truth.H, mpp, own/mpp)
	if err != nil {
		return c, err
	}
	o, err := eval.NewOverlap(eval.Labels{H: truth.H, W: truth.W, Pix: truth.Nuclei}, pred)
	if err != nil {
		return c, err
	}
	c.match, _ = o.Match(0.5)
	return c, nil
}

// readOutlines draws the objects of a scale in a GeoJSON file as labels of h x
// w pixels, f of which are one of level 0.
func readOutlines(path string, w, h int, mpp, f float64) (eval.Labels, error) {
	l := eval.NewLabels(sam.Size{H: h, W: w})
	b, err := os.ReadFile(path)
	if err != nil {
		return l, err
	}
	fc, err := geojson.UnmarshalFeatureCollection(b)
	if err != nil {
		return l, fmt.Errorf("%s: %w", path, err)
	}
	for i, o := range fc.Features {
		if m, _ := o.Properties["measurements"].(map[string]any); m[sam.MeasureScale] != mpp {
			continue
		}
		var area orb.MultiPolygon
		switch g := o.Geometry.(type) {
		case orb.Polygon:
			area = orb.MultiPolygon{g}
		case orb.MultiPolygon:
			area = g
		}
		area = project.MultiPolygon(area, func(p orb.Point) orb.Point { return orb.Point{p[0] * f, p[1] * f} })
		m, err := sam.MaskFromPolygons(sam.Size{H: h, W: w}, area)
		if err != nil {
			return l, fmt.Errorf("%s: feature %d: %w", path, i, err)
		}
		for r := range m.Runs() {
			for x := r.X0; x < r.X1; x++ {
				l.Pix[r.Y*w+x] = int32(i + 1)
			}
		}
	}
	return l, nil
}
