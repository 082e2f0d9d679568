package serve

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/atomicfile"
)

// jobState is where a job stands.
type jobState string

const (
	jobQueued    jobState = "queued"
	jobRunning   jobState = "running"
	jobDone      jobState = "done"
	jobFailed    jobState = "failed"
	jobCancelled jobState = "cancelled"
)

// over reports whether nothing more happens by itself.
func (s jobState) over() bool { return s == jobDone || s == jobFailed || s == jobCancelled }

// jobBody asks for a search of a slide or of a rectangle of it.
type jobBody struct {
	Kind       string  `json:"kind"`       // nuclei, everything
	Region     []int   `json:"region"`     // x, y, width, height in pixels of level 0; null: all tissue
	Downsample float64 `json:"downsample"` // everything: of the view; 0 means 1
	Class      string  `json:"class"`      // of the objects
}

// job is a search: what was asked for and how far it is. Its folder outlives
// the server.
type job struct {
	ID      string    `json:"id"`
	Slide   string    `json:"slide"`
	Body    jobBody   `json:"request"`
	Created time.Time `json:"created"`
	State   jobState  `json:"state"`
	Done    int       `json:"done"` // tiles
	Total   int       `json:"total"`
	Objects int       `json:"objects"`
	Left    float64   `json:"left"` // seconds, 0: unknown
	Reason  string    `json:"reason,omitempty"`
	// Revision is that of the annotations with the job's objects, 0 before.
	Revision int64 `json:"revision,omitempty"`

	found []json.RawMessage // features so far, before seams are merged
}

// check returns a refusal for a body that means nothing on a slide.
func (b *jobBody) check(size sam.Size) error {
	if b.Kind != "nuclei" && b.Kind != "everything" {
		return refuse(http.StatusUnprocessableEntity, "kind %q, want nuclei or everything", b.Kind)
	}
	if len(b.Class) > 200 {
		return refuse(http.StatusUnprocessableEntity, "class of %d bytes, want at most 200", len(b.Class))
	}
	if b.Region == nil {
		return nil
	}
	if len(b.Region) != 4 {
		return refuse(http.StatusUnprocessableEntity, "region has %d numbers, want x, y, width, height", len(b.Region))
	}
	if r := b.Region; r[2] < 1 || r[3] < 1 || r[0] < 0 || r[1] < 0 || r[0] >= size.W || r[1] >= size.H || r[2] > size.W-r[0] || r[3] > size.H-r[1] {
		return refuse(http.StatusUnprocessableEntity, "region %v, want x, y, width, height within the slide of %d x %d pixels", r, size.W, size.H)
	}
	return nil
}

// leastNucleus is the area in square micrometres that no nucleus is below.
const leastNucleus = 8

// options are the body as sam wants them, for a model that sees best at the
// resolution of d. Thresholds are the model's own.
func (b *jobBody) options(slide *sam.Slide, d sam.Defaults, local bool) sam.SegmentOptions {
	o := sam.SegmentOptions{Class: b.Class}
	if r := b.Region; r != nil {
		o.Region, o.AllTiles = image.Rect(r[0], r[1], r[0]+r[2], r[1]+r[3]), true
	}
	e := &o.Everything
	e.Local = local
	own, _ := slide.MPP()
	if b.Kind == "everything" {
		o.MPP = own * snapDown(b.Downsample)
		return o
	}
	o.Find, o.FindName, o.Disjoint = sam.FindNuclei, "nuclei", true
	e.SingleMask, e.BoxNMSThresh = true, 0.5
	if own > 0 {
		o.MPP = max(cmp.Or(d.MPP, own), own/2) // more than twice as fine shows nothing more
	}
	mpp := cmp.Or(o.MPP, 0.5) // as FindNuclei assumes
	o.MinArea = int(leastNucleus / (mpp * mpp))
	e.MinMaskRegionArea = o.MinArea
	return o
}

// finder searches tiles as Model.SegmentSlide does, but lets clicks go first
// and shows what each tile has.
func (q *jobs) finder(id string, m *sam.Model, o sam.SegmentOptions, own float64) sam.SlideFinder {
	e := o.Everything
	return sam.SlideFinder{
		Name: fmt.Sprintf("%s %v %v %v %v", fingerprint(m), e.Local, e.SingleMask, e.BoxNMSThresh, e.MinMaskRegionArea),
		Find: func(ctx context.Context, img *image.RGBA, t sam.SlideTile) ([]sam.Region, error) {
			if len(t.Prompts) == 0 {
				return nil, nil
			}
			leave, err := q.s.encode.enter(ctx, 1)
			if err != nil {
				return nil, err
			}
			embedding, err := m.Embed(ctx, img)
			leave()
			if err != nil {
				return nil, err
			}
			e := e
			e.Prompts = t.Prompts
			regions, err := m.EverythingIn(ctx, embedding, e)
			if err == nil {
				q.show(id, regions, t, o, own)
			}
			return regions, err
		},
	}
}

// maxShown bounds the objects that a job shows before it is done.
const maxShown = 100_000

// show keeps what a tile has for those who follow the job.
func (q *jobs) show(id string, regions []sam.Region, t sam.SlideTile, o sam.SegmentOptions, own float64) {
	scale := 1.0
	if own > 0 && t.MPP > 0 {
		scale = t.MPP / own
	}
	var fs []json.RawMessage
	for _, r := range regions {
		if r.Mask.Area() < o.MinArea {
			continue
		}
		g := r.Mask.Geometry(sam.Frame{OffsetX: float64(t.Window.Min.X) * scale, OffsetY: float64(t.Window.Min.Y) * scale, Scale: scale})
		if g == nil {
			continue
		}
		f := newFeature(g)
		if o.Class != "" {
			f.Properties["classification"] = map[string]string{"name": o.Class}
		}
		if b, err := json.Marshal(f); err == nil {
			fs = append(fs, b)
		}
	}
	q.update(id, func(j *job) {
		if len(j.found) < maxShown {
			j.found = append(j.found, fs...)
		}
	})
}

const jobFile = "job.json"

// folder is where a job works.
func (q *jobs) folder(id string) string { return filepath.Join(q.dir, id) }

// save writes what a job is; a server that starts later goes on from it.
func (q *jobs) save(j job) error {
	b, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(q.folder(j.ID), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(q.folder(j.ID), jobFile), func(w io.Writer) error { _, err := w.Write(b); return err })
}

// readJobs reads all jobs, the oldest first. What is not whole is passed over.
func readJobs(dir string) ([]*job, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []*job
	for _, d := range list {
		if !d.IsDir() || uuid.Validate(d.Name()) != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, d.Name(), jobFile))
		if err != nil {
			continue
		}
		j := &job{}
		if json.Unmarshal(b, j) != nil || j.ID != d.Name() {
			continue
		}
		out = append(out, j)
	}
	slices.SortFunc(out, func(a, b *job) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}
