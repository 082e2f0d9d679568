package sam

import (
	"context"
	"fmt"
	"image"
	"math"
	"time"

	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/refine"
)

// ErrOtherJournal is wrapped by the error of RefineSlide for a journal of a run
// with another slide, model, annotations or options.
var ErrOtherJournal = refine.ErrOtherRun

// RefineOptions changes how RefineSlide works. The zero value refines every
// object of the file that is not locked.
type RefineOptions struct {
	// MPP is the resolution to work at, in micrometres per pixel; 0 means the
	// model's own, see [Model.Defaults], or else that of level 0. Objects wider
	// than about half of the model's input are seen at half of it, and so on.
	MPP float64
	// Classes takes objects of these classes, and of those derived from them as
	// "Tumor: Positive" is from Tumor and from Positive; nil takes all.
	Classes []string
	// Within takes objects whose middle lies in the annotations of the file that
	// have this name, class or id, which are then left alone themselves; empty
	// takes all.
	Within string
	// PredIoUThresh, StabilityScoreThresh and CoarseIoUThresh are the least
	// predicted IoU, the least stability and the least IoU with the coarse outline
	// of a mask that replaces it; 0 means none, and 0.25 for CoarseIoUThresh, below
	// 0 none.
	PredIoUThresh, StabilityScoreThresh, CoarseIoUThresh float64
	// SingleMask asks for one mask a prompt, instead of the one of three that
	// the model thinks best.
	SingleMask bool
	// Progress, if set, is told after each window of the slide. It is called by
	// one goroutine at a time.
	Progress func(RefineProgress)
}

// RefineProgress says how far a run is.
type RefineProgress struct {
	Done, Total   int           // objects that have a prompt
	Refined       int           // with a new outline
	Windows, Seen int           // windows of the slide, and those that are done
	Resumed       int           // windows that an earlier run had done
	Elapsed       time.Duration // of this run
	Left          time.Duration // what remains at this pace, 0 if unknown
}

// RefineResult says what a run did: how many Objects the file has, counting each
// of several points, and how many were Refined; how many Windows of the slide
// were looked at, some of them Resumed from an earlier run; and the tiles of the
// slide, Missing, that could not be read.
type RefineResult refine.Result

// Describe says in one line what became of the objects: how many were refined,
// how many left alone, and why.
func (r *RefineResult) Describe() string { return (*refine.Result)(r).Describe() }

// RefineSlide makes exact outlines of the coarse ones in a GeoJSON file, such as
// QuPath's export of annotations or detections of the slide, and writes them to
// the file out.
//
// A box or an outline becomes a box prompt, a point a point prompt, each point
// of several an object of its own, and of a cell the nucleus is refined. Each
// part of the slide is embedded once; of an object, some hundred bytes are held.
//
// Objects keep order, ids, classes, names and measurements, and get how sure the
// model is and how well mask and coarse outline agree. What was not asked for, or
// is locked, is written as it was; what was left alone for another reason keeps
// its outline, and its metadata say why. What was done is in the file out.part,
// from which a run that was stopped goes on. The error wraps [ErrGeoJSON] if in is not to
// be used, [ErrOtherJournal] if out.part is of another run, and ctx's error
// soon after ctx is done.
func (m *Model) RefineSlide(ctx context.Context, s *Slide, in, out string, o RefineOptions) (*RefineResult, error) {
	r, err := m.refineSlide(ctx, s, in, out, o)
	if err != nil {
		return nil, fmt.Errorf("sam: refine slide: %w", err)
	}
	return (*RefineResult)(r), nil
}

// defaultCoarseIoU is the least IoU of a mask with the coarse outline that it
// replaces: of a box drawn with twice the object's width and height, the object
// has less.
const defaultCoarseIoU = 0.25

func (m *Model) refineSlide(ctx context.Context, s *Slide, in, out string, o RefineOptions) (*refine.Result, error) {
	q := refine.Options{
		MPP: o.MPP, Window: m.encoder.ImageSize(), Classes: o.Classes, Within: o.Within,
		PredIoU: o.PredIoUThresh, Stability: o.StabilityScoreThresh, CoarseIoU: o.CoarseIoUThresh,
	}
	if q.CoarseIoU == 0 {
		q.CoarseIoU = defaultCoarseIoU
	}
	if mx, my := s.MPP(); q.MPP == 0 {
		q.MPP = m.defaults.Resolution(math.Sqrt(mx * my))
	}
	q.Model = fmt.Appendf(nil, `{"model":"%x","single":%t}`, m.Fingerprint(), o.SingleMask)
	if o.Progress != nil {
		q.Progress = func(p refine.Progress) { o.Progress(RefineProgress(p)) }
	}
	return refine.Run(ctx, s.w, in, out, func(ctx context.Context, img *image.RGBA, mpp float64, ps []refine.Prompt) ([]refine.Answer, error) {
		return m.answer(ctx, img, mpp, ps, o.SingleMask)
	}, q)
}

// answer decodes the prompts on one picture. Of several masks of a prompt the
// one counts that the model thinks best.
func (m *Model) answer(ctx context.Context, img *image.RGBA, mpp float64, ps []refine.Prompt, single bool) ([]refine.Answer, error) {
	window := Size{H: img.Rect.Dy(), W: img.Rect.Dx()}
	if mpp > 0 {
		img = picture.Padded(img, m.encoder.ImageSize())
	}
	src, err := picture.New(img)
	if err != nil {
		return nil, err
	}
	// All masks: there are no duplicates to look for, each answers its prompt.
	all := EverythingOptions{SingleMask: single, PredIoUThresh: -1, StabilityScoreThresh: -1, BoxNMSThresh: 2, CropNMSThresh: 2}
	for _, p := range ps {
		q := Prompt{Box: (*Box)(p.Box)}
		if p.Point != nil {
			q.Points = []Point{{X: p.Point.X, Y: p.Point.Y, Label: Foreground}}
		}
		all.Prompts = append(all.Prompts, q)
	}
	rs, _, err := everything(ctx, &modelMasks{m: m, src: src}, Size(src.Bounds()), all, nil)
	if err != nil {
		return nil, err
	}
	out := make([]refine.Answer, len(ps))
	for _, r := range rs {
		a := &out[r.Prompt]
		if a.Mask != nil && r.IoUPred <= a.IoUPred {
			continue
		}
		k, err := r.Mask.Place(window, image.Point{}) // without what it was padded with
		if err != nil {
			return nil, err
		}
		*a = refine.Answer{Mask: k.pixels(), IoUPred: r.IoUPred, Stability: r.Stability}
	}
	return out, nil
}
