package wholeslide

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"strconv"

	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/wsi"
)

// Estimate is the pixel size of a slide that does not say it.
type Estimate struct {
	MPP       float64 // micrometres per pixel of level 0, two digits
	Low, High float64 // it lies between them in nine of ten slides
	By        string  // "objective" or "nuclei"
}

// String says the estimate in words.
func (e Estimate) String() string {
	by := "the size of its nuclei"
	if e.By == "objective" {
		by = "its objective"
	}
	return fmt.Sprintf("%g micrometres per pixel by %s, between %.2g and %.2g in nine of ten slides", e.MPP, by, e.Low, e.High)
}

const (
	objectiveMPP  = 10   // micrometres per pixel times magnification, of scanners
	objectiveOff  = 1.15 // the factor to either side that scanners keep
	estimateSide  = 768  // of a field in which nuclei are looked at, in pixels of level 0
	estimateCount = 4    // fields
)

// EstimateMPP estimates the pixel size of a slide: by the magnification of the
// objective if the file says that, else by the size of nuclei in four fields,
// see [histology.Scale]. It is the same each time.
//
// The error wraps wsi.ErrNoMPP if it cannot be told, and ctx's error.
func EstimateMPP(ctx context.Context, s *wsi.Slide) (Estimate, error) {
	if m := s.Meta().Objective; m >= 1 && m <= 200 {
		return newEstimate(objectiveMPP/m, objectiveOff, "objective"), nil
	}
	thumb, err := s.Thumbnail(ctx, tissueSide)
	if err != nil {
		return Estimate{}, err
	}
	tissue, err := histology.Tissue(thumb)
	if err != nil {
		return Estimate{}, err
	}
	l := s.Levels()[0]
	cols, rows := (l.W-1)/estimateSide+1, (l.H-1)/estimateSide+1
	var fields []*image.RGBA
	for _, k := range histology.RichFields(thumb, tissue, cols, rows, estimateCount) {
		x, w := shift(k%cols*estimateSide, estimateSide, l.W)
		y, h := shift(k/cols*estimateSide, estimateSide, l.H)
		img := image.NewRGBA(image.Rect(0, 0, w, h))
		if err := s.ReadRegion(ctx, 0, image.Pt(x, y), img); err != nil {
			return Estimate{}, err
		}
		wsi.OnWhite(img)
		fields = append(fields, img)
	}
	mpp, off, err := histology.Scale(ctx, fields)
	if errors.Is(err, histology.ErrNoNuclei) {
		return Estimate{}, fmt.Errorf("%w, and it cannot be told from nuclei: %w", wsi.ErrNoMPP, err)
	}
	if err != nil {
		return Estimate{}, err
	}
	return newEstimate(mpp, off, "nuclei"), nil
}

// newEstimate rounds to what can be meant, so that rounding of the arithmetic
// does not show in what a run is known by.
func newEstimate(mpp, off float64, by string) Estimate {
	e := Estimate{Low: mpp / off, High: mpp * off, By: by}
	digits := 1 - int(math.Floor(math.Log10(mpp)))
	e.MPP, _ = strconv.ParseFloat(strconv.FormatFloat(mpp, 'f', max(digits, 0), 64), 64)
	return e
}
