package serve

import (
	"cmp"
	"context"
	"image"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/paulmach/orb/geojson"

	"github.com/slidesam/sam"
)

// automaskBody is what POST /sam/automask/ asks for.
type automaskBody struct {
	Type                 *string  `json:"type"`
	B64Img               string   `json:"b64img"`
	PointsPerSide        *float64 `json:"points_per_side"`
	PointsPerBatch       *float64 `json:"points_per_batch"`
	PredIoUThresh        *float64 `json:"pred_iou_thresh"`
	StabilityScoreThresh *float64 `json:"stability_score_thresh"`
	StabilityScoreOffset *float64 `json:"stability_score_offset"`
	BoxNMSThresh         *float64 `json:"box_nms_thresh"`
	CropNLayers          *float64 `json:"crop_n_layers"`
	CropNMSThresh        *float64 `json:"crop_nms_thresh"`
	CropOverlapRatio     *float64 `json:"crop_overlap_ratio"`
	CropDownscale        *float64 `json:"crop_n_points_downscale_factor"`
	MinMaskRegionArea    *float64 `json:"min_mask_region_area"`
	OutputType           *string  `json:"output_type"`
	IncludeImageEdge     bool     `json:"include_image_edge"`
	CheckpointURL        *string  `json:"checkpoint_url"`
}

// keeping is which of overlapping masks stays.
type keeping string

const (
	keepSingle   keeping = "single mask"
	keepAll      keeping = "multi-mask (all)"
	keepLargest  keeping = "multi-mask (largest)"
	keepSmallest keeping = "multi-mask (smallest)"
	keepBest     keeping = "multi-mask (best quality)"
)

const (
	maxPointsPerSide = 64
	maxCropLayers    = 2
)

// bounded returns the value of a field or its default, if it lies within
// bounds.
func bounded(name string, v *float64, without, least, most float64) (float64, error) {
	if v == nil {
		return without, nil
	}
	if *v < least || *v > most {
		return 0, refuse(http.StatusUnprocessableEntity, "%s is %g, want %g to %g", name, *v, least, most)
	}
	return *v, nil
}

// options are the body as sam wants them.
func (b *automaskBody) options() (o sam.EverythingOptions, k keeping, err error) {
	k = keeping(strings.ToLower(cmp.Or(deref(b.OutputType), string(keepSingle))))
	if !slices.Contains([]keeping{keepSingle, keepAll, keepLargest, keepSmallest, keepBest}, k) {
		return o, k, refuse(http.StatusUnprocessableEntity, "output_type %q, want Single mask, or Multi-mask (all), (largest), (smallest) or (best quality)", k)
	}
	for _, f := range []struct {
		name             string
		v                *float64
		def, least, most float64
		set              func(float64)
	}{
		{"points_per_side", b.PointsPerSide, 32, 1, maxPointsPerSide, func(v float64) { o.PointsPerSide = int(v) }},
		{"points_per_batch", b.PointsPerBatch, 64, 1, 1 << 20, func(v float64) { o.PointsPerBatch = min(int(v), 256) }},
		{"pred_iou_thresh", b.PredIoUThresh, math.NaN(), -1e6, 1e6, func(v float64) { o.PredIoUThresh = threshold(v) }},
		{"stability_score_thresh", b.StabilityScoreThresh, math.NaN(), -1e6, 1e6, func(v float64) { o.StabilityScoreThresh = threshold(v) }},
		{"stability_score_offset", b.StabilityScoreOffset, 1, 0, 1e6, func(v float64) { o.StabilityScoreOffset = max(v, 1e-9) }},
		{"box_nms_thresh", b.BoxNMSThresh, 0.7, 0, 1, func(v float64) { o.BoxNMSThresh = max(v, 1e-9) }},
		{"crop_n_layers", b.CropNLayers, 0, 0, maxCropLayers, func(v float64) { o.CropNLayers = int(v) }},
		{"crop_nms_thresh", b.CropNMSThresh, 0.7, 0, 1, func(v float64) { o.CropNMSThresh = max(v, 1e-9) }},
		{"crop_overlap_ratio", b.CropOverlapRatio, 512.0 / 1500, 0, 0.9, func(v float64) { o.CropOverlapRatio = max(v, 1e-9) }},
		{"crop_n_points_downscale_factor", b.CropDownscale, 1, 1, maxPointsPerSide, func(v float64) { o.CropNPointsDownscaleFactor = int(v) }},
		{"min_mask_region_area", b.MinMaskRegionArea, 0, 0, 1 << 30, func(v float64) { o.MinMaskRegionArea = int(v) }},
	} {
		v, err := bounded(f.name, f.v, f.def, f.least, f.most)
		if err != nil {
			return o, k, err
		}
		if !math.IsNaN(v) { // else the model's own
			f.set(v)
		}
	}
	fewest := o.PointsPerSide
	for range o.CropNLayers {
		fewest /= o.CropNPointsDownscaleFactor
	}
	if fewest < 1 {
		return o, k, refuse(http.StatusUnprocessableEntity, "no point is left in the smallest crops: points_per_side %d, divided by %d for each of %d layers", o.PointsPerSide, o.CropNPointsDownscaleFactor, o.CropNLayers)
	}
	o.SingleMask = k == keepSingle
	return o, k, nil
}

// threshold turns 0, which sam takes for its default, into none.
func threshold(v float64) float64 {
	if v <= 0 {
		return -1
	}
	return v
}

func (s *Server) samAutomask(w http.ResponseWriter, r *http.Request) error {
	var b automaskBody
	leave, err := s.readJSON(r, s.c.MaxBody, &b)
	if err != nil {
		return err
	}
	defer leave()
	o, k, err := b.options()
	if err != nil {
		return err
	}
	m, name, err := s.models.model(r.Context(), deref(b.Type), deref(b.CheckpointURL))
	if err != nil {
		return err
	}
	img, err := decodePicture(r.Context(), b.B64Img, s.c.MaxPixels)
	if err != nil {
		return err
	}
	if err := fits(o, img.Bounds()); err != nil {
		return err
	}
	o.Local = s.localFor(m)
	regions, err := s.everything(r.Context(), m, img, o, k)
	if err != nil {
		return err
	}
	var fs []*geojson.Feature
	for _, g := range regions {
		if !b.IncludeImageEdge && wholePicture(g.Mask.Bounds(), img.Bounds()) {
			continue
		}
		if f := samFeature(g.Mask, g.IoUPred, deref(b.Type), name); f != nil {
			fs = append(fs, f)
		}
	}
	return writeFeatures(w, fs)
}

// maxMasks bounds the bytes of all masks of a search, were they as large as
// the picture.
const maxMasks = 4 << 30

// fits returns a refusal for a search whose masks may not fit into memory.
func fits(o sam.EverythingOptions, pic image.Rectangle) error {
	masks, side := 0, o.PointsPerSide
	for layer := range o.CropNLayers + 1 {
		masks += side * side << (2 * layer)
		side /= o.CropNPointsDownscaleFactor
	}
	if !o.SingleMask {
		masks *= 3
	}
	if bytes := int64(pic.Dx()) * int64(pic.Dy()) / 8 * int64(masks); bytes > maxMasks {
		return refuse(http.StatusUnprocessableEntity, "%d masks of a picture of %d x %d pixels are too much; ask for fewer points_per_side or send a smaller picture", masks, pic.Dx(), pic.Dy())
	}
	return nil
}

// everything finds all objects of a picture, one picture at a time.
func (s *Server) everything(ctx context.Context, m *sam.Model, img image.Image, o sam.EverythingOptions, k keeping) ([]sam.Region, error) {
	leave, err := s.search.enter(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer leave()
	defer s.automask.end()
	o.Progress = func(done, total int) { s.automask.set("looking for objects", 100*done/max(total, 1)) }
	limit := o.BoxNMSThresh
	if k != keepBest { // sam keeps the best; the others are chosen here
		o.BoxNMSThresh, o.CropNMSThresh = 1, 1
	}
	var regions []sam.Region
	if o.CropNLayers > 0 {
		regions, err = m.Everything(ctx, img, o)
	} else {
		var e *sam.Embedding
		if e, err = s.embedPicture(ctx, m, img); err == nil {
			regions, err = m.EverythingIn(ctx, e, o)
		}
	}
	if err != nil || k == keepBest || k == keepAll {
		return regions, err
	}
	return suppress(regions, limit, func(r sam.Region) int {
		if k == keepLargest {
			return r.Mask.Area()
		}
		return -r.Mask.Area()
	}), nil
}

// suppress drops each region whose box overlaps that of one of a greater score
// by more than limit.
func suppress(regions []sam.Region, limit float64, score func(sam.Region) int) []sam.Region {
	slices.SortStableFunc(regions, func(a, b sam.Region) int { return cmp.Compare(score(b), score(a)) })
	var kept []sam.Region
	for _, r := range regions {
		if !slices.ContainsFunc(kept, func(k sam.Region) bool { return boxIoU(r.Mask.Bounds(), k.Mask.Bounds()) > limit }) {
			kept = append(kept, r)
		}
	}
	return kept
}

func boxIoU(a, b image.Rectangle) float64 {
	i := a.Intersect(b)
	both := float64(i.Dx()) * float64(i.Dy())
	return both / max(float64(a.Dx())*float64(a.Dy())+float64(b.Dx())*float64(b.Dy())-both, 1)
}

// wholePicture reports whether all four sides of a box lie at the picture's,
// within 20 pixels as in the original's crops.
func wholePicture(b, pic image.Rectangle) bool {
	const near = 20
	return b.Min.X <= near && b.Min.Y <= near && b.Max.X >= pic.Dx()-near && b.Max.Y >= pic.Dy()-near
}
