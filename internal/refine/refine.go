// Package refine makes exact outlines of coarse ones: each object of a GeoJSON
// file becomes a prompt of a model that sees the slide around it, and its
// outline the mask that the model answers with.
//
// It knows a model only as a [Predictor]. Objects are put into windows of the
// slide, each of which is read and looked at once, at the finest resolution at
// which they fit with what is around them. Answers go to a journal beside the
// output, from which a run that was stopped goes on. Of an object, some hundred
// bytes are held; its outline is read again when its turn comes.
//
// Coordinates are pixels of the slide's finest level unless a name says window.
// Errors carry no package's name: whoever hands them to a user adds its own.
package refine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"strings"
	"time"

	"github.com/slidesam/sam/internal/mask"
)

// ErrOtherRun is wrapped by the error for a journal of a run with another
// slide, model, annotations or options.
var ErrOtherRun = errors.New("journal of another run")

// Point is a place in a window.
type Point struct{ X, Y float64 }

// Box is two corners in a window.
type Box struct{ X0, Y0, X1, Y1 float64 }

// Prompt says where an object is: a point on it, or a box round it.
type Prompt struct {
	Point *Point
	Box   *Box
}

// Answer is what a model makes of a prompt.
type Answer struct {
	Mask      *mask.Mask // of the window
	IoUPred   float32
	Stability float32
}

// Predictor answers the prompts of one window, each by itself, in their order.
// img is the window on white; it must not be kept.
type Predictor func(ctx context.Context, img *image.RGBA, mpp float64, ps []Prompt) ([]Answer, error)

// Options changes what is refined. The zero value takes every object.
type Options struct {
	MPP     float64  // micrometres per pixel to work at; 0: those of level 0
	Window  int      // side of a window in its pixels
	Classes []string // take objects of these classes and of those derived from them; nil: all
	// Within takes objects whose middle lies in the annotations of this name,
	// class or id, and leaves these annotations alone; empty: all.
	Within string
	// PredIoU, Stability and CoarseIoU are the least predicted IoU, stability and
	// IoU with the coarse outline that a mask replaces it with; 0 or less: none.
	PredIoU, Stability, CoarseIoU float64
	// Model is what answers depend on besides these options: it tells journals
	// apart.
	Model json.RawMessage
	// Progress, if set, is told after each window, by one goroutine at a time.
	Progress func(Progress)
}

// Progress says how far a run is.
type Progress struct {
	Done, Total   int // objects that are prompts
	Refined       int
	Windows, Seen int           // windows of the run, and those that are done
	Resumed       int           // windows that an earlier run had done
	Elapsed       time.Duration // of this run
	Left          time.Duration // what remains at this pace, 0 if unknown
}

// Reason is why an object was left alone.
type Reason uint8

// The reasons. Objects of the first group were not asked for and are written as
// they were; those of the second are marked.
const (
	Refined   Reason = iota
	OtherName        // not of a class asked for
	Outside          // not within the annotation asked for
	Container        // the annotation that others were asked for within
	Locked           // in QuPath

	NoOutline  // a line, a collection, nothing, or no area
	OffSlide   // beside the slide
	EmptyMask  // the model found nothing
	LowIoU     // predicted IoU too low
	LowStable  // stability too low
	Disagrees  // IoU with the coarse outline too low
	Unreadable // a tile of the slide that could not be read
	reasons
)

var reasonText = [reasons]string{
	"refined", "of another class", "outside the annotation", "the annotation itself", "locked",
	"without an outline or point", "beside the slide", "nothing found", "predicted IoU too low", "stability too low", "too unlike the coarse outline", "slide not readable there",
}

// String says it in words.
func (r Reason) String() string {
	if r < reasons {
		return reasonText[r]
	}
	return fmt.Sprint("reason ", uint8(r))
}

// asked reports whether the object was to be refined at all.
func (r Reason) asked() bool { return r == Refined || r >= NoOutline }

// Result says what a run did.
type Result struct {
	Objects int // of the file; a feature of several points counts as each
	Refined int // that got a new outline
	Windows int
	Resumed int      // windows that an earlier run had done
	Missing []string // tiles of the slide that could not be read
	left    [reasons]int
}

// count notes what became of an object.
func (r *Result) count(why Reason) {
	if why == Refined {
		r.Refined++
		return
	}
	r.left[why]++
}

// Describe says in one line what became of the objects.
func (r *Result) Describe() string {
	parts := []string{fmt.Sprintf("%d of %d objects refined", r.Refined, r.Objects)}
	for k, n := range r.left {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d left alone: %v", n, Reason(k)))
		}
	}
	return strings.Join(parts, ", ")
}
