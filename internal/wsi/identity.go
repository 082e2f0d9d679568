package wsi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
)

// Identity is what tells slides apart by their content, whatever their place
// and name: what the slide says of itself and, of a TIFF, a hash of its
// directories, its length and a part of its tiles; of a picture, of all its
// pixels; of a source, of the pixels of a few places.
func (s *Slide) Identity(ctx context.Context) (string, error) {
	id := fmt.Sprintf("%s %v %v %v %q%s", s.meta.Format, s.meta.MPPX, s.meta.MPPY, s.levels, s.meta.Description, s.identity)
	var digest string
	var err error
	switch {
	case s.file != nil:
		digest, err = s.file.Digest()
	case len(s.rasts) == 1:
		if r, ok := s.rasts[0].(pictureRaster); ok {
			sum := sha256.Sum256(r.pix.Pix)
			digest = hex.EncodeToString(sum[:16])
		}
	case s.src != nil:
		digest, err = s.sample(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("wsi: identity: %w", err)
	}
	return id + " " + digest, nil
}

const (
	sampleSide   = 64 // pixels of a side of a place
	samplePlaces = 8  // places along a side
)

// sample hashes the pixels of places that are evenly spread over level 0.
func (s *Slide) sample(ctx context.Context) (string, error) {
	h := sha256.New()
	l := s.levels[0]
	pic := image.NewRGBA(image.Rect(0, 0, min(sampleSide, l.W), min(sampleSide, l.H)))
	for i := range samplePlaces * samplePlaces {
		at := image.Pt((l.W-pic.Rect.Dx())*(i%samplePlaces)/(samplePlaces-1), (l.H-pic.Rect.Dy())*(i/samplePlaces)/(samplePlaces-1))
		clear(pic.Pix)
		if err := s.ReadRegion(ctx, 0, at, pic); err != nil {
			return "", err
		}
		h.Write(pic.Pix)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
