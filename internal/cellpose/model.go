package cellpose

import (
	"context"
	"encoding/hex"
	"fmt"
	"image"
	"math"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/weights"
)

// Licence is what the authors say of their weights.
//
// Source: README.md of cellpose 4.2.1.1.
const Licence = "Cellpose's models were trained on data under CC-BY-NC: the authors' weights are not for commercial use without their leave"

// Model is a network that was loaded from a file.
type Model struct {
	net         *Network
	fingerprint [16]byte
}

// Load reads a Cellpose-SAM model from a file.
func Load(backend graph.Backend, path string) (*Model, error) {
	ck, err := weights.OpenCellpose(path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	m := &Model{}
	if m.net, err = NewNetwork(backend, ck); err != nil {
		return nil, err
	}
	if m.fingerprint, err = ck.Fingerprint(); err != nil {
		return nil, err
	}
	return m, ck.Unchanged()
}

// Segment returns the cells of a picture, as [Label] does, and for each pixel
// the probability of being a cell's, as Foreground; Boundary is what it lacks
// to 1.
func (m *Model) Segment(ctx context.Context, img image.Image, o Options) (instance.Maps, []uint32, error) {
	src, err := picture.New(img)
	if err != nil {
		return instance.Maps{}, nil, err
	}
	maps, err := m.net.Predict(ctx, src.RGB(), (*Levels)(o.Levels))
	if err != nil {
		return instance.Maps{}, nil, err
	}
	labels, err := Label(ctx, maps, o)
	out := instance.Maps{H: maps.H, W: maps.W, Foreground: maps.Logit, Boundary: make([]float32, len(maps.Logit))}
	for i, v := range maps.Logit {
		out.Foreground[i] = float32(1 / (1 + math.Exp(-float64(v))))
		out.Boundary[i] = 1 - out.Foreground[i]
	}
	return out, labels, err
}

// Identity tells what Segment finds apart: a hash of the weights, and the
// options as they count.
func (m *Model) Identity(o Options) string {
	o = o.filled()
	levels := "own"
	if o.Levels != nil {
		levels = fmt.Sprint(*o.Levels)
	}
	return fmt.Sprintf("cellpose %s cell %g flow %g steps %d size %d share %g levels %s",
		hex.EncodeToString(m.fingerprint[:]), o.CellThreshold, o.FlowThreshold, o.Iterations, o.MinSize, o.MaxShare, levels)
}
