package sam

import (
	"context"
	"fmt"
	"image"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/mirror"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
)

// Embed runs the image encoder on a picture of any size: resized as Pillow
// does so that its longer side is the model's, normalised, and padded at the
// right and the bottom. Alpha is dropped, as Pillow's convert("RGB") does.
// The methods of an image of a type of the caller's own are called from
// several goroutines.
//
// Embed returns an error for an empty picture, and ctx's error within one
// block of the encoder after ctx is done.
func (m *Model) Embed(ctx context.Context, img image.Image) (*Embedding, error) {
	src, err := picture.New(img)
	if err != nil {
		return nil, fmt.Errorf("sam: embed: %w", err)
	}
	e, err := m.embed(ctx, src)
	if err != nil {
		return nil, fmt.Errorf("sam: embed: %w", err)
	}
	e.digest = src.Digest()
	return e, nil
}

func (m *Model) embed(ctx context.Context, src resample.Source) (*Embedding, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	enc, size := m.encoder, src.Bounds()
	side := enc.ImageSize()
	in := inputSize(Size(size), side)
	buf, _ := m.pixels.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer m.pixels.Put(buf)
	pix, err := resample.Bilinear(*buf, src, resample.Size(in))
	if err != nil {
		return nil, err
	}
	*buf = pix
	e := &Embedding{fingerprint: m.fingerprint, grid: enc.Grid(), channels: enc.Channels(), picture: Size(size), input: in}
	for _, r := range m.mirrors {
		err = m.encoders.With(ctx, struct{}{}, func(p graph.Program) error {
			m.colours.normalise(p.Input(enc.Input()), pix, in, side, r, m.canvas(in).Pixels)
			if err := p.Run(ctx); err != nil {
				return err
			}
			data, err := graph.Kept(p, 0)
			e.views = append(e.views, &view{data: data})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return e, nil
}

// inputSize is a picture's size when its longer side is the model's.
func inputSize(s Size, side int) Size { return Size(resample.LongestSide(resample.Size(s), side)) }

// normalise fills dst [side, side, 3] with the normalised picture pix [H, W,
// 3], turned over within the canvas, and with 0 beyond it.
func (t *colourTable) normalise(dst []float32, pix []byte, s Size, side int, r mirror.View, canvas resample.Size) {
	kernel.Parallel(side, func(y int) {
		row := dst[y*side*3 : (y+1)*side*3]
		if r.Y && y < canvas.H {
			y = canvas.H - 1 - y
		}
		if y >= s.H {
			clear(row)
			return
		}
		n := s.W * 3
		src := pix[y*n : (y+1)*n]
		left, at, step := 0, 0, 3 // of the picture, of its first pixel, to the next one
		if r.X {
			left, at, step = 3*canvas.W-n, 3*canvas.W-3, -3
		}
		clear(row[:left])
		for i := 0; i+2 < n; i += 3 {
			row[at] = t[0][src[i]]
			row[at+1] = t[1][src[i+1]]
			row[at+2] = t[2][src[i+2]]
			at += step
		}
		clear(row[left+n:])
	})
}
