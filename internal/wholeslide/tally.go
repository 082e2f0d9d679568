package wholeslide

import (
	"fmt"
	"strings"
)

// Tally counts what became of prompts and masks on the way to objects.
type Tally struct {
	Prompts      int `json:"prompts"`       // that the finder was given
	Masks        int `json:"masks"`         // that the model answered with
	LowIoU       int `json:"low_iou"`       // dropped by predicted IoU
	LowStability int `json:"low_stability"` // dropped by stability
	Edge         int `json:"edge"`          // dropped at the edge of a crop
	Duplicates   int `json:"duplicates"`    // dropped for a better one of nearly the same box, within a tile
	Size         int `json:"size"`          // dropped because they are too small, too large or empty
	Seen         int `json:"seen"`          // objects that tiles kept
}

// Add adds the counts of o.
func (t *Tally) Add(o Tally) {
	t.Prompts += o.Prompts
	t.Masks += o.Masks
	t.LowIoU += o.LowIoU
	t.LowStability += o.LowStability
	t.Edge += o.Edge
	t.Duplicates += o.Duplicates
	t.Size += o.Size
	t.Seen += o.Seen
}

// Describe says in one line what became of the prompts, and of the objects of
// which so many stayed in the end.
func (t Tally) Describe(objects int) string {
	parts := []string{fmt.Sprintf("%d prompts gave %d masks", t.Prompts, t.Masks)}
	for _, d := range t.drops(objects) {
		if d.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", d.n, d.what))
		}
	}
	return strings.Join(append(parts, fmt.Sprintf("%d objects stayed", objects)), ", ")
}

// drop is a reason why masks did not become objects.
type drop struct {
	n          int
	what, hint string
}

func (t Tally) drops(objects int) []drop {
	return []drop{
		{t.LowIoU, "dropped by predicted IoU", "lower the least predicted IoU (-iou)"},
		{t.LowStability, "dropped by stability", "lower the least stability (-stability)"},
		{t.Edge, "dropped at the edge of a crop", ""},
		{t.Size, "dropped by size", "check the resolution (-mpp, -slide-mpp) and the bounds of size (-min-area, -max-area)"},
		{t.Duplicates, "dropped as duplicates within a tile", ""},
		{max(t.Seen-objects, 0), "joined along seams or dropped for a better one", ""},
	}
}

// Hint says what to try if most masks were dropped for one reason or nothing
// was prompted, empty if there is nothing to say.
func (t Tally) Hint(objects int) string {
	if t.Prompts == 0 {
		return "nothing was prompted: no tissue in the region, or no nuclei by their stain; try points of a grid (-prompts grid), all tiles (-all), another resolution (-mpp)"
	}
	for _, d := range t.drops(objects) {
		if d.hint != "" && 2*d.n > t.Masks {
			return fmt.Sprintf("%d of %d masks were %s: if objects are missing, %s", d.n, t.Masks, d.what, d.hint)
		}
	}
	return ""
}
