package op_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
)

// TestShapes gives each op inputs that do not fit it.
func TestShapes(t *testing.T) {
	s := func(d ...int) tensor.Shape { return d }
	for name, tt := range map[string]struct {
		o  graph.Op
		in []tensor.Shape
	}{
		"linear: too few":  {op.Linear{}, []tensor.Shape{s(5, 3)}},
		"linear: x":        {op.Linear{}, []tensor.Shape{s(5, 2), s(4, 3)}},
		"linear: rank":     {op.Linear{}, []tensor.Shape{s(5, 3, 1), s(4, 3)}},
		"linear: weight":   {op.Linear{}, []tensor.Shape{s(5, 3), s(4, 3, 2)}},
		"linear: bias":     {op.Linear{}, []tensor.Shape{s(5, 3), s(4, 3), s(3)}},
		"norm: no input":   {op.LayerNorm{}, nil},
		"norm: gamma":      {op.LayerNorm{}, []tensor.Shape{s(2, 3), s(2), s(3)}},
		"gelu":             {op.GELU{}, nil},
		"relu":             {op.ReLU{}, nil},
		"add: width":       {op.Add{}, []tensor.Shape{s(4, 3), s(2, 2)}},
		"add: rows":        {op.Add{}, []tensor.Shape{s(4, 3), s(3, 3)}},
		"attention: keys":  {op.Attention{Batch: 2, Heads: 1, HeadDim: 4, NQ: 3, NK: 5}, []tensor.Shape{s(3, 4), s(6, 4), s(5, 4)}},
		"rel pos: table":   {op.RelPosAttention{H: 4, W: 4, Window: 2, Heads: 1, HeadDim: 4}, []tensor.Shape{s(16, 12), s(7, 4), s(3, 4), s(12)}},
		"conv: size":       {op.Conv{Batch: 1, H: 4, W: 4, Stride: 3}, []tensor.Shape{s(16, 1), s(1, 1, 5, 5)}},
		"conv: rows":       {op.Conv{Batch: 2, H: 4, W: 4, Stride: 2}, []tensor.Shape{s(16, 1), s(1, 1, 2, 2)}},
		"conv: weight":     {op.Conv{Batch: 1, H: 2, W: 2, Stride: 1, Pad: 1}, []tensor.Shape{s(4, 3), s(4, 2, 3, 3)}},
		"conv: bias":       {op.Conv{Batch: 1, H: 2, W: 2, Stride: 1, Pad: 1}, []tensor.Shape{s(4, 3), s(4, 3, 3, 3), s(3)}},
		"conv: no stride":  {op.Conv{Batch: 1, H: 2, W: 2}, []tensor.Shape{s(4, 3), s(4, 3, 1, 1)}},
		"upscale: bias":    {op.Upscale2x2{Batch: 1, H: 2, W: 2}, []tensor.Shape{s(4, 3), s(3, 2, 2, 2), s(3)}},
		"upscale: weight":  {op.Upscale2x2{Batch: 1, H: 2, W: 2}, []tensor.Shape{s(4, 3), s(2, 3, 2, 2), s(3)}},
		"tokens: width":    {op.Tokens{Batch: 1, N: 1}, []tensor.Shape{s(2, 3), s(1, 4)}},
		"pick: index":      {op.Pick{Rows: 2, Which: []int{2}}, []tensor.Shape{s(4, 3)}},
		"pick: rows":       {op.Pick{Rows: 3, Which: []int{2}}, []tensor.Shape{s(4, 3)}},
		"rows: none":       {op.Rows{}, nil},
		"rows: width":      {op.Rows{}, []tensor.Shape{s(4, 3), s(4, 2)}},
		"masks: prompts":   {op.Masks{Batch: 3}, []tensor.Shape{s(4, 2), s(3, 2)}},
		"masks: width":     {op.Masks{Batch: 2}, []tensor.Shape{s(4, 2), s(2, 3)}},
		"floor: column":    {op.Floor{Which: []int{2}}, []tensor.Shape{s(4, 9), s(4, 2), s(1)}},
		"floor: masks":     {op.Floor{Which: []int{0, 1}}, []tensor.Shape{s(4, 9), s(4, 2), s(1)}},
		"points: table":    {op.Points{Size: 64}, []tensor.Shape{s(2, 3), s(2, 4), s(5, 7)}},
		"bilinear: rows":   {op.Bilinear2x{H: 2, W: 2}, []tensor.Shape{s(3, 1)}},
		"channels: gamma":  {op.ChannelNorm{}, []tensor.Shape{s(4, 3), s(2), s(3)}},
		"channels: beta":   {op.ChannelNorm{}, []tensor.Shape{s(4, 3), s(3)}},
		"channels: none":   {op.ChannelNorm{}, nil},
		"batch: none":      {op.BatchNorm{}, []tensor.Shape{s(4, 3)}},
		"batch: mean":      {op.BatchNorm{}, []tensor.Shape{s(4, 3), s(3), s(3)}},
		"offsets: biases":  {op.OffsetAttention{H: 4, W: 4, Window: 2, Heads: 2, HeadDim: 4}, []tensor.Shape{s(16, 24), s(2, 3), s(24)}},
		"depthwise: none":  {op.Depthwise{H: 2, W: 2}, nil},
		"depthwise: bias":  {op.Depthwise{H: 2, W: 2, Stride: 1}, []tensor.Shape{s(4, 3), s(3, 1, 3, 3), s(4)}},
		"skip: middle":     {op.Skip{}, []tensor.Shape{s(4, 3), s(4, 6)}},
		"skip: narrow":     {op.Skip{}, []tensor.Shape{s(4, 6), s(4, 4)}},
		"skip: rows":       {op.Skip{Whole: true}, []tensor.Shape{s(4, 3), s(5, 3)}},
		"skip: none":       {op.Skip{}, nil},
		"sigmoid":          {op.Sigmoid{}, nil},
		"positions: table": {op.DensePositions{H: 2, W: 2}, []tensor.Shape{s(3, 4)}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tt.o.Shape(tt.in)
			assert.ErrorIs(t, err, graph.ErrShape)
		})
	}
}

func ExampleConv() {
	o := op.Conv{Batch: 1, H: 64, W: 64, Stride: 2, Pad: 1}
	fmt.Println(o.Grid(4))
	s, err := o.Shape([]tensor.Shape{{64 * 64, 3}, {8, 3, 4, 4}, {8}})
	if err != nil {
		panic(err)
	}
	fmt.Println(s)
	// Output:
	// 32 32
	// (1024, 8)
}
