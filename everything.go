package sam

import (
	"context"
	"fmt"
	"image"
	"sync"

	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
)

// EverythingOptions changes how Everything looks for objects. The zero value
// is the original's default; names and meanings are those of
// SamAutomaticMaskGenerator. Scores are compared as the original does:
// predicted IoU must exceed its threshold, stability must reach it.
type EverythingOptions struct {
	// PointsPerSide is the side of the square grid of points; 0 means 32.
	PointsPerSide int
	// PointGrids gives points of one's own for each crop layer, in [0, 1] of
	// the crop, instead of PointsPerSide. Labels are not used.
	PointGrids [][]Point
	// Prompts are decoded instead of points of a grid, in the picture's
	// frame: boxes or points from another detector. With crops, a crop takes
	// those that lie in it. Nil means the grid, and an empty list that is not
	// nil means no prompt at all, which finds nothing; see PromptsOnly.
	Prompts []Prompt
	// PromptsOnly decodes Prompts and never a grid, so that the nil list of a
	// detector that found nothing finds nothing.
	PromptsOnly bool
	// SingleMask asks for one mask per prompt, instead of three.
	SingleMask bool
	// PointsPerBatch is how many prompts are decoded before their masks are
	// filtered; 0 means 64. It changes memory, not results.
	PointsPerBatch int
	// PredIoUThresh is the least predicted IoU; 0 means the model's own, see
	// [Model.Defaults], which is 0.88 for published ones; below 0 none.
	PredIoUThresh float64
	// StabilityScoreThresh is the least stability; 0 means the model's own, which
	// is 0.95 for published ones; below 0 none.
	StabilityScoreThresh float64
	// StabilityScoreOffset is the shift of the mask threshold that stability
	// is measured with; 0 means 1.
	StabilityScoreOffset float64
	// MaskThreshold is the logit above which a pixel belongs to a mask.
	MaskThreshold float64
	// BoxNMSThresh is the IoU of boxes above which the mask of lower score is
	// a duplicate; 0 means 0.7.
	BoxNMSThresh float64
	// CropNLayers is how often the picture is also looked at in crops: layer
	// i has 2^i x 2^i of them.
	CropNLayers int
	// CropNMSThresh is BoxNMSThresh between crops; 0 means 0.7.
	CropNMSThresh float64
	// CropOverlapRatio is how far crops overlap, of the shorter side; 0 means
	// 512/1500.
	CropOverlapRatio float64
	// CropNPointsDownscaleFactor divides PointsPerSide from layer to layer;
	// 0 means 1.
	CropNPointsDownscaleFactor int
	// Local keeps of each mask what its point or prompt is on, as
	// [PredictOptions.Local] says. Predicted IoU and stability stay those of the
	// whole mask.
	Local bool
	// MinMaskRegionArea removes holes and islands smaller than this many
	// pixels; 0 leaves masks as they are.
	MinMaskRegionArea int
	// Progress, if set, is told after each batch how many prompts of all are
	// done. It is called by one goroutine at a time.
	Progress func(done, total int)
}

// Region is one object that Everything found.
type Region struct {
	Mask      *Mask
	IoUPred   float32         // the model's guess
	Stability float32         // IoU of the mask at a higher and a lower threshold
	Point     Point           // of the grid; first point or box centre of a prompt
	Prompt    int             // index of the prompt; -1 if it came from a grid
	Crop      image.Rectangle // of the picture the mask was decoded in
}

// BBox returns the box as the original does: x, y, width and height with the
// last pixel left out of both, so that each is one less than the number of
// pixels. [Mask.Bounds] is the exact box.
func (r Region) BBox() [4]int {
	b := r.Mask.Bounds()
	if b.Empty() {
		return [4]int{}
	}
	return [4]int{b.Min.X, b.Min.Y, b.Dx() - 1, b.Dy() - 1}
}

// Everything finds all objects of a picture: a grid of points is decoded, the
// masks are filtered by predicted IoU and stability, and duplicates are
// removed. The order is the original's: by falling predicted IoU within a
// crop, smaller crops first, masks that removal of small regions changed last.
//
// Ties are settled by the order of crops and points, so that the result
// depends on the picture alone. A crop without any mask, which the original
// fails on, is passed over; a mask empty at the lower threshold has stability
// 0 instead of NaN.
//
// Everything returns an error for options that mean nothing, an empty
// picture, and ctx's error soon after ctx is done.
//
// Source: automatic_mask_generator.py, utils/amg.py (segment-anything
// dca509f).
func (m *Model) Everything(ctx context.Context, img image.Image, o EverythingOptions) ([]Region, error) {
	src, err := picture.New(img)
	if err != nil {
		return nil, fmt.Errorf("sam: everything: %w", err)
	}
	r, _, err := everything(ctx, &modelMasks{m: m, src: src}, Size(src.Bounds()), m.defaults.fill(o), nil)
	if err != nil {
		return nil, fmt.Errorf("sam: everything: %w", err)
	}
	return r, nil
}

// EverythingIn is Everything on a picture that is already embedded. The
// embedding stands for the whole picture, so that crop layers are an error.
func (m *Model) EverythingIn(ctx context.Context, e *Embedding, o EverythingOptions) ([]Region, error) {
	if err := m.fits(e); err != nil {
		return nil, fmt.Errorf("sam: everything: %w", err)
	}
	if o.CropNLayers != 0 {
		return nil, fmt.Errorf("sam: everything: %d crop layers of an embedding: call Everything with the picture", o.CropNLayers)
	}
	r, _, err := everything(ctx, &modelMasks{m: m, whole: e}, e.picture, m.defaults.fill(o), nil)
	if err != nil {
		return nil, fmt.Errorf("sam: everything: %w", err)
	}
	return r, nil
}

// maskSource gives the masks that Everything chooses from.
type maskSource interface {
	// crop prepares rectangle r of the picture for decoding.
	crop(ctx context.Context, r image.Rectangle) (maskCrop, error)
}

// maskCrop decodes prompts on one crop, in the crop's frame.
type maskCrop interface {
	upscaler() (*resample.Upscaler, error)
	// decode gives use each prompt's answer, which use must not keep, with the
	// predicted IoU of its masks alone. Prompts come in any order, one at a
	// time.
	decode(ctx context.Context, ps []Prompt, w wanted, use func(i int, a answer) error) error
}

// wanted says which masks of a prompt are looked at.
type wanted struct {
	single bool
	// floor, if positive, is a predicted IoU: the logits of a prompt of which
	// no mask exceeds it mean nothing.
	floor float32
}

// modelMasks is the maskSource of a model.
type modelMasks struct {
	m     *Model
	src   resample.Source
	whole *Embedding
}

func (s *modelMasks) crop(ctx context.Context, r image.Rectangle) (maskCrop, error) {
	if s.whole != nil {
		return &modelCrop{s.m, s.whole}, nil
	}
	src := s.src
	if r.Size() != image.Pt(src.Bounds().W, src.Bounds().H) {
		src = cropSource{s.src, r}
	}
	e, err := s.m.embed(ctx, src)
	return &modelCrop{s.m, e}, err
}

type modelCrop struct {
	m *Model
	e *Embedding
}

func (c *modelCrop) upscaler() (*resample.Upscaler, error) { return c.m.upscaler(c.e) }

func (c *modelCrop) decode(ctx context.Context, ps []Prompt, w wanted, use func(i int, a answer) error) error {
	enc, err := c.m.encodeAll(c.e, ps)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	all := groups(enc, w.single, c.m.batch)
	return kernel.Lanes(len(all), c.m.lanes, func(i int) error {
		g := all[i]
		masks := g.key.masks(c.m.cfg.Decoder.MaskTokens)
		iou := make([]float32, len(masks))
		return c.m.decode(ctx, c.e, g.key, g.prompts, w.floor, func(i int, a answer) error {
			for k, t := range masks {
				iou[k] = a.iou[t]
			}
			a.iou = iou
			mu.Lock()
			defer mu.Unlock()
			return use(g.index[i], a)
		})
	})
}

// cropSource is a rectangle of a picture.
type cropSource struct {
	src resample.Source
	r   image.Rectangle
}

// Bounds returns the size of the rectangle.
func (c cropSource) Bounds() resample.Size { return resample.Size{H: c.r.Dy(), W: c.r.Dx()} }

// Row returns row y of the rectangle.
func (c cropSource) Row(y int, _ []byte) []byte {
	row := c.src.Row(c.r.Min.Y+y, make([]byte, 3*c.src.Bounds().W))
	return row[3*c.r.Min.X : 3*c.r.Max.X]
}
