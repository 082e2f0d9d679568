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
	Scales  []ScaleResult // the coarsest first
}

// ScaleResult says what a run did at one scale.
type ScaleResult struct {
	MPP     float64 // 0: unknown
	Class   string
	Tiles   int    // with tissue, of all shards
	Objects int    // as SegmentResult.Objects
	Labels  string // name of the file of labels
}

func newSegmentResult(dir string, p *slidePlan) *SegmentResult {
	r := &SegmentResult{Dir: dir, Tiles: p.tiles()}
	for _, q := range p.Scales {
		r.Scales = append(r.Scales, ScaleResult{MPP: q.MPP, Class: q.scale.Class, Tiles: len(q.Tiles), Labels: labelsName(p, q)})
	}
	return r
}

// SegmentSlide finds the objects of a slide, tile by tile, and writes them to
// the folder dir: objects.geojson for QuPath, objects.csv, labels.tif and
// overlay.png. With several scales, the objects of all are in one file, and
// each scale has its own labels, labels-0.5.tif and so on.
//
// An object that two scales found, masks of an IoU above 0.5, stays once: as
// the finer scale saw it, unless that scale had to put it together from
// tiles none of which saw it whole. A nucleus in a gland in a tumour is three
// objects.
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
	var r *SegmentResult
	if err == nil {
		r = newSegmentResult(dir, p)
		err = writeSlide(ctx, s, dir, p, r)
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
	res := newSegmentResult(dir, p)
	if err := runTiles(ctx, s, dir, p, o, find, res); err != nil {
		return nil, err
	}
	if o.Shards > 1 {
		return res, nil
	}
	return res, writeSlide(ctx, s, dir, p, res)
}

// claim makes dir the folder of plan p.
func claim(dir string, p *slidePlan) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	b, err := json.MarshalIndent(struct {
		ID     string
		Tiles  int
		Scales []*scalePlan
	}{p.ID, p.tiles(), p.Scales}, "", "  ")
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
	plan *scalePlan
	tile slideTile
	img  *image.RGBA
	err  error
}

// runTiles does the tiles of this shard that are not done. One tile is read
// ahead while another is searched.
func runTiles(ctx context.Context, s *Slide, dir string, p *slidePlan, o SegmentOptions, find tileFinder, res *SegmentResult) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var todo []tilePicture
	total, k := 0, -1
	for _, q := range p.Scales {
		for _, i := range q.Tiles {
			if k++; k%max(o.Shards, 1) != o.Shard {
				continue
			}
			total++
			if _, err := readTile(dir, q, i); err == nil {
				res.Resumed++
			} else if !errors.Is(err, errNoTile) {
				return err
			} else {
				todo = append(todo, tilePicture{plan: q, tile: q.tile(i)})
			}
		}
	}
	ahead := make(chan tilePicture, 1)
	go func() {
		defer close(ahead)
		for _, t := range todo {
			t.img, t.err = readWindow(ctx, s, t.plan, t.tile.window)
			select {
			case ahead <- t:
			case <-ctx.Done():
				return
			}
			if t.err != nil {
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
		n, err := 0, t.err
		if err == nil {
			n, err = doTile(ctx, dir, t, find)
		}
		if err != nil {
			return fmt.Errorf("tile %d at %v of the slide at %g micrometres per pixel: %w", t.tile.index, t.tile.window, t.plan.MPP, err)
		}
		done, objects = done+1, objects+n
		report()
	}
	return ctx.Err()
}
