package serve

import (
	"encoding/json"
	"errors"
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

// Of the bundled model, which is less sure than the one that the library's
// thresholds are made for, and sees nuclei best at its own resolution.
const (
	bundledIoU       = 0.6
	bundledStability = 0.4
	bundledMPP       = 0.25
)

// leastNucleus is the area in square micrometres that no nucleus is below.
const leastNucleus = 8

// options are the body as sam wants them.
func (b *jobBody) options(slide *sam.Slide, bundled bool) sam.SegmentOptions {
	o := sam.SegmentOptions{Class: b.Class}
	if r := b.Region; r != nil {
		o.Region, o.AllTiles = image.Rect(r[0], r[1], r[0]+r[2], r[1]+r[3]), true
	}
	e := &o.Everything
	if bundled {
		e.PredIoUThresh, e.StabilityScoreThresh, e.Local = bundledIoU, bundledStability, true
	}
	own, _ := slide.MPP()
	if b.Kind == "everything" {
		o.MPP = own * snapDown(b.Downsample)
		return o
	}
	o.Find, o.FindName, o.Disjoint = sam.FindNuclei, "nuclei", true
	e.SingleMask, e.BoxNMSThresh = true, 0.5
	if own > 0 {
		o.MPP = own
		if bundled {
			o.MPP = max(bundledMPP, own/2) // more than twice as fine shows nothing more
		}
	}
	mpp := o.MPP
	if mpp == 0 {
		mpp = 0.5 // as FindNuclei assumes
	}
	o.MinArea = int(leastNucleus / (mpp * mpp))
	e.MinMaskRegionArea = o.MinArea
	return o
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
