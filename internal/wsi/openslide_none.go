//go:build !openslide || !(linux || darwin)

package wsi

import (
	"errors"
	"fmt"
)

// viaOpenSlide returns cause, with a hint if the OpenSlide library may read
// what this package does not.
func viaOpenSlide(_ string, _ Options, cause error) (*Slide, error) {
	var f *foreignFormat
	if errors.As(cause, &f) && f.openslide {
		return nil, fmt.Errorf("%w; or build with -tags openslide (Linux, macOS) where the OpenSlide library is installed", cause)
	}
	return nil, cause
}
