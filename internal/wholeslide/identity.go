package wholeslide

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"

	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/wsi"
)

// identityVersion counts what [identity] means. A change of it orphans
// unfinished runs: their folders are refused as those of another run.
const identityVersion = 5

// identity is all that the content of the tiles' files depends on. The names
// of its fields are part of a run's ID and must not change.
type identity struct {
	Version int             `json:"version"`
	Slide   string          `json:"slide"`
	Scales  []scaleIdentity `json:"scales"`
}

type scaleIdentity struct {
	layout
	Tiles   []int           `json:"tiles"`
	MinArea int             `json:"min_area"`
	MaxArea int             `json:"max_area"`
	Finder  json.RawMessage `json:"finder"`
	// Stains are those that the slide is normalised from.
	Stains *histology.StainVectors `json:"stains,omitempty"`
}

// layout is how a scale is cut into tiles, as plan.json shows it.
type layout struct {
	Index   int     `json:"index"`
	Width   int     `json:"width"`
	Height  int     `json:"height"`
	ScaleX  float64 `json:"scale_x"` // level-0 pixels per pixel
	ScaleY  float64 `json:"scale_y"`
	MPP     float64 `json:"mpp"`
	Area    [4]int  `json:"area"` // x0, y0, x1, y1
	Tile    int     `json:"tile"`
	Halo    int     `json:"halo"`
	Columns int     `json:"columns"`
	Rows    int     `json:"rows"`
	LeadX   int     `json:"lead_x"`
	LeadY   int     `json:"lead_y"`
}

func (p *scalePlan) layout() layout {
	return layout{
		Index: p.index, Width: p.size.W, Height: p.size.H, ScaleX: p.fx, ScaleY: p.fy, MPP: p.mpp, Area: corners(p.area),
		Tile: p.tile, Halo: p.halo, Columns: p.cols, Rows: p.rows, LeadX: p.lead.X, LeadY: p.lead.Y,
	}
}

func corners(r image.Rectangle) [4]int { return [4]int{r.Min.X, r.Min.Y, r.Max.X, r.Max.Y} }

// identify gives the plan its ID.
func (p *Plan) identify(ctx context.Context, s *wsi.Slide) error {
	slide, err := s.Identity(ctx)
	if err != nil {
		return err
	}
	id := identity{Version: identityVersion, Slide: slide}
	for _, q := range p.scales {
		finder := q.Finder
		if finder == nil {
			finder = json.RawMessage("null")
		}
		id.Scales = append(id.Scales, scaleIdentity{q.layout(), q.tiles, q.MinArea, q.MaxArea, finder, q.stains})
	}
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	p.id = hex.EncodeToString(sum[:16])
	for _, q := range p.scales {
		q.run = p.id
	}
	return nil
}

// ID names the run: plans of one ID have tiles of the same content.
func (p *Plan) ID() string { return p.id }

// planFile names the file that says whose a run's folder is.
const planFile = "plan.json"

// describe returns the content of plan.json.
func (p *Plan) describe() ([]byte, error) {
	d := struct {
		ID     string   `json:"id"`
		Tiles  int      `json:"tiles"`
		Scales []layout `json:"scales"`
	}{ID: p.id, Tiles: p.Tiles()}
	for _, q := range p.scales {
		d.Scales = append(d.Scales, q.layout())
	}
	return json.MarshalIndent(d, "", "  ")
}

// verify returns an error unless dir is the folder of the plan: one that wraps
// os.ErrNotExist if it is nobody's, or ErrOtherRun.
func (p *Plan) verify(dir string) error {
	want, err := p.describe()
	if err != nil {
		return err
	}
	return verifyAs(dir, want)
}

// verifyAs returns an error unless dir has the given plan.json.
func verifyAs(dir string, plan []byte) error {
	have, err := os.ReadFile(filepath.Join(dir, planFile))
	if err != nil {
		return err
	}
	if !bytes.Equal(have, plan) {
		return fmt.Errorf("%w: %s: use an empty folder, or the slide, model and options it was begun with", ErrOtherRun, dir)
	}
	return nil
}

// claim makes dir the folder of the plan.
func (p *Plan) claim(dir string) error {
	b, err := p.describe()
	if err != nil {
		return err
	}
	return claimAs(dir, b)
}

// claimAs makes dir the folder of a plan, given as its plan.json.
func claimAs(dir string, plan []byte) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	err := verifyAs(dir, plan)
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return writeIn(dir, planFile, plan)
}

// SearchIdentity is what the objects of a tile depend on besides its pixels when
// a model's masks are searched: a [Scale]'s Finder. The names of its fields are
// part of a run's identity and must not change.
type SearchIdentity struct {
	Model                      string  `json:"model"`
	Find                       string  `json:"find,omitempty"`
	PointsPerSide              int     `json:"points_per_side"`
	PointGrids                 any     `json:"point_grids,omitempty"`
	SingleMask                 bool    `json:"single_mask"`
	PredIoUThresh              float64 `json:"pred_iou_thresh"`
	StabilityScoreThresh       float64 `json:"stability_score_thresh"`
	StabilityScoreOffset       float64 `json:"stability_score_offset"`
	MaskThreshold              float64 `json:"mask_threshold"`
	BoxNMSThresh               float64 `json:"box_nms_thresh"`
	CropNMSThresh              float64 `json:"crop_nms_thresh"`
	CropNLayers                int     `json:"crop_n_layers"`
	CropOverlapRatio           float64 `json:"crop_overlap_ratio"`
	CropNPointsDownscaleFactor int     `json:"crop_n_points_downscale_factor"`
	MinMaskRegionArea          int     `json:"min_mask_region_area"`
	Local                      bool    `json:"local"`
	Enlarge                    bool    `json:"enlarge"`
	Sharpen                    bool    `json:"sharpen,omitempty"`
}
