package wholeslide

import (
	"crypto/sha256"
	"fmt"
	"image"
	"testing"

	"github.com/slidesam/sam/internal/mask"
)

// FuzzTileFile reads altered tile files.
func FuzzTileFile(f *testing.F) {
	f.Add([]byte(`{"plan":"x","tile":0,"objects":[{"box":[1,2,3,2],"runs":"141","iou":0.5,"stability":1,"point":[2,3],"cut":false}]}`))
	f.Add([]byte(`{"plan":"x","tile":0,"objects":[{"box":[0,0,9,9],"runs":"a"}]}`))
	p := &scalePlan{size: mask.Size{H: 30, W: 40}, tile: 40, cols: 1, rows: 1, area: image.Rect(0, 0, 40, 30), run: "x"}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := fmt.Appendf(nil, "%s\nsha256 %x\n", b, sha256.Sum256(b))
		c, err := parseTile(whole, p, 0)
		if err == nil && len(c.seen) > len(b) {
			t.Fatalf("%d objects in %d bytes", len(c.seen), len(b))
		}
	})
}
