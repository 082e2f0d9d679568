package sam

import (
	"context"
	"errors"
	"math"

	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/pointgrid"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/internal/spatial"
	"github.com/slidesam/sam/internal/wholeslide"
)

// everything runs the generator on any source of masks. tile is where the
// picture lies on a slide; nil: it stands alone. The tally says what became of
// the masks.
func everything(ctx context.Context, src maskSource, s Size, o EverythingOptions, tile *tileGrid) ([]Region, wholeslide.Tally, error) {
	g, err := newGenerator(s, o, tile)
	if err != nil {
		return nil, wholeslide.Tally{}, err
	}
	all, err := g.run(ctx, src)
	return all, g.tally, err
}

func (g *generator) run(ctx context.Context, src maskSource) ([]Region, error) {
	crops := pointgrid.Crops(g.size.W, g.size.H, g.CropNLayers, g.CropOverlapRatio)
	var todo [][]placed
	total, done := 0, 0
	for _, c := range crops {
		todo = append(todo, g.prompts(c))
		total += len(todo[len(todo)-1])
	}
	g.tally.Prompts = total
	progress := func(n int) {
		done += n
		if g.Progress != nil {
			g.Progress(done, total)
		}
	}
	var all []Region
	for i, c := range crops {
		if len(todo[i]) == 0 {
			continue
		}
		found, err := g.crop(ctx, src, c, todo[i], progress)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	if len(crops) > 1 {
		scores := make([]float32, len(all))
		for i, r := range all {
			scores[i] = 1 / float32(r.Crop.Dx()*r.Crop.Dy())
		}
		all = g.unique(all, scores, g.CropNMSThresh)
	}
	if g.MinMaskRegionArea > 0 {
		return g.smallRegions(ctx, all)
	}
	return all, nil
}

// crop returns the masks of one crop in the picture's frame, duplicates
// removed, by falling predicted IoU.
func (g *generator) crop(ctx context.Context, src maskSource, c pointgrid.Crop, ps []placed, progress func(int)) ([]Region, error) {
	mc, err := src.crop(ctx, c.Rect)
	if err != nil {
		return nil, err
	}
	up, err := mc.upscaler()
	if err != nil {
		return nil, err
	}
	var found []Region
	for at := 0; at < len(ps); at += g.PointsPerBatch {
		batch := ps[at:min(at+g.PointsPerBatch, len(ps))]
		r, err := g.batch(ctx, mc, up, c, batch)
		if err != nil {
			return nil, err
		}
		found = append(found, r...)
		progress(len(batch))
	}
	scores := make([]float32, len(found))
	for i, r := range found {
		scores[i] = r.IoUPred
	}
	return g.unique(found, scores, g.BoxNMSThresh), nil
}

// unique drops the regions whose box one of higher score has too.
func (g *generator) unique(rs []Region, scores []float32, thresh float64) []Region {
	out := pick(rs, spatial.BoxNMS(boxesOf(rs), scores, thresh))
	g.tally.Duplicates += len(rs) - len(out)
	return out
}

// candidate is a mask that passed the filter by predicted IoU.
type candidate struct {
	low    []float32
	mask   *mask.Mask // nil: not made yet
	above  [2]int     // pixels above the outer and the inner threshold
	region Region
	fault  fault
	err    error
}

// fault is why a candidate does not stay.
type fault uint8

const (
	faultNone fault = iota
	faultStability
	faultEdge
)

// batch decodes prompts and returns the masks that pass all filters, in the
// order of prompts and masks.
//
// The original brings all masks to the picture's size before it filters by
// predicted IoU; here only those that pass are, and prompts of which none
// passes are not upscaled at all.
func (g *generator) batch(ctx context.Context, mc maskCrop, up *resample.Upscaler, c pointgrid.Crop, ps []placed) ([]Region, error) {
	prompts := make([]Prompt, len(ps))
	for i := range ps {
		prompts[i] = ps[i].prompt
	}
	low := up.Low()
	plane := low.H * low.W
	of := make([][]candidate, len(ps))
	err := mc.decode(ctx, prompts, wanted{g.SingleMask, float32(g.PredIoUThresh)}, func(i int, a answer) error {
		g.tally.Masks += len(a.iou)
		var which []int
		for k, v := range a.iou {
			if g.PredIoUThresh > 0 && !(v > float32(g.PredIoUThresh)) {
				g.tally.LowIoU++
				continue
			}
			which = append(which, k)
			of[i] = append(of[i], candidate{
				low:    append([]float32(nil), a.logits[k*plane:(k+1)*plane]...),
				region: Region{IoUPred: v, Point: ps[i].point, Prompt: ps[i].index, Crop: c.Rect},
			})
		}
		cuts, err := a.cut(ctx, which, up, g.limits())
		if cuts != nil {
			for k := range of[i] {
				of[i][k].above = cuts.Above[k]
				if of[i][k].mask, err = cuts.Mask(k, c.Rect.Min, mask.Size(g.size)); err != nil {
					return err
				}
			}
		}
		return errors.Join(err, ctx.Err())
	})
	if err != nil {
		return nil, err
	}
	var all []*candidate
	for i := range of {
		for k := range of[i] {
			all = append(all, &of[i][k])
		}
	}
	kernel.Parallel(len(all), func(i int) { g.measure(all[i], up) })
	var out []Region
	var errs []error
	for _, a := range all {
		errs = append(errs, a.err)
		switch a.fault {
		case faultStability:
			g.tally.LowStability++
		case faultEdge:
			g.tally.Edge++
		default:
			out = append(out, a.region)
		}
	}
	return out, errors.Join(errs...)
}

// limits are the outer threshold, the mask's and the inner one.
func (g *generator) limits() [3]float32 {
	return [3]float32{float32(g.MaskThreshold - g.StabilityScoreOffset), float32(g.MaskThreshold), float32(g.MaskThreshold + g.StabilityScoreOffset)}
}

// measure makes the mask of a candidate, unless it is there, and decides
// whether it stays.
func (g *generator) measure(a *candidate, up *resample.Upscaler) {
	if a.mask == nil {
		if a.mask, a.above, a.err = mask.Cut(up, a.low, g.limits(), a.region.Crop.Min, mask.Size(g.size)); a.err != nil {
			return
		}
	}
	if outer := a.above[0]; outer > 0 {
		a.region.Stability = float32(a.above[1]) / float32(outer)
	}
	a.low = nil
	if g.StabilityScoreThresh > 0 && !(a.region.Stability >= float32(g.StabilityScoreThresh)) {
		a.fault = faultStability
		return
	}
	m := a.mask
	if g.Local {
		if m, a.err = on(m, g.asked(a.region)); a.err != nil {
			return
		}
	}
	a.region.Mask = (*Mask)(m)
	if g.nearCropEdge(a.region) {
		a.fault = faultEdge
	}
}

// asked returns the prompt that a region answers, in the picture's frame.
func (g *generator) asked(r Region) Prompt {
	if r.Prompt >= 0 {
		return g.Prompts[r.Prompt]
	}
	return Prompt{Points: []Point{r.Point}}
}

// edgeTolerance is how near to a crop's edge, in pixels, a box is cut off.
const edgeTolerance = 20

// nearCropEdge reports whether a side of the box lies at a side of the crop
// that is not one of the picture.
//
// Source: utils/amg.py, is_box_near_crop_edge.
func (g *generator) nearCropEdge(r Region) bool {
	b := upstreamBox(r.Mask)
	if r.Mask.Area() == 0 { // the original moves the empty box with the crop
		x, y := float32(r.Crop.Min.X), float32(r.Crop.Min.Y)
		b = [4]float32{x, y, x, y}
	}
	crop := [4]int{r.Crop.Min.X, r.Crop.Min.Y, r.Crop.Max.X, r.Crop.Max.Y}
	whole := [4]int{0, 0, g.size.W, g.size.H}
	near := func(v float32, to int) bool { return math.Abs(float64(v)-float64(to)) <= edgeTolerance }
	for i, v := range b {
		if near(v, crop[i]) && !near(v, whole[i]) {
			return true
		}
	}
	return false
}

// upstreamBox returns the first and last column and row of the pixels, zeros
// if there are none: x0, y0, x1, y1.
func upstreamBox(m *Mask) [4]float32 {
	b := m.Bounds()
	if b.Empty() {
		return [4]float32{}
	}
	return [4]float32{float32(b.Min.X), float32(b.Min.Y), float32(b.Max.X - 1), float32(b.Max.Y - 1)}
}

func boxesOf(rs []Region) [][4]float32 {
	out := make([][4]float32, len(rs))
	for i, r := range rs {
		out[i] = upstreamBox(r.Mask)
	}
	return out
}

func pick(rs []Region, keep []int) []Region {
	out := make([]Region, len(keep))
	for i, k := range keep {
		out[i] = rs[k]
	}
	return out
}
