package wsi_test

import (
	"context"
	"image"
	"image/draw"

	"github.com/slidesam/sam/internal/wsi"
)

// source is a picture as a wsi.Source of one level.
type source struct{ pic *image.RGBA }

func (s source) Levels() []wsi.Level {
	return []wsi.Level{{W: s.pic.Rect.Dx(), H: s.pic.Rect.Dy(), TileW: 8, TileH: 8, Downsample: 1}}
}

func (s source) ReadRegion(_ context.Context, _ int, at image.Point, dst *image.RGBA) error {
	draw.Draw(dst, s.pic.Rect.Sub(at), s.pic, image.Point{}, draw.Src)
	return nil
}
