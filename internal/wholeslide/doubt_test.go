package wholeslide

import (
	"image"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/mask"
)

// TestDoubts doubts outlines that no nuclei have, and a model that is not sure.
func TestDoubts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		side   int // of square objects, in pixels
		iou    float32
		n      int
		mpp    float64
		nuclei bool
		want   []string // words of each doubt
	}{
		{"nuclei", 22, 0.8, 50, 0.25, true, nil},
		{"specks", 10, 0.8, 50, 0.25, true, []string{"less than 6"}},
		{"glands", 100, 0.8, 50, 0.25, true, []string{"nuclei have 12 to 200"}},
		{"glands, which were looked for", 100, 0.8, 50, 0.25, false, nil},
		{"few", 100, 0.2, 5, 0.25, true, nil},
		{"unsure", 22, 0.45, 50, 0.25, false, []string{"not sure"}},
		{"unknown resolution", 22, 0.8, 50, 0, true, nil},
		{"unknown resolution, large", 80, 0.3, 50, 0, true, []string{"much for nuclei", "not sure"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := mask.New(mask.Size{H: 128, W: 128}, func(x, y int) bool { return image.Pt(x, y).In(image.Rect(0, 0, tt.side, tt.side)) })
			require.NoError(t, err)
			var c sizes
			for range tt.n {
				c.add(found{sighting: sighting{Object: Object{Mask: m, IoUPred: tt.iou}}})
			}
			got := c.doubts(&scalePlan{Scale: Scale{Nuclei: tt.nuclei}, mpp: tt.mpp})
			require.Len(t, got, len(tt.want))
			for i, w := range tt.want {
				assert.Contains(t, got[i], w)
			}
		})
	}
}
