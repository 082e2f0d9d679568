package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/slidesam/sam"
)

// SlideFlags say how a slide is opened.
type SlideFlags struct {
	MPP      float64 // of level 0; 0: as the file says
	SkipBad  bool    // leave out tiles that are missing or corrupt
	Estimate bool    // the resolution of a slide that does not say it
}

// OpenSlide opens a slide. One that does not say its resolution is opened with an
// estimate of it, and note says so; without, if it cannot be told or is not wanted.
func OpenSlide(ctx context.Context, path string, f SlideFlags, log *slog.Logger) (s *sam.Slide, note string, err error) {
	o := sam.SlideOptions{MPP: f.MPP}
	if f.SkipBad {
		o.SkipBadTiles = true
		o.OnBadTile = func(e *sam.TileError) { log.Warn("bad tile", "error", e.Error()) }
	}
	if s, err = sam.OpenSlideWith(path, o); err != nil {
		return nil, "", err
	}
	if mpp, _ := s.MPP(); mpp > 0 || !f.Estimate {
		return s, "", nil
	}
	e, err := s.EstimateMPP(ctx)
	if errors.Is(err, sam.ErrNoMPP) {
		return s, "", nil
	}
	s.Close()
	if err != nil {
		return nil, "", err
	}
	o.MPP, o.MPPNote = e.MPP, fmt.Sprintf("the slide does not say its resolution; it was estimated as %s: if you know it, give -slide-mpp", e)
	s, err = sam.OpenSlideWith(path, o)
	return s, o.MPPNote, err
}
