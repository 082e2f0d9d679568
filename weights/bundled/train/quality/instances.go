package main

import (
	"compress/zlib"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/internal/synth"
	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/weights/bundled"
)

// leastNucleus is the area in square micrometres that no nucleus is below, as for
// the slide command.
const leastNucleus = 8

// method is a way to find all nuclei of a slide.
type method struct {
	name   string
	reduce int // pictures have bundled.MPP times so much
	run    func(ctx context.Context, s *sam.Slide, dir string, o sam.SegmentOptions) (*sam.SegmentResult, error)
}

// methods are the slide command's -prompts nuclei with the bundled model, and its
// ais and apg with the bundled instance model or that of files, used as
// train_decoder.py means its decoders.
func methods(files []string, reduce int) ([]method, error) {
	m, err := sam.Bundled()
	if err != nil {
		return nil, err
	}
	points := func(ctx context.Context, s *sam.Slide, dir string, o sam.SegmentOptions) (*sam.SegmentResult, error) {
		o.Find, o.FindName = sam.FindNuclei, "nuclei"
		o.Everything = sam.EverythingOptions{SingleMask: true, BoxNMSThresh: 0.5, MinMaskRegionArea: o.MinArea, Local: true}
		o.Sharpen, o.Normalise = true, true
		return m.SegmentSlide(ctx, s, dir, o)
	}
	all := []method{{"nuclei", reduce, points}}
	in, err := sam.BundledInstances()
	if len(files) > 0 {
		in, err = sam.LoadInstances(files...)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"ais", "apg"} {
		f := in.Finder(sam.InstanceOptions{RunningStats: true, AsIs: true, MinSize: 25}, name == "apg")
		all = append(all, method{name, reduce, func(ctx context.Context, s *sam.Slide, dir string, o sam.SegmentOptions) (*sam.SegmentResult, error) {
			return sam.SegmentSlide(ctx, s, dir, f, o)
		}})
	}
	return all, nil
}

// agreement is how found nuclei agree with the true ones, of one picture or of
// several.
type agreement struct {
	eval.Counts
	aji eval.Aggregated
}

func (a agreement) String() string {
	return fmt.Sprintf("true %d, found %d, recall %.3f, precision %.3f, F1 %.3f, PQ %.3f, AJI %.3f",
		a.TP+a.FN, a.TP+a.FP, float64(a.TP)/float64(max(1, a.TP+a.FN)), float64(a.TP)/float64(max(1, a.TP+a.FP)), a.F1(eval.EmptyOne), a.PQ(eval.EmptyOne), a.aji.Ratio(eval.EmptyOne))
}

// sums are the pooled agreement of several pictures and the means over them.
type sums struct {
	pooled      agreement
	f1, pq, aji float64
	n           int
}

func (s *sums) add(a agreement) {
	s.pooled = agreement{s.pooled.Add(a.Counts), s.pooled.aji.Add(a.aji)}
	s.f1 += a.F1(eval.EmptyOne)
	s.pq += a.PQ(eval.EmptyOne)
	s.aji += a.aji.Ratio(eval.EmptyOne)
	s.n++
}

func (s *sums) String() string {
	n := float64(max(1, s.n))
	return fmt.Sprintf("%d pictures: F1 %.3f, PQ %.3f, AJI %.3f; pooled: %v", s.n, s.f1/n, s.pq/n, s.aji/n, s.pooled)
}

// unprompted measures each method on real pictures with masks, whose
// 4-connected components count as nuclei, and on synthetic slides.
func unprompted(ctx context.Context, files []string, only, nuclei, show string, pictures, first, reduce int) error {
	all, err := methods(files, reduce)
	if err != nil {
		return err
	}
	paths, err := filepath.Glob(filepath.Join(nuclei, "images", "*.jpg"))
	if err != nil {
		return err
	}
	if nuclei == "" {
		paths = nil
	}
	for _, name := range strings.Split(only, ",") {
		at := slices.IndexFunc(all, func(m method) bool { return m.name == name })
		if at < 0 {
			return fmt.Errorf("method %q, want nuclei, ais or apg", name)
		}
		m := all[at]
		var real, drawn sums
		for _, f := range paths {
			img, truth, err := readPair(f, filepath.Join(nuclei, "masks", filepath.Base(f)))
			if err != nil {
				return err
			}
			b := img.Bounds()
			lab := components(truth, b.Dx(), b.Dy())
			name := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
			a, err := m.measure(ctx, img, lab, 10, name, show)
			if err != nil {
				return err
			}
			fmt.Println(m.name, name, a)
			real.add(a)
		}
		if real.n > 0 {
			fmt.Println(m.name, "real,", &real)
		}
		for seed := uint64(first); drawn.n < pictures; seed++ {
			img, t := middle(seed, bundled.MPP)
			if img == nil {
				continue
			}
			a, err := m.measure(ctx, img, t.Nuclei, 30, fmt.Sprint("slide-", seed), show)
			if err != nil {
				return err
			}
			drawn.add(a)
		}
		if drawn.n > 0 {
			fmt.Println(m.name, "synthetic,", &drawn)
		}
	}
	return nil
}

// middle draws 1024 x 1024 pixels of the middle of a slide; nil if that is not
// mostly tissue.
func middle(seed uint64, mpp float64) (*image.RGBA, *synth.Truth) {
	const side = 1024
	slide := synth.New(seed, synth.Options{})
	c := int(12500 / mpp)
	if _, t := slide.Region(c/8, c/8, side/8, side/8, mpp*8); share(t.Tissue) < 0.6 {
		return nil, nil
	}
	return slide.Region(c, c, side, side, mpp)
}

// measure finds the nuclei of a picture and compares them with those in lab
// that have at least so many pixels; smaller ones count as background. Both are
// reduced, and compared at the resolution that the slide is searched at.
func (m method) measure(ctx context.Context, img image.Image, lab []int32, least int, name, show string) (agreement, error) {
	b := img.Bounds()
	found, err := m.labels(ctx, img)
	if err != nil {
		return agreement{}, fmt.Errorf("%s: %s: %w", m.name, name, err)
	}
	truth := eval.NewLabels(sam.Size{H: b.Dy(), W: b.Dx()})
	for i, o := range find(lab, b.Dx(), b.Dy(), least) {
		for _, p := range o.pix {
			truth.Pix[p] = int32(i + 1)
		}
	}
	truth = nearest(truth, found.H, found.W)
	if b.Dx() != found.W { // drawn on what was searched
		if img, err = shrink(img, found.H, found.W); err != nil {
			return agreement{}, err
		}
		b = img.Bounds()
	}
	if show != "" {
		var masks []*sam.Mask
		for _, o := range find(found.Pix, b.Dx(), b.Dy(), 1) {
			k, err := mask.NewBuilder(mask.Size{H: b.Dy(), W: b.Dx()}, o.box)
			if err != nil {
				return agreement{}, err
			}
			for _, i := range o.pix { // row by row
				k.SetRun(mask.Run{Y: i / b.Dx(), X0: i % b.Dx(), X1: i%b.Dx() + 1})
			}
			masks = append(masks, (*sam.Mask)(k.Mask()))
		}
		if err := outlines(filepath.Join(show, name+"-"+m.name+".png"), img, masks); err != nil {
			return agreement{}, err
		}
	}
	o, err := eval.NewOverlap(truth, found)
	if err != nil {
		return agreement{}, err
	}
	return agreement{o.Panoptic(0.5), o.AJISums()}, nil
}

// labels runs the method on a picture as on a slide of bundled.MPP, and returns
// the labels that it wrote.
func (m method) labels(ctx context.Context, img image.Image) (eval.Labels, error) {
	none := eval.Labels{}
	dir, err := os.MkdirTemp("", "quality")
	if err != nil {
		return none, err
	}
	defer os.RemoveAll(dir)
	b := img.Bounds()
	if img, err = shrink(img, b.Dy()/m.reduce, b.Dx()/m.reduce); err != nil {
		return none, err
	}
	path := filepath.Join(dir, "slide.png")
	f, err := os.Create(path)
	if err != nil {
		return none, err
	}
	err = png.Encode(f, img)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return none, err
	}
	own := bundled.MPP * float64(m.reduce)
	mpp := max(bundled.MPP, own/2) // as bundled's defaults say
	s, err := sam.OpenSlideWith(path, sam.SlideOptions{MPP: own})
	if err != nil {
		return none, err
	}
	defer s.Close()
	out := filepath.Join(dir, "out")
	o := sam.SegmentOptions{MPP: mpp, MinArea: int(leastNucleus / (mpp * mpp)), Disjoint: true, AllTiles: true}
	if _, err := m.run(ctx, s, out, o); err != nil {
		return none, err
	}
	size := s.Size()
	at := func(n int) int { return int(math.Round(float64(n) * own / mpp)) }
	return readLabels(filepath.Join(out, sam.LabelsFile), sam.Size{H: at(size.H), W: at(size.W)})
}

// shrink returns the picture at another size.
func shrink(img image.Image, h, w int) (image.Image, error) {
	if b := img.Bounds(); b.Dx() == w && b.Dy() == h {
		return img, nil
	}
	src, err := picture.New(img)
	if err != nil {
		return nil, err
	}
	rgb, err := resample.Bilinear(nil, src, resample.Size{H: h, W: w})
	if err != nil {
		return nil, err
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		copy(out.Pix[4*i:], append(rgb[3*i:3*i+3:3*i+3], 255))
	}
	return out, nil
}

// nearest returns labels at another size.
func nearest(l eval.Labels, h, w int) eval.Labels {
	out := eval.NewLabels(sam.Size{H: h, W: w})
	for i := range out.Pix {
		out.Pix[i] = l.Pix[(2*(i/w)+1)*l.H/(2*h)*l.W+(2*(i%w)+1)*l.W/(2*w)]
	}
	return out
}

// readLabels reads the finest level of a labels file.
func readLabels(path string, size sam.Size) (eval.Labels, error) {
	out := eval.NewLabels(size)
	f, err := tiff.Open(path)
	if err != nil {
		return out, err
	}
	defer f.Close()
	raw, err := os.Open(path)
	if err != nil {
		return out, err
	}
	defer raw.Close()
	d := f.Dirs()[0]
	var tags [4][]uint64
	for i, tag := range []tiff.Tag{tiff.TileWidth, tiff.TileLength, tiff.TileOffsets, tiff.TileByteCounts} {
		if tags[i], err = d.Uints(tag); err != nil {
			return out, err
		}
	}
	tw, th := int(tags[0][0]), int(tags[1][0])
	across := (size.W + tw - 1) / tw
	for i, at := range tags[2] {
		z, err := zlib.NewReader(io.NewSectionReader(raw, int64(at), int64(tags[3][i])))
		if err != nil {
			return out, err
		}
		b := make([]byte, tw*th*4)
		if _, err := io.ReadFull(z, b); err != nil {
			return out, err
		}
		for k := range tw * th {
			if x, y := i%across*tw+k%tw, i/across*th+k/tw; x < size.W && y < size.H {
				out.Pix[y*size.W+x] = int32(binary.LittleEndian.Uint32(b[k*4:]))
			}
		}
	}
	return out, nil
}
