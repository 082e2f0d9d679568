package wholeslide

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"image"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/mask"
)

// TestIdentity holds what a run is known by: if it fails, unfinished runs of
// users are orphaned. Raise identityVersion if that has to be.
func TestIdentity(t *testing.T) {
	q := &scalePlan{
		Scale: Scale{MinArea: 4, MaxArea: 5}, index: 1, size: mask.Size{H: 20, W: 30}, fx: 2, fy: 2.5, mpp: 0.5,
		area: image.Rect(1, 2, 20, 18), tile: 64, halo: 8, cols: 2, rows: 1, lead: image.Pt(8, 0),
	}
	b, err := json.Marshal(identity{identityVersion, "a slide", []scaleIdentity{{q.layout(), []int{0, 1}, q.MinArea, q.MaxArea, json.RawMessage(`{"model":"m"}`), nil}}})
	require.NoError(t, err)
	assert.JSONEq(t, `{"version":5,"slide":"a slide","scales":[{"index":1,"width":30,"height":20,"scale_x":2,"scale_y":2.5,"mpp":0.5,
		"area":[1,2,20,18],"tile":64,"halo":8,"columns":2,"rows":1,"lead_x":8,"lead_y":0,"tiles":[0,1],"min_area":4,"max_area":5,"finder":{"model":"m"}}]}`, string(b))
	sum := sha256.Sum256(b)
	assert.Equal(t, "a14d13ec30c211e9297886f1733c0eba", hex.EncodeToString(sum[:16]))
}
