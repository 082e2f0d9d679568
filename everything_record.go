package sam

// RegionRecord is a region as the original's generator gives it, for JSON. Its
// segmentation is an [RLE], a [CompressedRLE], or the mask as rows of 0 and 1:
// the original's output modes uncompressed_rle, coco_rle and binary_mask.
type RegionRecord struct {
	Segmentation   any           `json:"segmentation"`
	Area           int           `json:"area"`
	BBox           [4]int        `json:"bbox"` // as Region.BBox
	PredictedIoU   float32       `json:"predicted_iou"`
	PointCoords    [1][2]float64 `json:"point_coords"`
	StabilityScore float32       `json:"stability_score"`
	CropBox        [4]int        `json:"crop_box"` // x, y, width, height
}

// MaskForm is how an [RegionRecord] holds its mask.
type MaskForm uint8

// The forms of a mask, with the original's names for them.
const (
	FormRLE           MaskForm = iota // uncompressed_rle
	FormCompressedRLE                 // coco_rle
	FormBinary                        // binary_mask
)

// Record returns the region in the original's form.
func (r Region) Record(form MaskForm) RegionRecord {
	a := RegionRecord{
		Area: r.Mask.Area(), BBox: r.BBox(), PredictedIoU: r.IoUPred, StabilityScore: r.Stability,
		PointCoords: [1][2]float64{{r.Point.X, r.Point.Y}},
		CropBox:     [4]int{r.Crop.Min.X, r.Crop.Min.Y, r.Crop.Dx(), r.Crop.Dy()},
	}
	switch form {
	case FormCompressedRLE:
		a.Segmentation = CompressedRLE(r.Mask.RLE())
	case FormBinary:
		s := r.Mask.Size()
		rows := make([][]int, s.H)
		flat := make([]int, s.H*s.W)
		for y := range rows {
			rows[y] = flat[y*s.W : (y+1)*s.W]
		}
		for run := range r.Mask.Runs() {
			for x := run.X0; x < run.X1; x++ {
				rows[run.Y][x] = 1
			}
		}
		a.Segmentation = rows
	default:
		a.Segmentation = r.Mask.RLE()
	}
	return a
}
