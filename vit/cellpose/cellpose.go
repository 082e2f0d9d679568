// Package cellpose is the network of Cellpose-SAM as a gorgonia graph: Segment
// Anything's image encoder with patches of 8 pixels, small windows of a picture
// that it sees as a whole in every block, and a linear readout of three maps for
// each pixel in place of prompts and a mask decoder.
//
//	ck, err := weights.OpenCellpose("cpsam")
//	cfg, err := cellpose.ConfigOf(ck)
//	p := cellpose.NewParams(cfg)
//	err = weights.Bind(ck, p)
//	net, err := cellpose.New(cfg, p)
//	b := graph.NewBuilder()
//	maps := net.Build(b) // from the input vit.Picture
//
// Source: vit.py, CPSAM (cellpose 4.2.1.1).
package cellpose

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/weights"
)

// Maps is the number of the network's maps: the flow down, the flow to the
// right, each 5 times as long as a unit vector, and the logit of being a cell.
const Maps = 3

// Config is the shape of the network: that of its encoder.
type Config struct{ Encoder vit.Config }

// Side is the number of pixels of a side of the square picture that the network
// sees, and of its maps.
func (c Config) Side() int { return c.Encoder.ImageSize }

// ConfigOf reads the shape from the tensors of a checkpoint, such as
// [weights.OpenCellpose] returns.
func ConfigOf(ck *weights.Checkpoint) (Config, error) {
	e, err := vit.ConfigOf(ck)
	c := Config{e}
	if err != nil {
		return c, err
	}
	return c, c.Validate()
}

// Validate returns an error that wraps [vit.ErrConfig] if no network can have
// this shape.
func (c Config) Validate() error {
	if err := c.Encoder.Validate(); err != nil {
		return err
	}
	if len(c.Encoder.Global) != c.Encoder.Depth {
		return fmt.Errorf("%w: of %d blocks only %v attend to the whole picture", vit.ErrConfig, c.Encoder.Depth, c.Encoder.Global)
	}
	return nil
}

// Params are the network's weights by the names that [weights.Cellpose] gives.
type Params struct {
	Encoder  *vit.Params   `weight:"image_encoder"`
	ReadoutW weights.Param `weight:"readout.weight"` // [Maps*Patch*Patch, Out, 1, 1]
	ReadoutB weights.Param `weight:"readout.bias"`   // [Maps*Patch*Patch]
}

// NewParams returns the weights that a network of this shape needs, not yet
// bound to tensors.
func NewParams(c Config) *Params {
	n := Maps * c.Encoder.Patch * c.Encoder.Patch
	return &Params{
		Encoder:  vit.NewParams(c.Encoder),
		ReadoutW: weights.Param{Shape: []int{n, c.Encoder.Out, 1, 1}}, ReadoutB: weights.Param{Shape: []int{n}},
	}
}

// Network is the network: its shape and its weights. It is immutable and safe
// for any number of goroutines.
type Network struct {
	cfg     Config
	encoder *vit.Encoder
	own     layer.Set
	readout layer.Linear
}

// New returns a network of the bound weights, which are read when a backend
// prepares its graph.
func New(c Config, p *Params) (*Network, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	e, err := vit.New(c.Encoder, p.Encoder)
	if err != nil {
		return nil, err
	}
	n := &Network{cfg: c, encoder: e}
	n.readout = n.own.Linear(&p.ReadoutW, &p.ReadoutB)
	return n, nil
}

// Config is the network's shape.
func (n *Network) Config() Config { return n.cfg }

// Weights are the network's weights.
func (n *Network) Weights() []*layer.Set { return []*layer.Set{n.encoder.Weights(), &n.own} }

// Build adds the network to b and returns what it reads out of each patch,
// [Grid*Grid, Maps*Patch*Patch]: value (m*Patch+y)*Patch+x is that of map m at
// row y and column x of the patch. Its input is [vit.Picture], a normalised
// picture in which 0 lies beyond the edge. Its stages are the encoder's.
func (n *Network) Build(b *graph.Builder) *G.Node {
	return n.readout.Apply(b, n.encoder.Build(b))
}
