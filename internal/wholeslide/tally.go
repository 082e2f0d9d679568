package wholeslide

import (
	"fmt"
	"strings"
)

// Tally counts what became of prompts and masks on the way to objects.
type Tally struct {
	Prompts      int `json:"prompts"`           // that the finder was given; none to one that wants none
	Clipped      int `json:"clipped,omitempty"` // prompts just outside the picture that were brought to its edge
	Masks        int `json:"masks"`             // that the model answered with
	LowIoU       int `json:"low_iou"`           // dropped by predicted IoU
	LowStability int `json:"low_stability"`     // dropped by stability
	Edge         int `json:"edge"`              // dropped at the edge of a crop
	Duplicates   int `json:"duplicates"`        // dropped for a better one of nearly the same box, within a tile
	Size         int `json:"size"`              // dropped because they are too small, too large or empty
	Seen         int `json:"seen"`              // objects that tiles kept
	Severed      int `json:"severed,omitempty"` // of these, dropped because they end at a side of their tile, see seamMerger.severed
}

// Add adds the counts of o.
func (t *Tally) Add(o Tally) {
	t.Prompts += o.Prompts
	t.Clipped += o.Clipped
	t.Masks += o.Masks
	t.LowIoU += o.LowIoU
	t.LowStability += o.LowStability
	t.Edge += o.Edge
	t.Duplicates += o.Duplicates
	t.Size += o.Size
	t.Seen += o.Seen
	t.Severed += o.Severed
}

// Describe says in one line what became of the prompts, and of the objects of
// which so many stayed in the end.
func (t Tally) Describe(objects int) string {
	parts := []string{fmt.Sprintf("%d prompts gave %d masks", t.Prompts, t.Masks)}
	if t.Prompts == 0 && t.Masks > 0 {
		parts[0] = fmt.Sprintf("%d masks were found without prompts", t.Masks)
	}
	if t.Clipped > 0 {
		parts = append(parts, fmt.Sprintf("%d prompts were clipped to the picture", t.Clipped))
	}
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
		{t.Severed, "dropped because they end at a tile's side where its neighbour saw nothing of them", ""},
		{max(t.Seen-t.Severed-objects, 0), "joined along seams or dropped for a better one", ""},
	}
}

// Hint says what to try if most masks were dropped for one reason or nothing
// was prompted, empty if there is nothing to say.
func (t Tally) Hint(objects int) string {
	if t.Prompts == 0 && t.Masks == 0 {
		return "nothing was prompted or found: no tissue in the region, or no nuclei by their stain; try points of a grid (-prompts grid), all tiles (-all), another resolution (-mpp)"
	}
	if objects == 0 && t.Masks > 0 && 10*t.LowIoU >= 9*t.Masks {
		return fmt.Sprintf("the model is sure of none of %d masks: look at the slide whether it shows such objects, nuclei at 0.25 to 1 micrometres per pixel, or is an overview, out of focus, or of another resolution than it says (-slide-mpp); if they are to be seen, lower the least predicted IoU (-iou)", t.Masks)
	}
	if t.Severed > objects {
		return fmt.Sprintf("%d objects end at the sides of their tiles and were dropped: if they are large, let tiles overlap more (-halo), or work at a coarser resolution (-mpp)", t.Severed)
	}
	for _, d := range t.drops(objects) {
		if d.hint != "" && 2*d.n > t.Masks {
			return fmt.Sprintf("%d of %d masks were %s: if objects are missing, %s", d.n, t.Masks, d.what, d.hint)
		}
	}
	return ""
}
