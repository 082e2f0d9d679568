package weights

import "fmt"

// Layout says how a checkpoint file names its tensors. Whatever the layout,
// Open gives the tensors the names they have in Original.
type Layout uint8

// The layouts that are read.
const (
	// Original is Meta's flat state dict, which most fine-tuned models use.
	Original Layout = iota
	// Trainer is the file micro-sam's trainer writes: {"model_state": {"sam.…": …}}.
	Trainer
	// MedSAM is a training checkpoint as MedSAM writes it: {"model": {…}},
	// with the prefix "module." when it was trained on several devices.
	MedSAM
	// HuggingFace is the naming of SamModel in transformers.
	HuggingFace
	// LoRA is micro-sam's low-rank adaptation; the adapters are merged into
	// the weights they adapt.
	LoRA
	// Adapters are those of micro-sam's other parameter-efficient trainings
	// (FacT, SSF, AdaptFormer) and of CellSeg1 (SAMed). They are merged as well,
	// but for AdaptFormer's, which are a branch of the encoder's blocks.
	Adapters
)

// String returns the layout's name.
func (l Layout) String() string {
	switch l {
	case Original:
		return "original"
	case Trainer:
		return "micro-sam trainer"
	case MedSAM:
		return "MedSAM training"
	case HuggingFace:
		return "Hugging Face"
	case LoRA:
		return "micro-sam LoRA"
	case Adapters:
		return "adapters"
	}
	return fmt.Sprintf("Layout(%d)", uint8(l))
}
