package wholeslide

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
	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/mask"
)

// sighting is an object as one tile saw it, in the frame of the scale.
type sighting struct {
	Object
	cut bool // it reaches a side of the window that is not the slide's
}

// tileFile is the content of a tile's file.
type tileFile struct {
	Plan    string         `json:"plan"`
	Scale   int            `json:"scale"`
	Tile    int            `json:"tile"`
	Objects []fileSighting `json:"objects"`
	Tally   Tally          `json:"tally"`
	Missing []string       `json:"missing,omitempty"`
	Maps    *mapsHeader    `json:"maps,omitempty"` // of a scale whose finder gives maps, in the place of objects
}

// tileContent is what is known of a tile once it is done.
type tileContent struct {
	seen    []sighting
	tally   Tally
	missing []string // tiles of the slide that the window shows nothing of
	maps    *mapsHeader
	strips  []byte // that maps is the header of
}

// objects is how many objects the tile shows by itself.
func (c *tileContent) objects() int {
	if c.maps != nil {
		return c.maps.Count
	}
	return len(c.seen)
}

// fileSighting is a sighting whose mask is that of its own rectangle.
type fileSighting struct {
	Box       [4]int     `json:"box"`  // x, y, width, height
	Runs      string     `json:"runs"` // COCO's run-length code of the box
	IoU       float32    `json:"iou"`
	Stability float32    `json:"stability"`
	Point     [2]float64 `json:"point"`
	Cut       bool       `json:"cut"`
	Stain     [2]float32 `json:"stain"` // haematoxylin, eosin
}

// errNoTile is returned for a tile whose file is absent, torn or another
// run's; it has to be done again.
var errNoTile = errors.New("tile is not done")

// tilePath is where a tile's file lies, a thousand to a folder.
func tilePath(dir string, p *scalePlan, i int) string {
	return filepath.Join(dir, "tiles", fmt.Sprint(p.index), fmt.Sprintf("%04d", i/1000), fmt.Sprintf("%08d.json", i))
}

// writeTile writes a tile's file: JSON, then a line with its SHA-256, then the
// strips of its maps if it has them. It appears whole or not at all.
func writeTile(dir string, p *scalePlan, t Tile, c tileContent) error {
	f := tileFile{Plan: p.run, Scale: p.index, Tile: t.Index, Objects: make([]fileSighting, len(c.seen)), Tally: c.tally, Missing: c.missing, Maps: c.maps}
	for i, o := range c.seen {
		b := o.Mask.Bounds()
		small, err := o.Mask.Window(b)
		if err != nil {
			return err
		}
		f.Objects[i] = fileSighting{
			Box: [4]int{b.Min.X, b.Min.Y, b.Dx(), b.Dy()}, Runs: small.RLE().Compressed(),
			IoU: o.IoUPred, Stability: o.Stability, Point: [2]float64{o.Pt.X, o.Pt.Y}, Cut: o.cut,
			Stain: [2]float32{o.stain.Haematoxylin, o.stain.Eosin},
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	path := tilePath(dir, p, t.Index)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.WriteIn(filepath.Dir(path), filepath.Base(path), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s\n%s\n%s", b, sumLine(b), c.strips)
		return err
	})
}

func sumLine(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256 " + hex.EncodeToString(sum[:])
}

// readTile reads a tile's file. The error wraps errNoTile if the tile has to
// be done again.
func readTile(dir string, p *scalePlan, i int) (*tileContent, error) {
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
func parseTile(b []byte, p *scalePlan, i int) (*tileContent, error) {
	body, rest, ok := bytes.Cut(b, []byte("\n"))
	sum, strips, _ := bytes.Cut(rest, []byte("\n"))
	if !ok || string(bytes.TrimSpace(sum)) != sumLine(body) {
		return nil, fmt.Errorf("%w: its checksum is wrong", errNoTile)
	}
	var f tileFile
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoTile, err)
	}
	if f.Plan != p.run || f.Scale != p.index || f.Tile != i {
		return nil, fmt.Errorf("%w: it is tile %d of scale %d of run %s", errNoTile, f.Tile, f.Scale, f.Plan)
	}
	window := p.at(i).Window
	if (f.Maps != nil) != (p.Maps.Find != nil) {
		return nil, fmt.Errorf("%w: maps where objects should be, or objects where maps should be", errNoTile)
	}
	if f.Maps == nil && len(strips) > 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", errNoTile, len(strips))
	}
	if f.Maps != nil {
		if err := f.Maps.check(window, strips); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoTile, err)
		}
	}
	out := make([]sighting, len(f.Objects))
	for k, o := range f.Objects {
		m, err := o.mask(p.size, window)
		if err != nil {
			return nil, fmt.Errorf("%w: object %d: %w", errNoTile, k, err)
		}
		out[k] = sighting{Object{Mask: m, IoUPred: o.IoU, Stability: o.Stability, Pt: Point{o.Point[0], o.Point[1]}, stain: histology.Stain{Haematoxylin: o.Stain[0], Eosin: o.Stain[1]}}, o.Cut}
	}
	return &tileContent{out, f.Tally, f.Missing, f.Maps, strips}, nil
}

// mask returns the mask on a slide of the given size.
func (o *fileSighting) mask(size mask.Size, window image.Rectangle) (*mask.Mask, error) {
	box := image.Rect(o.Box[0], o.Box[1], o.Box[0]+o.Box[2], o.Box[1]+o.Box[3])
	if o.Box[2] <= 0 || o.Box[3] <= 0 || !box.In(window) {
		return nil, fmt.Errorf("it lies at %v, outside %v", box, window)
	}
	rle, err := mask.ParseRLE(mask.Size{H: o.Box[3], W: o.Box[2]}, o.Runs)
	if err != nil {
		return nil, err
	}
	small, err := mask.FromRLE(rle)
	if err != nil {
		return nil, err
	}
	return small.Place(size, box.Min)
}
