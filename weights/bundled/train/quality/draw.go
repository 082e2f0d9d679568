package main

import (
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/draw"
)

// outlines writes img with the outlines of masks as a PNG.
func outlines(path string, img image.Image, masks []*sam.Mask) error {
	c, err := draw.New(img)
	if err != nil {
		return err
	}
	for i, m := range masks {
		c.Outline(m, draw.Color(i), 1)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, c.Image()) })
}
