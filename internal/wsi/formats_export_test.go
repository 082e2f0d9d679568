package wsi

import (
	"bytes"
	"image"
)

// OpenBytes opens a slide of one file in memory.
func OpenBytes(b []byte) (*Slide, error) {
	s := &Slide{cache: newTileCache(1 << 20), assoc: map[string]func() (image.Image, error){}}
	return s, s.openReader(bytes.NewReader(b), int64(len(b)))
}
