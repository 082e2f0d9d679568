package sam

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"

	"github.com/slidesam/sam/internal/atomicfile"
)

// tileObject is an object that one tile saw, in pixels of the slide at the
// working resolution.
type tileObject struct {
	mask      *Mask
	iou       float32
	stability float32
	point     Point
	cut       bool // it reaches a side of the window that is not the slide's
}

// tileRecord is the content of a tile's file.
type tileRecord struct {
	Plan    string         `json:"plan"`
	Scale   int            `json:"scale"`
	Tile    int            `json:"tile"`
	Objects []objectRecord `json:"objects"`
}

// objectRecord is an object within its own rectangle.
type objectRecord struct {
	Box       [4]int     `json:"box"`  // x, y, width, height
	Runs      string     `json:"runs"` // COCO's run-length code of the box
	IoU       float32    `json:"iou"`
	Stability float32    `json:"stability"`
	Point     [2]float64 `json:"point"`
	Cut       bool       `json:"cut"`
}

// errNoTile is returned for a tile whose file is absent, torn or another
// run's; it has to be done again.
var errNoTile = errors.New("tile is not done")

// tilePath is where a tile's file lies, a thousand to a folder.
func tilePath(dir string, p *scalePlan, i int) string {
	return filepath.Join(dir, "tiles", fmt.Sprint(p.Index), fmt.Sprintf("%04d", i/1000), fmt.Sprintf("%08d.json", i))
}

// writeTile writes a tile's file: JSON, then a line with its SHA-256. It
// appears whole or not at all.
func writeTile(dir string, p *scalePlan, t slideTile, objects []tileObject) error {
	rec := tileRecord{Plan: p.run, Scale: p.Index, Tile: t.index, Objects: make([]objectRecord, len(objects))}
	for i, o := range objects {
		b := o.mask.Bounds()
		small, err := o.mask.pixels().Window(b)
		if err != nil {
			return err
		}
		rec.Objects[i] = objectRecord{
			Box: [4]int{b.Min.X, b.Min.Y, b.Dx(), b.Dy()}, Runs: small.RLE().Compressed(),
			IoU: o.iou, Stability: o.stability, Point: [2]float64{o.point.X, o.point.Y}, Cut: o.cut,
		}
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	path := tilePath(dir, p, t.index)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s\n%s\n", b, sumLine(b))
		return err
	})
}

func sumLine(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256 " + hex.EncodeToString(sum[:])
}

// readTile reads a tile's file. The error wraps errNoTile if the tile has to
// be done again.
func readTile(dir string, p *scalePlan, i int) ([]tileObject, error) {
	b, err := os.ReadFile(tilePath(dir, p, i))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errNoTile
	}
	if err != nil {
		return nil, err
	}
	return parseTile(b, p, i)
}

// parseTile checks and reads the content of a tile's file.
func parseTile(b []byte, p *scalePlan, i int) ([]tileObject, error) {
	body, sum, ok := bytes.Cut(b, []byte("\n"))
	if !ok || string(bytes.TrimSpace(sum)) != sumLine(body) {
		return nil, fmt.Errorf("%w: its checksum is wrong", errNoTile)
	}
	var rec tileRecord
	if err := json.Unmarshal(body, &rec); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoTile, err)
	}
	if rec.Plan != p.run || rec.Scale != p.Index || rec.Tile != i {
		return nil, fmt.Errorf("%w: it is tile %d of scale %d of run %s", errNoTile, rec.Tile, rec.Scale, rec.Plan)
	}
	size := Size{H: p.H, W: p.W}
	window := p.tile(i).window
	out := make([]tileObject, len(rec.Objects))
	for k, o := range rec.Objects {
		box := image.Rect(o.Box[0], o.Box[1], o.Box[0]+o.Box[2], o.Box[1]+o.Box[3])
		if o.Box[2] <= 0 || o.Box[3] <= 0 || !box.In(window) {
			return nil, fmt.Errorf("%w: object %d lies at %v, outside %v", errNoTile, k, box, window)
		}
		rle, err := ParseRLE(Size{H: o.Box[3], W: o.Box[2]}, o.Runs)
		if err != nil {
			return nil, fmt.Errorf("%w: object %d: %w", errNoTile, k, err)
		}
		small, err := MaskFromRLE(rle)
		if err != nil {
			return nil, fmt.Errorf("%w: object %d: %w", errNoTile, k, err)
		}
		m, err := small.Place(size, box.Min)
		if err != nil {
			return nil, fmt.Errorf("%w: object %d: %w", errNoTile, k, err)
		}
		out[k] = tileObject{m, o.IoU, o.Stability, Point{X: o.Point[0], Y: o.Point[1], Label: Foreground}, o.Cut}
	}
	return out, nil
}
