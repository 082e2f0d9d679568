package wholeslide

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"image"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slidesam/sam/internal/mask"
)

// FuzzTileFile reads altered tile files.
func FuzzTileFile(f *testing.F) {
	f.Add([]byte(`{"plan":"x","tile":0,"objects":[{"box":[1,2,3,2],"runs":"141","iou":0.5,"stability":1,"point":[2,3],"cut":false}]}`))
	f.Add([]byte(`{"plan":"x","tile":0,"objects":[{"box":[0,0,9,9],"runs":"a"}]}`))
	f.Add([]byte(`{"plan":"x","tile":0,"objects":[],"maps":{"box":[0,0,40,30],"strips":[0],"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","count":3}}`))
	f.Add([]byte(`{"plan":"x","tile":0,"maps":{"box":[0,0,9223372036854775807,1],"strips":[9223372036854775807,1]}}`))
	p := &scalePlan{size: mask.Size{H: 30, W: 40}, tile: 40, cols: 1, rows: 1, area: image.Rect(0, 0, 40, 30), run: "x"}
	maps := *p
	maps.Maps = MapFinder{Find: readChart}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := fmt.Appendf(nil, "%s\nsha256 %x\n", b, sha256.Sum256(b))
		c, err := parseTile(whole, p, 0)
		if err == nil && len(c.seen) > len(b) {
			t.Fatalf("%d objects in %d bytes", len(c.seen), len(b))
		}
		if c, err := parseTile(whole, &maps, 0); err == nil && !c.maps.rect().In(image.Rect(0, 0, 40, 30)) {
			t.Fatalf("maps of %v", c.maps.rect())
		}
	})
}

// FuzzShard reads altered descriptions of shards, and packed ones.
func FuzzShard(f *testing.F) {
	f.Add([]byte(`{"run":"00112233445566778899aabbccddeeff","shard":1,"shards":2,"objects":3,"tally":{},"tiles":[{"file":"tiles/0/0000/00000001.json","objects":3,"sha256":"` + strings.Repeat("0", 64) + `"}]}`))
	f.Add([]byte(`{"run":"00112233445566778899aabbccddeeff","shards":1,"tiles":[{"file":"../x"}]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseShard(b); err == nil {
			for _, tile := range s.Tiles {
				if !filepath.IsLocal(filepath.FromSlash(tile.File)) {
					t.Fatalf("%q leaves the folder", tile.File)
				}
			}
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(b)
		_ = z.Close()
		for _, in := range [][]byte{b, packed.Bytes()} {
			if _, err := UnpackShard(dir, bytes.NewReader(in)); err == nil && len(b) < 1024 {
				t.Fatal("a shard of nothing")
			}
		}
	})
}
