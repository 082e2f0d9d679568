package sam

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/picture"
)

// ErrOtherRun is wrapped by the error for a folder that holds the tiles of a
// run with another slide, model or options.
var ErrOtherRun = errors.New("folder holds another run")

// ErrUnfinished is wrapped by the error of MergeSlide when tiles are missing.
var ErrUnfinished = errors.New("run is not finished")

// SegmentResult says what a run did.
type SegmentResult struct {
	Dir     string
	Tiles   int // with tissue, of all shards
	Resumed int // that an earlier run had finished
	Objects int // after the seams are merged; 0 if other shards are missing
	Merged  bool
}

// SegmentSlide finds the objects of a slide, tile by tile, and writes them to
// the folder dir: objects.geojson for QuPath, objects.csv, labels.tif and
// overlay.png.
//
// Memory does not grow with the slide: tiles are read, searched and written
// one by one, and merged along their seams in a second pass. Each finished
// tile is a file in dir, so that a run that was killed continues where it
// was; the outputs do not depend on how often that happened, on the number of
// goroutines or on shards, bit for bit.
//
// The error wraps ErrOtherRun if dir holds a run of something else, and
// ctx's error soon after ctx is done.
func (m *Model) SegmentSlide(ctx context.Context, s *Slide, dir string, o SegmentOptions) (*SegmentResult, error) {
	print := m.Fingerprint()
	side := m.cfg.Encoder.ImageSize
	r, err := segmentSlide(ctx, s, dir, side, hex.EncodeToString(print[:]), o, func(ctx context.Context, img *image.RGBA, e EverythingOptions) ([]Region, error) {
		src, err := picture.New(img)
		if err != nil {
			return nil, err
		}
		return everything(ctx, &modelMasks{m: m, src: src}, Size(src.Bounds()), e)
	})
	if err != nil {
		return nil, fmt.Errorf("sam: segment slide: %w", err)
	}
	return r, nil
}

// MergeSlide writes the outputs of a run whose shards are all done, and
// changes nothing else. The options must be those of the run, but for Shard,
// Shards and Progress. The error wraps ErrUnfinished if tiles are missing.
func (m *Model) MergeSlide(ctx context.Context, s *Slide, dir string, o SegmentOptions) (*SegmentResult, error) {
	print := m.Fingerprint()
	o.Shard, o.Shards = 0, 0
	p, err := newSlidePlan(ctx, s, m.cfg.Encoder.ImageSize, hex.EncodeToString(print[:]), o)
	if err == nil {
		err = claim(dir, p)
	}
	r := &SegmentResult{Dir: dir}
	if err == nil {
		r.Tiles, r.Merged = len(p.Tiles), true
		r.Objects, err = writeSlide(ctx, s, dir, p, o)
	}
	if err != nil {
		return nil, fmt.Errorf("sam: merge slide: %w", err)
	}
	return r, nil
}

// tileFinder finds the objects of one tile.
type tileFinder func(ctx context.Context, img *image.RGBA, o EverythingOptions) ([]Region, error)

func segmentSlide(ctx context.Context, s *Slide, dir string, side int, model string, o SegmentOptions, find tileFinder) (*SegmentResult, error) {
	p, err := newSlidePlan(ctx, s, side, model, o)
	if err != nil {
		return nil, err
	}
	if err := claim(dir, p); err != nil {
		return nil, err
	}
	res := &SegmentResult{Dir: dir, Tiles: len(p.Tiles)}
	if err := runTiles(ctx, s, dir, p, o, find, res); err != nil {
		return nil, err
	}
	if o.Shards > 1 {
		return res, nil
	}
	res.Merged = true
	res.Objects, err = writeSlide(ctx, s, dir, p, o)
	return res, err
}

// claim makes dir the folder of plan p.
func claim(dir string, p *slidePlan) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	q := *p
	q.Tiles = nil
	b, err := json.MarshalIndent(struct {
		ID    string
		Tiles int
		Plan  slidePlan
	}{p.ID, len(p.Tiles), q}, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "plan.json")
	switch have, err := os.ReadFile(path); {
	case err == nil && bytes.Equal(have, b):
		return nil
	case err == nil:
		return fmt.Errorf("%w: %s: use an empty folder, or the slide, model and options it was begun with", ErrOtherRun, dir)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// tilePicture is a tile on its way to the model.
type tilePicture struct {
	tile slideTile
	img  *image.RGBA
	err  error
}

// runTiles does the tiles of this shard that are not done. One tile is read
// ahead while another is searched.
func runTiles(ctx context.Context, s *Slide, dir string, p *slidePlan, o SegmentOptions, find tileFinder, res *SegmentResult) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var todo []slideTile
	total := 0
	for k, i := range p.Tiles {
		if k%max(o.Shards, 1) != o.Shard {
			continue
		}
		total++
		if _, err := readTile(dir, p, i); err == nil {
			res.Resumed++
		} else if !errors.Is(err, errNoTile) {
			return err
		} else {
			todo = append(todo, p.tile(i))
		}
	}
	ahead := make(chan tilePicture, 1)
	go func() {
		defer close(ahead)
		for _, t := range todo {
			img, err := readWindow(ctx, s, p, t.window)
			select {
			case ahead <- tilePicture{t, img, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	begun, done, objects := time.Now(), 0, 0
	report := func() {
		if o.Progress == nil {
			return
		}
		r := SegmentProgress{Done: res.Resumed + done, Total: total, Resumed: res.Resumed, Objects: objects, Elapsed: time.Since(begun)}
		if done > 0 {
			r.Left = r.Elapsed / time.Duration(done) * time.Duration(len(todo)-done)
		}
		o.Progress(r)
	}
	report()
	for t := range ahead {
		if t.err != nil {
			return fmt.Errorf("tile %d at %v: %w", t.tile.index, t.tile.window, t.err)
		}
		n, err := doTile(ctx, dir, p, t, o, find)
		if err != nil {
			return fmt.Errorf("tile %d at %v: %w", t.tile.index, t.tile.window, err)
		}
		done, objects = done+1, objects+n
		report()
	}
	return ctx.Err()
}

// doTile searches one tile and writes its file.
func doTile(ctx context.Context, dir string, p *slidePlan, t tilePicture, o SegmentOptions, find tileFinder) (int, error) {
	e := o.Everything
	e.Progress = nil
	if o.Find != nil {
		ps, err := o.Find(ctx, t.img, p.MPP)
		if err != nil {
			return 0, fmt.Errorf("find prompts: %w", err)
		}
		if ps = nearCore(p, t.tile, ps); len(ps) == 0 {
			return 0, writeTile(dir, p, t.tile, nil)
		}
		e.Prompts, e.PointsPerSide, e.PointGrids = ps, 0, nil
	}
	rs, err := find(ctx, t.img, e)
	if err != nil {
		return 0, err
	}
	objects, err := keepRegions(p, t.tile, rs, o)
	if err != nil {
		return 0, err
	}
	return len(objects), writeTile(dir, p, t.tile, objects)
}

// nearCore returns the prompts at most half a halo outside the core: farther
// objects are a neighbour's.
func nearCore(p *slidePlan, t slideTile, ps []Prompt) []Prompt {
	core := t.core.Sub(t.window.Min).Inset(-p.Halo / 2)
	var out []Prompt
	for _, q := range ps {
		at := image.Point{}
		switch {
		case len(q.Points) > 0:
			at = image.Pt(int(q.Points[0].X), int(q.Points[0].Y))
		case q.Box != nil:
			at = image.Pt(int((q.Box.X0+q.Box.X1)/2), int((q.Box.Y0+q.Box.Y1)/2))
		default:
			out = append(out, q)
			continue
		}
		if at.In(core) {
			out = append(out, q)
		}
	}
	return out
}

// readWindow reads a tile at the working resolution, on white where nothing
// was scanned.
func readWindow(ctx context.Context, s *Slide, p *slidePlan, r image.Rectangle) (*image.RGBA, error) {
	var img *image.RGBA
	var err error
	if p.FX == 1 && p.FY == 1 {
		img, err = s.ReadRegion(ctx, 0, r)
	} else {
		img, err = s.ReadAt(ctx, p.MPP, r)
	}
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(img.Pix); i += 4 {
		q := img.Pix[i : i+4 : i+4]
		if a := q[3]; a != 255 { // premultiplied: the rest of the light is white
			q[0], q[1], q[2], q[3] = q[0]+255-a, q[1]+255-a, q[2]+255-a, 255
		}
	}
	return img, nil
}
