package wholeslide_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"image"
	"image/color"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/wholeslide"
	"github.com/slidesam/sam/internal/wsi"
)

// squares is a slide of squares of 15 pixels, 20 apart, made in no time.
func squares() *wsi.Slide {
	pic := image.NewRGBA(image.Rect(0, 0, 400, 400))
	for i := range 400 * 400 {
		x, y := i%400, i/400
		if x%20 < 15 && y%20 < 15 {
			pic.SetRGBA(x, y, color.RGBA{byte(1 + x/20), byte(1 + y/20), 0, 255})
		}
	}
	return wsi.FromImage(pic, 0.5, 0.5)
}

// findSquares finds them by their colours.
func findSquares(_ context.Context, img *image.RGBA, t wholeslide.Tile) ([]wholeslide.Object, wholeslide.Tally, error) {
	var out []wholeslide.Object
	w, h := img.Rect.Dx(), img.Rect.Dy()
	for y := range 20 {
		for x := range 20 {
			box := image.Rect(20*x, 20*y, 20*x+15, 20*y+15).Sub(t.Window.Min).Intersect(img.Rect)
			if box.Empty() {
				continue
			}
			own := color.RGBA{byte(1 + x), byte(1 + y), 0, 255}
			m, err := mask.New(mask.Size{H: h, W: w}, func(px, py int) bool { return image.Pt(px, py).In(box) && img.RGBAAt(px, py) == own })
			if err != nil {
				return nil, wholeslide.Tally{}, err
			}
			cx, cy := m.Centroid()
			out = append(out, wholeslide.Object{Mask: m, IoUPred: 0.9, Stability: 1, Pt: wholeslide.Point{X: cx, Y: cy}})
		}
	}
	return out, wholeslide.Tally{Masks: len(out)}, nil
}

func plan(t *testing.T, s *wsi.Slide, shard, shards int, name string) *wholeslide.Plan {
	p, err := wholeslide.New(t.Context(), s, wholeslide.Options{
		Scales: []wholeslide.Scale{{Find: findSquares, Finder: json.RawMessage(`"` + name + `"`)}}, Tile: 128, Halo: 20, Shard: shard, Shards: shards,
	})
	require.NoError(t, err)
	return p
}

// outputs are a folder's files but those of tiles and shards.
func outputs(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		name, _ := filepath.Rel(dir, p)
		if !strings.Contains(filepath.ToSlash(name), "/") {
			out[name] = string(b)
		}
		return err
	}))
	return out
}

// whole runs and merges in one go.
func whole(t *testing.T, s *wsi.Slide) map[string]string {
	dir := t.TempDir()
	p := plan(t, s, 0, 1, "f")
	_, err := p.Run(t.Context(), s, dir, nil)
	require.NoError(t, err)
	_, err = p.Merge(t.Context(), s, dir)
	require.NoError(t, err)
	return outputs(t, dir)
}

// TestPackedShards carries the shards of one folder each to another folder,
// as through a bucket, and merges them there: the bytes of a run in one go.
func TestPackedShards(t *testing.T) {
	s := squares()
	want := whole(t, s)
	var packs [3][]byte
	for i := range packs {
		var first []byte
		for range 2 { // another attempt
			dir := t.TempDir()
			_, err := wholeslide.PackShard(dir, i, 3, new(bytes.Buffer))
			require.ErrorIs(t, err, os.ErrNotExist, "not begun")
			_, err = plan(t, s, i, 3, "f").Run(t.Context(), s, dir, nil)
			require.NoError(t, err)
			var b bytes.Buffer
			said, err := wholeslide.PackShard(dir, i, 3, &b)
			require.NoError(t, err)
			assert.NotZero(t, said.Objects)
			assert.Equal(t, said.Objects, said.Tally.Seen)
			if first != nil {
				assert.Equal(t, first, b.Bytes())
			}
			first = b.Bytes()
		}
		packs[i] = first
	}
	dir := filepath.Join(t.TempDir(), "merged")
	p := plan(t, s, 0, 1, "f")
	for i, b := range packs {
		_, err := p.Merge(t.Context(), s, dir)
		if i > 0 {
			require.ErrorIs(t, err, wholeslide.ErrUnfinished)
		}
		require.Error(t, err)
		for range 2 { // delivered twice
			got, err := wholeslide.UnpackShard(dir, bytes.NewReader(b))
			require.NoError(t, err)
			said, err := wholeslide.ReadShard(dir, i, 3)
			require.NoError(t, err)
			assert.Equal(t, got, said)
		}
	}
	_, err := p.Merge(t.Context(), s, dir)
	require.NoError(t, err)
	assert.Equal(t, want, outputs(t, dir))
	_, err = plan(t, s, 0, 3, "other").Run(t.Context(), s, dir, nil)
	require.ErrorIs(t, err, wholeslide.ErrOtherRun)

	other := t.TempDir()
	_, err = plan(t, s, 0, 3, "other").Run(t.Context(), s, other, nil)
	require.NoError(t, err)
	_, err = wholeslide.UnpackShard(other, bytes.NewReader(packs[0]))
	require.ErrorIs(t, err, wholeslide.ErrOtherRun)

	// No shard that was cut short or altered arrives.
	arrived, err := wholeslide.ReadShard(dir, 0, 3)
	require.NoError(t, err)
	harmless := 0
	for n := 0; n < len(packs[0]); n += 97 {
		dir := t.TempDir()
		_, err := wholeslide.UnpackShard(dir, bytes.NewReader(packs[0][:n]))
		require.ErrorIs(t, err, wholeslide.ErrShard, n)
		altered := bytes.Clone(packs[0])
		altered[n] ^= 4
		if got, err := wholeslide.UnpackShard(dir, bytes.NewReader(altered)); err != nil {
			assert.NoFileExists(t, filepath.Join(dir, wholeslide.ShardFile(0, 3)))
		} else { // a bit of gzip's that says nothing
			assert.Equal(t, arrived, got, n)
			harmless++
		}
	}
	assert.Less(t, harmless, 3)

	// Nor one that was altered before it was packed.
	z, err := gzip.NewReader(bytes.NewReader(packs[0]))
	require.NoError(t, err)
	plain, err := io.ReadAll(z)
	require.NoError(t, err)
	at := bytes.LastIndex(plain, []byte(`"iou"`))
	plain[at+1] = 'I'
	var altered bytes.Buffer
	w := gzip.NewWriter(&altered)
	_, err = w.Write(plain)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = wholeslide.UnpackShard(t.TempDir(), &altered)
	require.ErrorIs(t, err, wholeslide.ErrShard)
}

// TestDamagedShard: a shard whose file was cut short, altered or lost is
// refused by its reader and by a merge, and done again by a run.
func TestDamagedShard(t *testing.T) {
	s := squares()
	want := whole(t, s)
	dir := t.TempDir()
	for i := range 2 {
		_, err := plan(t, s, i, 2, "f").Run(t.Context(), s, dir, nil)
		require.NoError(t, err)
	}
	said, err := wholeslide.ReadShard(dir, 1, 2)
	require.NoError(t, err)
	for name, damage := range map[string]func(p string, b []byte) error{
		"cut short": func(p string, b []byte) error { return os.WriteFile(p, b[:len(b)/2], 0o600) },
		"altered":   func(p string, b []byte) error { b[len(b)/2]++; return os.WriteFile(p, b, 0o600) },
		"empty":     func(p string, _ []byte) error { return os.WriteFile(p, nil, 0o600) },
		"lost":      func(p string, _ []byte) error { return os.Remove(p) },
	} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(dir, filepath.FromSlash(said.Tiles[1].File))
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			require.NoError(t, damage(p, b))
			_, err = wholeslide.ReadShard(dir, 1, 2)
			require.ErrorIs(t, err, wholeslide.ErrShard)
			_, err = wholeslide.PackShard(dir, 1, 2, new(bytes.Buffer))
			require.ErrorIs(t, err, wholeslide.ErrShard)
			_, err = plan(t, s, 0, 1, "f").Merge(t.Context(), s, dir)
			require.ErrorIs(t, err, wholeslide.ErrUnfinished)
			res, err := plan(t, s, 1, 2, "f").Run(t.Context(), s, dir, nil)
			require.NoError(t, err)
			assert.Equal(t, len(said.Tiles)-1, res.Resumed)
			again, err := wholeslide.ReadShard(dir, 1, 2)
			require.NoError(t, err)
			assert.Equal(t, said, again)
			_, err = plan(t, s, 0, 1, "f").Merge(t.Context(), s, dir)
			require.NoError(t, err)
			assert.Equal(t, want, outputs(t, dir))
		})
	}
}

// TestObjectIDs: GeoJSON and CSV name objects alike, each once, and the same
// object of another run, or another finder, otherwise.
func TestObjectIDs(t *testing.T) {
	s := squares()
	ids := func(name string) []string {
		dir := t.TempDir()
		p := plan(t, s, 0, 1, name)
		_, err := p.Run(t.Context(), s, dir, nil)
		require.NoError(t, err)
		_, err = p.Merge(t.Context(), s, dir)
		require.NoError(t, err)
		var geo struct {
			Features []struct {
				ID uuid.UUID `json:"id"`
			} `json:"features"`
		}
		b, err := os.ReadFile(filepath.Join(dir, wholeslide.GeoJSONFile))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &geo))
		f, err := os.Open(filepath.Join(dir, wholeslide.CSVFile))
		require.NoError(t, err)
		defer f.Close()
		rows, err := csv.NewReader(f).ReadAll()
		require.NoError(t, err)
		require.Len(t, geo.Features, 400)
		require.Len(t, rows, 401)
		seen := map[string]bool{}
		var out []string
		for i, r := range rows[1:] {
			id := r[len(r)-1]
			assert.Equal(t, id, geo.Features[i].ID.String())
			assert.Equal(t, uuid.Version(5), geo.Features[i].ID.Version())
			assert.False(t, seen[id])
			seen[id] = true
			out = append(out, id)
		}
		assert.Equal(t, "uuid", rows[0][len(rows[0])-1])
		return out
	}
	one := ids("f")
	assert.Equal(t, one, ids("f"))
	other := ids("g")
	for i := range one {
		assert.NotEqual(t, one[i], other[i])
	}
}
