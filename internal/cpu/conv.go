package cpu

import (
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// patches cuts a picture into Size x Size patches, one row each, so that a
// convolution with that size and stride becomes a product. With ChannelFirst
// a row runs over (channel, y, x), as torch stores the weights of such a
// convolution; otherwise over (y, x, channel).
//
// Input: [Batch*H*W, C] of a map of H x W pixels; Size divides both.
// Output: [Batch*(H/Size)*(W/Size), C*Size*Size].
type patches struct {
	Batch, H, W, Size int
	ChannelFirst      bool
}

func (patches) Name() string { return "patches" }

// Forward implements [graph.Forwarder].
func (p patches) Forward(out graph.View, in []graph.View) error {
	c, x := in[0].Shape[1], in[0].Data
	gw, row := p.W/p.Size, c*p.Size*p.Size
	kernel.Parallel(p.Batch*p.H/p.Size, func(gy int) {
		for gx := 0; gx < gw; gx++ {
			dst := out.Data[(gy*gw+gx)*row:][:row]
			for y := 0; y < p.Size; y++ {
				src := x[((gy*p.Size+y)*p.W+gx*p.Size)*c:][:p.Size*c]
				if !p.ChannelFirst {
					copy(dst[y*p.Size*c:], src)
					continue
				}
				for k := 0; k < c; k++ {
					d := dst[(k*p.Size+y)*p.Size:][:p.Size]
					for i := range d {
						d[i] = src[i*c+k]
					}
				}
			}
		}
	})
	return nil
}

// columns gathers the pixels under each place of a Size x Size kernel, one row
// each, which runs over (y, x, channel). Beyond the map they are 0.
//
// Input: [Batch*H*W, C]. Output: [Batch*OutH*OutW, Size*Size*C].
type columns struct {
	op.Conv
	Size int
}

func (columns) Name() string { return "columns" }

// Forward implements [graph.Forwarder].
func (k columns) Forward(out graph.View, in []graph.View) error {
	c, x := in[0].Shape[1], in[0].Data
	gh, gw := k.Grid(k.Size)
	row := k.Size * k.Size * c
	kernel.Parallel(k.Batch*gh, func(gy int) {
		b, y0 := gy/gh, gy%gh*k.Stride-k.Pad
		for gx := range gw {
			dst, x0 := out.Data[(gy*gw+gx)*row:][:row], gx*k.Stride-k.Pad
			clear(dst)
			for dy := max(0, -y0); dy < min(k.Size, k.H-y0); dy++ {
				first, last := max(0, -x0), min(k.Size, k.W-x0)
				if first < last {
					copy(dst[(dy*k.Size+first)*c:(dy*k.Size+last)*c], x[((b*k.H+y0+dy)*k.W+x0+first)*c:])
				}
			}
		}
	})
	return nil
}

// conv3x3 is act(conv(x) + bias) for a 3 x 3 convolution with zero padding 1.
//
// Inputs: x [H*W, In]; the packed weight of [Out, 9*In] in (y, x, channel)
// order; bias [Out] if Bias. Output: [H*W, Out].
type conv3x3 struct {
	H, W, In, Out int
	Bias          bool
	Act           kernel.Act
}

func (conv3x3) Name() string { return "conv3x3" }

// Forward implements [graph.Forwarder].
func (c conv3x3) Forward(out graph.View, in []graph.View) error {
	w := kernel.PackedOf(in[1].Data, c.Out, 9*c.In)
	e := kernel.Epilogue{Act: c.Act}
	if c.Bias {
		e.Bias = in[2].Data
	}
	kernel.Conv3x3(out.Data, in[0].Data, c.H, c.W, &w, e)
	return nil
}

// upscale is a transposed convolution of size and stride 2: each pixel
// becomes 2 x 2 pixels.
//
// Inputs: x [Batch*H*W, In]; the packed weight of [4*Out, In] in (y, x,
// channel) order; bias [4*Out], the channels' bias four times over.
// Output: [Batch*2H*2W, Out].
type upscale struct {
	Batch, H, W, In, Out int
	GELU                 bool
}

func (upscale) Name() string { return "upscale2x2" }

// Forward implements [graph.Forwarder].
func (u upscale) Forward(out graph.View, in []graph.View) error {
	half := len(in[1].Data) / 2
	n, row := 2*u.Out, u.W*u.In
	act := kernel.ActNone
	if u.GELU {
		act = kernel.ActGELU
	}
	up := kernel.PackedOf(in[1].Data[:half], n, u.In)
	down := kernel.PackedOf(in[1].Data[half:], n, u.In)
	kernel.Parallel(u.Batch*u.H, func(y int) {
		x := in[0].Data[y*row:][:row]
		dst := out.Data[2*y*u.W*n:]
		kernel.GemmSerial(dst[:u.W*n], n, x, u.In, u.W, &up, kernel.Epilogue{Bias: in[2].Data[:n], Act: act})
		kernel.GemmSerial(dst[u.W*n:2*u.W*n], n, x, u.In, u.W, &down, kernel.Epilogue{Bias: in[2].Data[n:], Act: act})
	})
	return nil
}

// channelFirst reports whether patches keep the order of the checkpoint's
// weights: where there are fewer channels than pixels in a patch's row, as in
// pictures. Otherwise whole pixels are copied.
func channelFirst(size, channels int) bool { return size > channels }

// gather is the step whose rows a convolution's weight is multiplied with.
func gather(c op.Conv, size, channels int) instruction {
	if c.Stride == size && c.Pad == 0 && c.H%size == 0 && c.W%size == 0 {
		return patches{Batch: c.Batch, H: c.H, W: c.W, Size: size, ChannelFirst: channelFirst(size, channels)}
	}
	return columns{Conv: c, Size: size}
}

// chooseConv makes steps of the convolution v, whose weight is fixed.
func chooseConv(v *value, c op.Conv) {
	x, w := v.in[0], v.in[1]
	out, channels, size := w.shape[0], w.shape[1], w.shape[2]
	if size == 3 && c.Stride == 1 && c.Pad == 1 && c.Batch == 1 {
		if c.Winograd {
			v.op = winograd{H: c.H, W: c.W, Out: out, Parts: []channelRange{{0, channels}}, Bias: len(v.in) > 2}
			v.in[1] = winogradForm(w, out, channels)
			return
		}
		v.op = conv3x3{H: c.H, W: c.W, In: channels, Out: out, Bias: len(v.in) > 2}
		v.in = append([]*value{x, packedLast(w, out, channels, size)}, v.in[2:]...)
		return
	}
	k := channels * size * size
	rows := &value{op: gather(c, size, channels), in: []*value{x}, shape: tensor.Shape{v.shape[0], k}}
	p, first := rows.op.(patches)
	weight := packedLast(w, out, channels, size)
	if first && p.ChannelFirst {
		weight = packed(w, out, k)
	}
	v.op = linear{N: out, K: k, Bias: len(v.in) > 2}
	v.in = append([]*value{rows, weight}, v.in[2:]...)
}

// runConv runs a convolution whose weight changes.
func runConv(c op.Conv, out graph.View, in []graph.View) error {
	channels, size := in[1].Shape[1], in[1].Shape[2]
	k := channels * size * size
	if size == 3 && c.Stride == 1 && c.Pad == 1 && c.Batch == 1 { // its rows would be nine times the map
		w := graph.View{Data: packedForm(channelsLast(in[1].Data, out.Shape[1], channels, 9), out.Shape[1], k).Data}
		return conv3x3{H: c.H, W: c.W, In: channels, Out: out.Shape[1], Bias: len(in) > 2}.Forward(out, append([]graph.View{in[0], w}, in[2:]...))
	}
	g := gather(c, size, channels)
	rows := graph.View{Data: make([]float32, out.Shape[0]*k), Shape: tensor.Shape{out.Shape[0], k}}
	if err := g.(graph.Forwarder).Forward(rows, in[:1]); err != nil {
		return err
	}
	w := in[1]
	if p, ok := g.(patches); !ok || !p.ChannelFirst {
		w.Data = channelsLast(w.Data, out.Shape[1], channels, size*size)
	}
	runLinear(out, append([]graph.View{rows, w}, in[2:]...), nil)
	return nil
}

// runUpscale runs a transposed convolution whose weight changes.
func runUpscale(u op.Upscale2x2, out graph.View, in []graph.View) error {
	channels, n := in[1].Shape[0], in[1].Shape[1]
	four := graph.View{}
	for range 4 {
		four.Data = append(four.Data, in[2].Data...)
	}
	w := graph.View{Data: packedQuartersForm(in[1].Data, channels, n).Data}
	return upscale{Batch: u.Batch, H: u.H, W: u.W, In: channels, Out: n}.Forward(out, []graph.View{in[0], w, four})
}
