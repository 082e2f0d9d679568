package sam

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/defaults"
	"github.com/slidesam/sam/internal/encoder"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/mirror"
	"github.com/slidesam/sam/maskdec"
	"github.com/slidesam/sam/promptenc"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

// Model is a Segment Anything model: three networks and their weights. It is
// immutable and safe for any number of goroutines.
//
// The nil Model is none: its methods panic.
//
// A model keeps the working memory of a few runs for the next ones. More
// goroutines than it has such memory for wait for each other.
type Model struct {
	cfg         Config
	origin      [16]byte // fingerprint of the weights alone
	fingerprint [16]byte
	defaults    Defaults
	device      Device
	precision   Precision
	rounded     bool // the weights are only had in precision
	backend     graph.Backend
	batch       int // prompts decoded in one run
	lanes       int // runs at a time of one call
	encoder     Encoder
	colours     *colourTable // of the encoder's input
	prompt      *promptenc.Encoder
	decoder     *maskdec.Decoder
	encoders    *graph.Pool[struct{}]
	images      *graph.Pool[struct{}]
	decoders    *graph.Pool[decoderKey]
	pixels      *sync.Pool    // of *[]byte: resized pictures
	mirrors     []mirror.View // of the picture's views; the first is the picture as it is
}

// params are all weights of a model by their names in Meta's checkpoints.
type params struct {
	Encoder any               `weight:"image_encoder"`
	Prompt  *promptenc.Params `weight:"prompt_encoder"`
	Decoder *maskdec.Params   `weight:"mask_decoder"`
}

func newParams(c Config) *params {
	return &params{encoder.NewParams(c.encoder()), promptenc.NewParams(c.Prompt), maskdec.NewParams(c.Decoder)}
}

// Load reads a model from a checkpoint file: .pth or .pt, .safetensors, .npz,
// in the layout of Meta, micro-sam, MedSAM or Hugging Face. The model's shape
// follows from the tensors; see [vit.ConfigOf], [tinyvit.ConfigOf] for MobileSAM,
// and [maskdec.ConfigOf].
//
// Load returns an error that says what the file is if it holds no Segment
// Anything model, one that lists every missing, unexpected and ill-shaped
// tensor, or one that names a tensor with a value that is not finite. A file
// that another program changes meanwhile is an error.
func Load(path string) (*Model, error) { return LoadIn(path, FP32) }

// LoadIn is [Load] in a precision of the CPU's: [FP32], [INT8] or [FP16Weights]. Unlike
// [Model.On] it never has all weights in memory in float32.
func LoadIn(path string, p Precision) (*Model, error) {
	m, err := load(path, p)
	if err != nil {
		return nil, fmt.Errorf("sam: load %s: %w", path, err)
	}
	return m, nil
}

func load(path string, p Precision) (*Model, error) {
	ck, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	m, err := fromCheckpoint(ck, p)
	if err != nil {
		return nil, err
	}
	return m, ck.Unchanged()
}

// Bundled returns the small pathology model inside the binary. It runs
// through the same code as every other checkpoint; its card is
// weights/bundled/README.md. It is for nuclei in H&E, see [Model.Defaults].
func Bundled() (*Model, error) {
	ck, err := bundled.Checkpoint()
	if err != nil {
		return nil, fmt.Errorf("sam: bundled model: %w", err)
	}
	defer ck.Close()
	m, err := fromCheckpoint(ck, FP32)
	if err != nil {
		return nil, fmt.Errorf("sam: bundled model: %w", err)
	}
	return m, nil
}

// NewRandom returns a model of any shape with weights from a counter-based
// generator, the same ones as the Python reference makes from that seed. Its
// masks mean nothing; it serves tests and benchmarks.
func NewRandom(cfg Config, seed uint64) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newModel(cfg, weights.Random(weights.Specs(newParams(cfg)), seed), FP32)
	if err != nil {
		return nil, fmt.Errorf("sam: random model: %w", err)
	}
	return m, nil
}

func fromCheckpoint(ck *weights.Checkpoint, p Precision) (*Model, error) {
	cfg, err := configOf(ck)
	if err != nil {
		return nil, err
	}
	m, err := newModel(cfg, ck, p)
	if err != nil {
		return nil, err
	}
	switch d, saved, err := defaults.Of(ck.Metadata(), weights.Specs(newParams(cfg))); {
	case err != nil:
		return nil, err
	case saved:
		m.defaults = Defaults(d)
	case fmt.Sprintf("%x", m.origin) == bundledFingerprint:
		m.defaults = bundledDefaults
	}
	return m, nil
}

func newModel(cfg Config, ck *weights.Checkpoint, in Precision) (*Model, error) {
	cfg = cfg.clone()
	p := newParams(cfg)
	err := weights.Bind(ck, p)
	if err != nil {
		return nil, err
	}
	m := &Model{cfg: cfg, defaults: publishedDefaults, precision: in, rounded: in != FP32}
	if m.origin, err = ck.Fingerprint(); err != nil {
		return nil, err
	}
	if m.encoder, err = encoder.New(cfg.encoder(), p.Encoder); err != nil {
		return nil, err
	}
	if m.prompt, err = promptenc.New(cfg.Prompt, p.Prompt); err != nil {
		return nil, err
	}
	if m.decoder, err = maskdec.New(cfg.Decoder, p.Decoder); err != nil {
		return nil, err
	}
	if err := m.start(); err != nil {
		return nil, err
	}
	return m, nil
}

// start makes a model of its three networks: it reads their weights and sets
// up the pools of programs.
func (m *Model) start() error {
	m.startEncoder()
	if err := m.checkPrecision(); err != nil {
		return err
	}
	if err := m.prepare(); err != nil {
		return err
	}
	m.makePools()
	return nil
}

// makePools makes the pools of working memory for the model's device.
func (m *Model) makePools() {
	// One encoder keeps all cores busy by itself, and its working memory is
	// large. Decoders have parts that only one core can do; each holds some
	// 20 MB at the published shapes, 50 MB for prompts of many tokens.
	n := runtime.GOMAXPROCS(0)
	encoders, decoders := 1+n/16, min(n, 8)
	m.batch, m.lanes = 4, min(decoders, 4)
	if m.device.Name != CPU {
		// A device works on one picture while the next is on its way. Large
		// batches fill it; a decoder holds some 14 MB for each prompt.
		encoders, decoders, m.batch, m.lanes = 2, 2, 32, 1
	}
	m.encoders = graph.NewPool(encoders, encoders, func(struct{}) (graph.Program, error) { return m.compile(m.encoderGraph()) })
	m.images = graph.NewPool(1, 1, func(struct{}) (graph.Program, error) { return m.compile(m.imageGraph()) })
	m.decoders = graph.NewPool(decoders, decoders+1, func(k decoderKey) (graph.Program, error) { return m.compile(m.decoderGraph(k)) })
}

// startEncoder sets up what embeds pictures, on the processor.
func (m *Model) startEncoder() {
	m.device, m.backend = Device{Name: CPU}, cpu.Backend{}
	m.pixels, m.mirrors = new(sync.Pool), make([]mirror.View, 1)
	m.fingerprint = m.derivedFingerprint()
	m.colours = newColourTable(m.encoder)
}

// Config returns the model's shape; it is the caller's to change.
func (m *Model) Config() Config { return m.cfg.clone() }

// Fingerprint tells models apart: it is a hash of all weights, the same
// whatever file they came from, of whether the model is [Model.Mirrored], and
// of the precision that [Model.On] or [LoadIn] chose, if it is not [FP32].
func (m *Model) Fingerprint() [16]byte { return m.fingerprint }

// Bytes is the memory that the model's weights take.
func (m *Model) Bytes() int64 {
	var n int64
	for _, s := range m.weights() {
		n += s.Bytes()
	}
	return n
}
