package sam

import (
	"context"
	"image"

	"github.com/slidesam/sam/internal/resample"
)

// DrawnMasks is a source of masks for Everything that draws them.
type DrawnMasks struct {
	Low, Frame int // sides of the logits and of the network's input
	// Draw returns the logits [Low, Low] and predicted IoU of mask k for a
	// point in the frame of the network's input.
	Draw func(x, y float64, k int) ([]float32, float32)
}

// EverythingFrom runs the generator on drawn masks.
func EverythingFrom(ctx context.Context, d DrawnMasks, s Size, o EverythingOptions) ([]Region, error) {
	r, _, err := everything(ctx, drawnSource{d}, s, o, nil)
	return r, err
}

type drawnSource struct{ DrawnMasks }

func (d drawnSource) crop(_ context.Context, r image.Rectangle) (maskCrop, error) {
	pic := resample.Size{H: r.Dy(), W: r.Dx()}
	return drawnCrop{d.DrawnMasks, resample.LongestSide(pic, d.Frame), pic}, nil
}

type drawnCrop struct {
	DrawnMasks
	in, pic resample.Size
}

func (c drawnCrop) upscaler() (*resample.Upscaler, error) {
	return resample.NewUpscaler(resample.Size{H: c.Low, W: c.Low}, c.Frame, c.in, c.pic)
}

func (c drawnCrop) decode(_ context.Context, ps []Prompt, _ wanted, use func(i int, a answer) error) error {
	for i, p := range ps {
		var logits, iou []float32
		for k := range 3 {
			x := p.Points[0].X * (float64(c.in.W) / float64(c.pic.W))
			y := p.Points[0].Y * (float64(c.in.H) / float64(c.pic.H))
			m, v := c.Draw(x, y, k)
			logits, iou = append(logits, m...), append(iou, v)
		}
		if err := use(i, answer{logits: logits, iou: iou}); err != nil {
			return err
		}
	}
	return nil
}
