package wholeslide

import (
	"image"
	"slices"

	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/mask"
)

// severed reports whether the parts of an object, none of which is whole, end
// at a side of a window where another tile looked and saw nothing that agrees:
// the outline would follow the tile. Where nobody looked, beyond the region or
// the tissue, or where parts of the slide were missing, they stay.
func (s *seamMerger) severed(ms []*node) bool {
	parts := map[int]bool{}
	for _, m := range ms {
		parts[m.tile] = true
	}
	for _, m := range ms {
		if !m.cut {
			continue
		}
		w := s.plan.at(m.tile).Window
		looked := func(x, y int) bool {
			owner, ok := s.plan.owner(image.Pt(x, y))
			if !ok || parts[owner] {
				return false
			}
			_, planned := slices.BinarySearch(s.plan.tiles, owner)
			return planned && !s.blind[owner]
		}
		for r := range m.Mask.Runs() {
			if r.X0 == w.Min.X && w.Min.X > 0 && looked(r.X0, r.Y) || r.X1 == w.Max.X && w.Max.X < s.plan.size.W && looked(r.X1-1, r.Y) {
				return true
			}
			if !(r.Y == w.Min.Y && w.Min.Y > 0 || r.Y == w.Max.Y-1 && w.Max.Y < s.plan.size.H) {
				continue
			}
			for x := r.X0; x < r.X1; x++ {
				if looked(x, r.Y) {
					return true
				}
			}
		}
	}
	return false
}

// unite puts an object together from its parts. In the core of a tile that saw
// it that tile's part counts alone, since its window shows most of what lies
// around; elsewhere all do. Scores and stains are means by area.
func (s *seamMerger) unite(ms []*node) (sighting, error) {
	out := ms[0].sighting
	iou, stability, area := 0.0, 0.0, 0.0
	h, e := 0.0, 0.0
	var hull image.Rectangle
	parts := map[int]bool{}
	for _, m := range ms {
		a := float64(m.Mask.Area())
		h, e = h+a*float64(m.stain.Haematoxylin), e+a*float64(m.stain.Eosin)
		iou, stability, area = iou+a*float64(m.IoUPred), stability+a*float64(m.Stability), area+a
		hull = hull.Union(m.Mask.Bounds())
		parts[m.tile] = true
	}
	b, err := mask.NewBuilder(s.plan.size, hull)
	if err != nil {
		return out, err
	}
	for _, m := range ms {
		for r := range m.Mask.Runs() {
			for x := r.X0; x < r.X1; {
				owner, to := s.plan.ownerUntil(image.Pt(x, r.Y))
				to = min(to, r.X1)
				if owner == m.tile || !parts[owner] {
					b.SetRun(mask.Run{Y: r.Y, X0: x, X1: to})
				}
				x = to
			}
		}
	}
	out.Mask = b.Mask()
	out.IoUPred, out.Stability, out.cut = float32(iou/area), float32(stability/area), false
	out.stain = histology.Stain{Haematoxylin: float32(h / area), Eosin: float32(e / area)}
	return out, nil
}
