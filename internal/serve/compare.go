package serve

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"slices"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

// compareBody asks how well the annotations fit a truth.
type compareBody struct {
	Truth  []json.RawMessage `json:"truth"`  // features with an area
	Region []int             `json:"region"` // x, y, width, height in pixels of level 0; null: around the truth
}

const (
	maxCompareSide = 4096 // pixels of the pictures that are compared
	maxWorst       = 50
	maxPainted     = 1 << 30
)

// flaw is an object that the annotations lack, one that the truth lacks, or
// a pair that fits badly.
type flaw struct {
	Kind   string  `json:"kind"`   // missed, invented, poor
	ID     string  `json:"id"`     // of the annotation; of the truth if it is missed
	IoU    float64 `json:"iou"`    // 0 unless it is poor
	Wrong  float64 `json:"wrong"`  // pixels of level 0 that differ
	Bounds [4]int  `json:"bounds"` // x, y, width, height
}

// comparison is how annotations and truth differ.
type comparison struct {
	Dice       float64 `json:"dice"` // of all pixels
	PQ         float64 `json:"pq"`
	DQ         float64 `json:"dq"`
	SQ         float64 `json:"sq"`
	AJI        float64 `json:"aji"`
	TP         int     `json:"tp"` // pairs of IoU above 0.5
	FP         int     `json:"fp"`
	FN         int     `json:"fn"`
	Downsample float64 `json:"downsample"` // of the pictures that were compared
	Worst      []flaw  `json:"worst"`      // by pixels that differ
}

func (s *Server) compare(w http.ResponseWriter, r *http.Request, o *openSlide, st *store) error {
	var b compareBody
	leave, err := s.readJSON(r, s.c.MaxBody, &b)
	if err != nil {
		return err
	}
	defer leave()
	truth := make([]*annotation, len(b.Truth))
	for i, raw := range b.Truth {
		if truth[i], err = parseAnnotation(raw); err != nil {
			return err
		}
	}
	where := orb.Bound{Max: orb.Point{float64(o.size.W), float64(o.size.H)}}
	if b.Region != nil {
		q := jobBody{Kind: "nuclei", Region: b.Region}
		if err := q.check(o.size); err != nil {
			return err
		}
		where = orb.Bound{Min: orb.Point{float64(b.Region[0]), float64(b.Region[1])}, Max: orb.Point{float64(b.Region[0] + b.Region[2]), float64(b.Region[1] + b.Region[3])}}
	} else if len(truth) > 0 {
		around := truth[0].geometry.Bound()
		for _, a := range truth {
			around = around.Union(a.geometry.Bound())
		}
		where = orb.Bound{Min: orb.Point{max(where.Min[0], math.Floor(around.Min[0])), max(where.Min[1], math.Floor(around.Min[1]))},
			Max: orb.Point{min(where.Max[0], math.Ceil(around.Max[0])), min(where.Max[1], math.Ceil(around.Max[1]))}}
	}
	if where.Min[0] >= where.Max[0] || where.Min[1] >= where.Max[1] {
		return refuse(http.StatusUnprocessableEntity, "the truth lies outside the slide")
	}
	leaveSearch, err := s.search.enter(r.Context(), 1)
	if err != nil {
		return err
	}
	defer leaveSearch()
	all, _, err := st.all()
	if err != nil {
		return err
	}
	c, err := compareWithin(r.Context(), where, truth, all)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, c)
	return nil
}

// compareWithin draws both sides as pictures of instances and compares them.
func compareWithin(ctx context.Context, where orb.Bound, truth, pred []*annotation) (*comparison, error) {
	down := 1.0
	for max(where.Max[0]-where.Min[0], where.Max[1]-where.Min[1])/down > maxCompareSide {
		down *= 2
	}
	t, err := drawLabels(ctx, where, down, truth)
	if err != nil {
		return nil, err
	}
	p, err := drawLabels(ctx, where, down, pred)
	if err != nil {
		return nil, err
	}
	o, err := eval.NewOverlap(t, p)
	if err != nil {
		return nil, err
	}
	n := o.Panoptic(0.5)
	px := o.Counts()
	c := &comparison{Dice: px.Dice(eval.EmptyOne), PQ: n.PQ(eval.EmptyOne), DQ: n.DQ(eval.EmptyOne), SQ: n.SQ(eval.EmptyOne), AJI: o.AJI(eval.EmptyOne), TP: n.TP, FP: n.FP, FN: n.FN, Downsample: down}
	c.Worst = worst(o, truth, pred, down)
	return c, nil
}

// drawLabels draws annotations, each as its index and one; a later one lies on
// top.
func drawLabels(ctx context.Context, where orb.Bound, down float64, as []*annotation) (eval.Labels, error) {
	size := sam.Size{H: max(1, int(math.Ceil((where.Max[1]-where.Min[1])/down))), W: max(1, int(math.Ceil((where.Max[0]-where.Min[0])/down)))}
	l := eval.NewLabels(size)
	painted := 0
	for i, a := range as {
		var g orb.MultiPolygon
		switch shape := a.geometry.(type) {
		case orb.Polygon:
			g = orb.MultiPolygon{shape}
		case orb.MultiPolygon:
			g = shape
		}
		if len(g) == 0 || !g.Bound().Intersects(where) {
			continue
		}
		g = g.Clone()
		for _, p := range g {
			for _, r := range p {
				for k, v := range r {
					r[k] = orb.Point{(v[0] - where.Min[0]) / down, (v[1] - where.Min[1]) / down}
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return l, err
		}
		m, err := sam.MaskFromPolygons(size, g)
		if err != nil {
			return l, err
		}
		if painted += m.Area(); painted > maxPainted {
			return l, refuse(http.StatusUnprocessableEntity, "the objects lie on top of each other: they cover over %d pixels", maxPainted)
		}
		for r := range m.Runs() {
			row := l.Pix[r.Y*size.W:]
			for x := r.X0; x < r.X1; x++ {
				row[x] = int32(i + 1)
			}
		}
	}
	return l, nil
}

// worst lists what differs most.
func worst(o *eval.Overlap, truth, pred []*annotation, down float64) []flaw {
	out := []flaw{}
	add := func(kind string, a *annotation, iou float64, pixels int64) {
		b := a.geometry.Bound()
		x, y := int(math.Floor(b.Min[0])), int(math.Floor(b.Min[1]))
		out = append(out, flaw{kind, a.id, iou, float64(pixels) * down * down, [4]int{x, y, int(math.Ceil(b.Max[0])) - x, int(math.Ceil(b.Max[1])) - y}})
	}
	_, pairs := o.Match(0.5)
	foundTrue, foundPred := map[int]bool{}, map[int]bool{}
	for _, m := range pairs {
		foundTrue[m.True], foundPred[m.Pred] = true, true
		union := float64(o.TrueArea[m.True]+o.PredArea[m.Pred]) / (1 + m.IoU)
		if wrong := int64(math.Round(union * (1 - m.IoU))); wrong > 0 {
			add("poor", pred[o.PredIDs[m.Pred]-1], m.IoU, wrong)
		}
	}
	for i, id := range o.TrueIDs {
		if !foundTrue[i] {
			add("missed", truth[id-1], 0, o.TrueArea[i])
		}
	}
	for i, id := range o.PredIDs {
		if !foundPred[i] {
			add("invented", pred[id-1], 0, o.PredArea[i])
		}
	}
	slices.SortStableFunc(out, func(a, b flaw) int { return cmp.Compare(b.Wrong, a.Wrong) })
	return out[:min(len(out), maxWorst)]
}
