// Package defaults keeps a model's working resolution and thresholds in the
// metadata of its checkpoint, bound to the architecture that they are for.
//
//	entries, err := defaults.Entries(v, specs)
//	v, ok, err := defaults.Of(checkpoint.Metadata(), specs)
package defaults

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/slidesam/sam/weights"
)

// entry is the name under which metadata have them.
const entry = "slidesam.defaults"

// Values are a model's defaults: the resolution to work at in micrometres per
// pixel, 0 for the slide's own, and the least scores of a mask.
type Values struct {
	MPP, PredIoUThresh, StabilityScoreThresh float64
}

// saved are defaults and the architecture that they are for.
type saved struct {
	Architecture string
	Values
}

// architecture tells networks apart whose weights have other names or shapes.
func architecture(specs []weights.Spec) string {
	lines := make([]string, len(specs))
	for i, s := range specs {
		lines[i] = fmt.Sprintln(s.Name, s.Shape)
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, l := range lines {
		h.Write([]byte(l))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Entries are what the metadata of a checkpoint have of them.
func Entries(v Values, specs []weights.Spec) (map[string]string, error) {
	b, err := json.Marshal(saved{architecture(specs), v})
	if err != nil {
		return nil, fmt.Errorf("defaults: %w", err)
	}
	return map[string]string{entry: string(b)}, nil
}

// Of returns what metadata have, and false if they have none. Defaults for
// another architecture are an error: somebody has put other weights beside
// them.
func Of(metadata map[string]string, specs []weights.Spec) (v Values, ok bool, err error) {
	text, ok := metadata[entry]
	if !ok {
		return v, false, nil
	}
	var s saved
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return v, false, fmt.Errorf("metadata %s: %w", entry, err)
	}
	switch arch := architecture(specs); {
	case s.Architecture != arch:
		return v, false, fmt.Errorf("metadata %s are for another architecture (%.16q, the weights have %q): remove them from the file", entry, s.Architecture, arch)
	case !(s.MPP >= 0 && s.MPP <= 1000) || !(math.Abs(s.PredIoUThresh) <= 1.5) || !(math.Abs(s.StabilityScoreThresh) <= 1):
		return v, false, fmt.Errorf("metadata %s: %+v mean nothing", entry, s.Values)
	}
	return s.Values, true, nil
}
