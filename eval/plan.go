package eval

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"math"

	"github.com/slidesam/sam"
)

// ErrOtherPlan is wrapped by the error about a folder that holds another
// experiment's results.
var ErrOtherPlan = errors.New("the folder holds another experiment")

// Model is what the protocol asks of a model. *sam.Model has it.
type Model interface {
	Embed(ctx context.Context, img image.Image) (*sam.Embedding, error)
	PredictBatch(ctx context.Context, e *sam.Embedding, ps []sam.Prompt, o sam.PredictOptions) ([]*sam.Prediction, error)
	Fingerprint() [16]byte
}

// Choice says which of a prediction's masks is taken.
type Choice string

const (
	// ChooseAuto asks for several masks and takes the one with the highest
	// predicted IoU where a prompt is a single point, and for one mask
	// otherwise: what Segment Anything's authors advise. It is the default.
	ChooseAuto Choice = "auto"
	// ChoosePredicted always takes the highest predicted IoU of several.
	ChoosePredicted Choice = "predicted"
	// ChooseSingle always asks for one mask.
	ChooseSingle Choice = "single"
	// ChooseOracle takes the mask of several that fits the truth best: not a
	// result, but a bound on what better choosing could give.
	ChooseOracle Choice = "oracle"
)

// Options is how an experiment runs.
type Options struct {
	Settings []Setting
	Seed     uint64
	Choice   Choice // "" is ChooseAuto
	// Local keeps of each mask what its prompt is on; the paper's masks are whole.
	// The model does it, so a Model of your own must heed
	// sam.PredictOptions.Local. Predicted IoU stay those of whole masks: the
	// reliability of such a run compares them with the parts kept.
	Local bool
	// MPP are the scales at which each picture is shown, in micrometres per
	// pixel. None means each picture as it is.
	MPP []float64
	// Tolerance of surface Dice and boundary F, in micrometres where the scale
	// is known, else in pixels. 0 means two pixels.
	Tolerance float64
	// Dir keeps one file per picture as it is done, with a checksum. A run over
	// the same data, model and options goes on from there; pictures or truths
	// that have changed are measured anew, other names, models and options are
	// an error. Several runs of one plan may share it. "" keeps nothing.
	Dir string
	// Embeddings keeps every picture's embedding in a folder, for this and
	// other experiments with the same model; 4 MB each for Meta's models, 16 MB mirrored. It
	// takes a model that reads embeddings back, as *sam.Model does; results do
	// not depend on it. "" keeps none.
	Embeddings string
	// Workers is the number of pictures in work at once, 0 for one: a model
	// uses all cores for one picture. Results do not depend on it.
	Workers int
	// Progress, if set, is told of each picture when it is done, by one
	// goroutine at a time. Resumed says that it came from Dir.
	Progress func(Progress)
}

// Progress says how far an experiment is.
type Progress struct {
	Done, Total int
	Item        Item
	Resumed     bool
}

// Plan is all that decides the results of an experiment. Two runs with the
// same plan on one machine give the same bytes.
type Plan struct {
	Version   int
	Dataset   string
	Items     []Item
	Model     string // its fingerprint
	Settings  []Setting
	Seed      uint64
	Choice    Choice
	Local     bool `json:",omitempty"` // see Options
	MPP       []Number
	Tolerance Number
}

// planVersion changes when records or the drawing of prompts change.
const planVersion = 1

func newPlan(m Model, d Dataset, o Options) (Plan, error) {
	bad := func(format string, args ...any) (Plan, error) {
		return Plan{}, fmt.Errorf("eval: run on %s: "+format, append([]any{d.Name()}, args...)...)
	}
	fp := m.Fingerprint()
	p := Plan{
		Version: planVersion, Dataset: d.Name(), Model: hex.EncodeToString(fp[:]), Settings: o.Settings,
		Seed: o.Seed, Choice: o.Choice, Local: o.Local, Tolerance: Number(o.Tolerance),
	}
	switch p.Choice {
	case "":
		p.Choice = ChooseAuto
	case ChooseAuto, ChoosePredicted, ChooseSingle, ChooseOracle:
	default:
		return bad("choice of masks %q is not known", o.Choice)
	}
	if len(o.Settings) == 0 {
		return bad("no settings")
	}
	names := map[string]bool{}
	for _, s := range o.Settings {
		if err := s.Check(); err != nil {
			return Plan{}, err
		}
		if names[s.Name] {
			return bad("two settings named %q", s.Name)
		}
		names[s.Name] = true
	}
	for _, v := range o.MPP {
		if !(v > 0) || math.IsInf(v, 0) {
			return bad("%g micrometres per pixel", v)
		}
		p.MPP = append(p.MPP, Number(v))
	}
	if !(o.Tolerance >= 0) || math.IsInf(o.Tolerance, 0) {
		return bad("tolerance %g", o.Tolerance)
	}
	ids := map[string]bool{}
	for i := range d.Len() {
		it := d.Item(i)
		if ids[it.ID] {
			return bad("two pictures named %q", it.ID)
		}
		ids[it.ID] = true
		p.Items = append(p.Items, it)
	}
	if len(p.Items) == 0 {
		return bad("no pictures")
	}
	return p, nil
}
