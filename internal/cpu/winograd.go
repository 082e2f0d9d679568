package cpu

import (
	"slices"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// winograd is a 3 x 3 convolution, with zero padding 1, by Winograd's
// algorithm, of channels of several maps, one after the other:
//
//	relu(conv(norm(x)) + bias)
//
// where norm is an [op.ChannelNorm], an [op.BatchNorm] or nothing.
//
// Inputs: the maps [H*W, C], one for each of Parts; the weight in the form of
// [kernel.PackWinograd]; bias [Out] if Bias; the norm's inputs behind its map.
// Output: [H*W, Out].
type winograd struct {
	H, W, Out  int
	Parts      []channelRange
	Bias, ReLU bool
	Norm       graph.Op
}

// channelRange is n channels of a map.
type channelRange struct{ first, n int }

func (winograd) Name() string { return "winograd3x3" }

// Forward implements [graph.Forwarder].
func (w winograd) Forward(out graph.View, in []graph.View) error {
	k := kernel.Winograd{H: w.H, W: w.W, Out: w.Out, ReLU: w.ReLU}
	for i, p := range w.Parts {
		k.Parts = append(k.Parts, kernel.ConvPart{X: in[i].Data[p.first:], Ld: in[i].Shape[1], C: p.n})
	}
	in = in[len(w.Parts):]
	weight := in[0].Data
	in = in[1:]
	if w.Bias {
		k.Bias = in[0].Data
		in = in[1:]
	}
	if w.Norm != nil {
		k.Scale, k.Shift = normOf(w.Norm, k.Parts, w.H*w.W, in)
	}
	k.Run(out.Data, weight)
	return nil
}

// winogradForm is a convolution's weight [out, in, 3, 3] as [winograd] reads it.
func winogradForm(w *value, out, in int) *value {
	return formOf(w, "winograd", kernel.WinogradLen(out, in), func(v []float32) graph.Form {
		return graph.Form{Data: kernel.PackWinograd(v, out, in)}
	})
}

// fuseMaps lets convolutions normalise the maps that they read, and read those
// that a skip lays side by side, if nobody else reads what they then do not
// make.
func (l *lowered) fuseMaps() {
	uses := l.uses()
	l.each(func(v *value) {
		w, ok := v.op.(winograd)
		if !ok {
			return
		}
		x := v.in[0]
		if n, ok := x.op.(graph.Op); ok && uses[x] == 1 {
			switch n.(type) {
			case op.ChannelNorm, op.BatchNorm:
				w.Norm = n
				v.in = slices.Concat(x.in[:1], v.in[1:], x.in[1:])
				x = x.in[0]
			}
		}
		if s, ok := x.op.(op.Skip); ok && uses[x] == 1 {
			a, b := x.in[0].shape[1], x.in[1].shape[1]
			first, n := s.Crop(a, b)
			w.Parts = []channelRange{{0, a}, {first, n}}
			v.in = slices.Concat(x.in, v.in[1:])
		}
		v.op = w
	})
}
