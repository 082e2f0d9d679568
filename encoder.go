package sam

import (
	"gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
)

// Encoder is what the rest of a model needs to know of its image encoder:
// nothing else ties a model to one architecture. Pictures reach every encoder
// alike: resized so that their longer side is ImageSize, normalised, and padded
// with 0 at the right and the bottom.
type Encoder interface {
	// Name is that of the architecture, such as "vit".
	Name() string
	// ImageSize is the side of the square input picture in pixels.
	ImageSize() int
	// Grid is the number of the embedding's cells along a side; it divides
	// ImageSize.
	Grid() int
	// Channels is the number of channels of a cell.
	Channels() int
	// Colours are the mean and the standard deviation of the red, green and
	// blue that the encoder was trained with, 0 to 255.
	Colours() (mean, std [3]float32)

	// Input names the graph's input, [ImageSize*ImageSize, 3].
	Input() string
	// Build adds the encoder to a graph and returns the embedding, [Grid*Grid,
	// Channels].
	Build(b *graph.Builder) *gorgonia.Node
	// Weights are the encoder's weights.
	Weights() *layer.Set
}

// Encoder is the model's image encoder.
func (m *Model) Encoder() Encoder { return m.encoder }

// colourTable maps each 8-bit value of each channel to an encoder's input.
type colourTable [3][256]float32

func newColourTable(e Encoder) *colourTable {
	mean, std := e.Colours()
	var t colourTable
	for c := range t {
		for v := range t[c] {
			t[c][v] = (float32(v) - mean[c]) / std[c]
		}
	}
	return &t
}
