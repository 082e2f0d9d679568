package cli

import (
	"cmp"
	"flag"

	"github.com/slidesam/sam"
)

// Model is the flags that choose a model.
type Model struct {
	Path      string // empty: the bundled model
	Device    string // as sam.Model.On names it; empty: the processor
	Precision sam.Precision
	Mirror    bool
}

// Register adds -model, -device and -precision.
func (m *Model) Register(fs *flag.FlagSet) {
	fs.StringVar(&m.Path, "model", "", "checkpoint `file`; default: the bundled model")
	fs.StringVar(&m.Device, "device", sam.Auto, "compute on `device`: cpu, cuda:0, cuda:1, ..., or auto, a GPU if there is one")
	fs.TextVar(&m.Precision, "precision", sam.FP32, "multiply in `precision`: fp32; on a processor int8, which is faster, or fp16weights, in half the memory; on a GPU tf32, fp16 or bf16")
}

// RegisterMirror adds -mirror.
func (m *Model) RegisterMirror(fs *flag.FlagSet) {
	fs.BoolVar(&m.Mirror, "mirror", false, "show the model each picture turned over as well, four views in all, and take the mean; four times the time")
}

// Bundled reports whether the model is the bundled one.
func (m *Model) Bundled() bool { return m.Path == "" }

// Load loads the model.
func (m *Model) Load() (*sam.Model, error) {
	load := sam.Bundled
	if !m.Bundled() {
		in := sam.FP32
		if m.Precision == sam.INT8 || m.Precision == sam.FP16Weights {
			in = m.Precision
		}
		load = func() (*sam.Model, error) { return sam.LoadIn(m.Path, in) }
	}
	model, err := load()
	if err != nil {
		return nil, err
	}
	if model, err = model.On(cmp.Or(m.Device, sam.CPU), m.Precision); err != nil || !m.Mirror {
		return model, err
	}
	return model.Mirrored(), nil
}
