package sam

import (
	"context"
	"encoding/hex"
	"fmt"
	"image"
	"slices"

	"github.com/slidesam/sam/internal/cellpose"
	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/internal/wholeslide"
	decoder "github.com/slidesam/sam/maskdec/instance"
)

// InstanceOptions changes how objects are made of the decoder's maps. The zero
// value is micro-sam's default, below; with the bundled decoder, whatever file
// it comes from, its own.
type InstanceOptions struct {
	// ForegroundThreshold is the probability above which a pixel may belong to
	// an object; 0 means 0.5.
	ForegroundThreshold float32
	// CentreThreshold and BoundaryThreshold are the distances below which an
	// object's seed lies, 0 at its centre and far from its boundary; 0 means
	// 0.5.
	CentreThreshold, BoundaryThreshold float32
	// ForegroundSmoothing and DistanceSmoothing are the sigmas of Gaussians over
	// the maps, in pixels; 0 means 1.0 and 1.6, below 0 none.
	ForegroundSmoothing, DistanceSmoothing float64
	// MinSize drops objects of fewer pixels; 0 means none, and 25 for
	// SegmentPrompted, which wants its masks larger than that.
	MinSize int
	// MinForeground drops Segment's objects of less IoUPred; 0 means none.
	MinForeground float32
	// RunningStats takes the decoder's statistics from its training instead of
	// from each picture. micro-sam takes the picture's, so that what else is on
	// it moves every map.
	RunningStats bool
	// AsIs embeds pictures as they are, as a decoder wants that was trained so:
	// micro-sam spreads each channel over 0 to 255, by what else is in the
	// picture.
	AsIs bool
}

// InstanceMaps are what the decoder says of each pixel of a picture, row by
// row, between 0 and 1.
type InstanceMaps struct {
	Size
	Foreground []float32 // [H, W], probability that the pixel belongs to an object
	Centre     []float32 // [H, W], distance from the object's centre
	Boundary   []float32 // [H, W], 0 deep inside an object, 1 at its boundary and outside

	defaults instance.Settings // of the model that made them
}

// Predict returns the maps of a picture of any size, the same as micro-sam
// makes of it: each channel's values are spread over 0 to 255 first, unless AsIs
// is set.
//
// It returns an error for an empty picture and for a decoder of classes, and
// ctx's error soon after ctx is done. Of the options only RunningStats and
// AsIs count.
func (m *InstanceModel) Predict(ctx context.Context, img image.Image, o InstanceOptions) (*InstanceMaps, error) {
	maps, _, err := m.predict(ctx, img, o)
	if err != nil {
		return nil, fmt.Errorf("sam: predict instances: %w", err)
	}
	return maps, nil
}

func (m *InstanceModel) predict(ctx context.Context, img image.Image, o InstanceOptions) (*InstanceMaps, *Embedding, error) {
	if n := m.Maps(); n != 3 {
		return nil, nil, fmt.Errorf("a decoder of %d classes, not of instances: call Classes", n)
	}
	e, err := m.embed(ctx, img, o)
	if err != nil {
		return nil, nil, err
	}
	maps, err := m.decode(ctx, e, o)
	if err != nil {
		return nil, nil, err
	}
	return &InstanceMaps{e.picture, maps[0], maps[1], maps[2], m.defaults}, e, nil
}

// Segment returns the objects of a picture, each pixel in at most one of
// them, in the order of their first seeds from the top. A region's IoUPred is
// the mean probability of its pixels to be foreground, its stability 1, its
// point the pixel farthest from the boundary; no prompt and no crop lead to
// it.
//
// Errors are those of [InstanceModel.Predict] and of thresholds that mean
// nothing.
func (m *InstanceModel) Segment(ctx context.Context, img image.Image, o InstanceOptions) ([]Region, error) {
	maps, _, err := m.predict(ctx, img, o)
	if err != nil {
		return nil, fmt.Errorf("sam: segment instances: %w", err)
	}
	out, err := maps.Regions(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("sam: segment instances: %w", err)
	}
	return out, nil
}

// Regions returns the objects that the maps show, as [InstanceModel.Segment]
// does: smoothed, seeded and flooded as micro-sam does with a picture that is
// not cut into tiles, pixel by pixel.
func (p *InstanceMaps) Regions(ctx context.Context, o InstanceOptions) ([]Region, error) {
	objects, err := instance.Find(ctx, p.maps(), instance.Settings(o).Or(p.defaults).Options())
	return p.regions(objects), err
}

func (p *InstanceMaps) maps() instance.Maps {
	return instance.Maps{H: p.H, W: p.W, Foreground: p.Foreground, Centre: p.Centre, Boundary: p.Boundary}
}

func (p *InstanceMaps) regions(objects []instance.Object) []Region {
	out := make([]Region, len(objects))
	for i, k := range objects {
		out[i] = Region{
			Mask: (*Mask)(k.Mask), IoUPred: k.Foreground, Stability: 1, Prompt: -1,
			Point: Point{X: float64(k.Deep.X), Y: float64(k.Deep.Y), Label: Foreground}, Crop: image.Rect(0, 0, p.W, p.H),
		}
	}
	return out
}

// Names of micro-sam's AutomaticPromptGenerator.
const promptedMinSize, promptedNMSThreshold = 25, 0.9

// SegmentPrompted returns the objects of a picture as micro-sam's automatic
// prompts find them: a point in each seed of the unsmoothed maps is decoded to
// one mask, duplicates are dropped, and the rest is painted, the largest
// first, so that objects do not overlap. Regions keep the predicted IoU,
// stability and point of their masks; their masks may have lost pixels to
// smaller objects painted before, and one mask may become several regions.
//
// Errors are those of [InstanceModel.Segment], and [ErrNoPrompts].
func (m *InstanceModel) SegmentPrompted(ctx context.Context, img image.Image, o InstanceOptions) ([]Region, error) {
	out, err := m.segmentPrompted(ctx, img, o)
	if err != nil {
		return nil, fmt.Errorf("sam: segment prompted: %w", err)
	}
	return out, nil
}

func (m *InstanceModel) segmentPrompted(ctx context.Context, img image.Image, o InstanceOptions) ([]Region, error) {
	if m.model.decoder == nil {
		return nil, ErrNoPrompts
	}
	maps, e, err := m.predict(ctx, img, o)
	if err != nil {
		return nil, err
	}
	points, err := instance.Points(ctx, maps.maps(), instance.Settings(o).Or(m.defaults).Options())
	if err != nil || len(points) == 0 {
		return nil, err
	}
	// All masks, by one token each; micro-sam has rules of its own for duplicates.
	all := EverythingOptions{SingleMask: true, PredIoUThresh: -1, StabilityScoreThresh: -1, BoxNMSThresh: 2, CropNMSThresh: 2}
	for _, p := range points {
		all.Prompts = append(all.Prompts, Prompt{Points: []Point{{X: float64(p.X), Y: float64(p.Y), Label: Foreground}}})
	}
	found, _, err := everything(ctx, &modelMasks{m: m.model, whole: e}, e.picture, all, nil)
	if err != nil {
		return nil, err
	}
	// Everything orders by predicted IoU; ties go to the first seed.
	slices.SortStableFunc(found, func(a, b Region) int { return a.Prompt - b.Prompt })
	masks := make([]instance.Candidate, len(found))
	for i, r := range found {
		masks[i] = instance.Candidate{Mask: r.Mask.pixels(), Score: float64(r.IoUPred) * float64(r.Stability)}
	}
	bounds := instance.PaintOptions{Overlap: promptedNMSThreshold, MinSize: promptedMinSize}
	if o.MinSize > 0 {
		bounds.MinSize = o.MinSize
	}
	labels, of := instance.Paint(maps.H, maps.W, masks, bounds)
	objects, err := instance.Objects(labels, maps.maps())
	if err != nil {
		return nil, err
	}
	out := make([]Region, len(objects))
	for i, k := range objects {
		out[i] = found[of[i]]
		out[i].Mask = (*Mask)(k.Mask)
	}
	return out, nil
}

// Classes returns the most likely class of each pixel, [H, W], by the maps of
// a semantic decoder: the class whose sigmoid, interpolated to the picture's
// size, is largest, and the first of several. That is what patho-sam does;
// between pixels of the maps it is not quite what the logits would say.
//
// Errors are those of [InstanceModel.Predict]; a decoder of instances is one.
func (m *InstanceModel) Classes(ctx context.Context, img image.Image, o InstanceOptions) (classes []uint8, size Size, err error) {
	if n := m.Maps(); n == 3 || n > 256 {
		return nil, Size{}, fmt.Errorf("sam: classes: a decoder of %d maps, not of classes", n)
	}
	e, err := m.embed(ctx, img, o)
	if err != nil {
		return nil, Size{}, fmt.Errorf("sam: classes: %w", err)
	}
	maps, err := m.decode(ctx, e, o)
	if err != nil {
		return nil, Size{}, fmt.Errorf("sam: classes: %w", err)
	}
	classes = make([]uint8, len(maps[0]))
	for i := range classes {
		for k := range maps {
			if maps[k][i] > maps[classes[i]][i] {
				classes[i] = uint8(k)
			}
		}
	}
	return classes, e.picture, nil
}

// Finder returns Segment as a finder of [SegmentSlide], or SegmentPrompted if
// prompted is true. Segment's maps are stitched, each pixel's by the tile whose
// core holds it and in steps of 1/1023, and objects are those of the slide's map as
// one tile; seams of SegmentPrompted are merged: set Disjoint. The statistics of a
// tile decide its maps, and so does its size, unless RunningStats is set.
func (m *InstanceModel) Finder(o InstanceOptions, prompted bool) SlideFinder {
	print, how := m.Fingerprint(), instance.Settings(o).Or(m.defaults)
	f := SlideFinder{Name: fmt.Sprintf("instances %s %+v prompted=%t", hex.EncodeToString(print[:]), how, prompted), Unprompted: true}
	find := m.SegmentPrompted
	if !prompted {
		f.Name += " stitched"
		find, f.maps = m.Segment, wholeslide.MapFinder{Options: how.Options(), Find: func(ctx context.Context, img *image.RGBA, _ wholeslide.Tile) (instance.Maps, error) {
			p, _, err := m.predict(ctx, img, o)
			if err != nil {
				return instance.Maps{}, err
			}
			return p.maps(), nil
		}}
	}
	f.Find = func(ctx context.Context, img *image.RGBA, _ SlideTile) ([]Region, error) { return find(ctx, img, o) }
	return f
}

func (m *InstanceModel) embed(ctx context.Context, img image.Image, o InstanceOptions) (*Embedding, error) {
	src, err := picture.New(img)
	if err != nil {
		return nil, err
	}
	if o.AsIs || m.defaults.AsIs {
		return m.model.embed(ctx, src)
	}
	return m.model.embed(ctx, picture.Spread(src.RGB()))
}

func (m *InstanceModel) decode(ctx context.Context, e *Embedding, o InstanceOptions) ([][]float32, error) {
	stats := decoder.BatchStats
	if o.RunningStats || m.defaults.RunningStats {
		stats = decoder.RunningStats
	}
	return m.decoder.Run(ctx, e.views[0].data, stats, m.model.cfg.Encoder.ImageSize, resample.Size(e.input), resample.Size(e.picture))
}

// CellposeModel finds cells as Cellpose-SAM (cpsam) does, without a prompt. It
// is immutable and safe for any number of goroutines, which take turns.
type CellposeModel cellpose.Model

// CellposeOptions are those of Cellpose's eval; the zero value is its default.
type CellposeOptions struct {
	CellThreshold float32 // pixels of cells have logits above it
	FlowThreshold float64 // cells whose flows err by more are dropped; 0: 0.4, below 0: none
	Iterations    int     // steps that pixels follow the flows; 0: 200
	MinSize       int     // cells of fewer pixels are dropped; 0: 15, below 0: none
	MaxShare      float64 // cells of more than this part of the picture are dropped; 0: 0.4
	// Levels are the red, green and blue, 0 to 255, that become 0 and 1; nil: each
	// picture's own first and 99th percentiles, which differ between tiles: see LevelsOf.
	Levels *[3][2]float32
}

// LoadCellpose reads a Cellpose-SAM model, such as cpsam or cpsam_v2. Say
// [CellposeModel.Licence] to whoever uses it. Errors are those of [Load].
func LoadCellpose(path string) (*CellposeModel, error) {
	m, err := cellpose.Load(cpu.Backend{}, path)
	if err != nil {
		return nil, fmt.Errorf("sam: load cellpose %s: %w", path, err)
	}
	return (*CellposeModel)(m), nil
}

// Licence says what the authors' licence of the weights forbids.
func (m *CellposeModel) Licence() string { return cellpose.Licence }

// Segment returns the cells of a picture, each pixel in at most one of them. A
// region's IoUPred is the mean probability of its pixels to be a cell's, its
// point the surest pixel. Errors are those of [InstanceModel.Segment].
func (m *CellposeModel) Segment(ctx context.Context, img image.Image, o CellposeOptions) ([]Region, error) {
	maps, labels, err := (*cellpose.Model)(m).Segment(ctx, img, cellpose.Options(o))
	if err != nil {
		return nil, fmt.Errorf("sam: segment cells: %w", err)
	}
	objects, err := instance.Objects(labels, maps)
	return (&InstanceMaps{Size: Size{H: maps.H, W: maps.W}}).regions(objects), err
}

// LevelsOf returns the first and 99th percentiles of a slide's tissue for
// [CellposeOptions], so that all tiles are normalised alike; nil if there is none.
func (m *CellposeModel) LevelsOf(ctx context.Context, s *Slide) (*[3][2]float32, error) {
	fields, err := wholeslide.TissueFields(ctx, s.w)
	if err != nil {
		return nil, fmt.Errorf("sam: levels of slide: %w", err)
	}
	return cellpose.LevelsOfFields(fields), nil
}

// Finder returns Segment as a finder of [SegmentSlide]; set Disjoint.
func (m *CellposeModel) Finder(o CellposeOptions) SlideFinder {
	return SlideFinder{Name: (*cellpose.Model)(m).Identity(cellpose.Options(o)), Unprompted: true, Find: func(ctx context.Context, img *image.RGBA, _ SlideTile) ([]Region, error) {
		return m.Segment(ctx, img, o)
	}}
}
