package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/slidesam/sam"
)

// keptJobs is how many jobs that are over are kept.
const keptJobs = 100

// jobs are searches, done one after the other.
type jobs struct {
	s    *Server
	dir  string
	root context.Context
	stop context.CancelFunc
	wake chan struct{}
	end  sync.WaitGroup

	mu      sync.Mutex
	all     []*job
	running string // id
	cancel  context.CancelFunc
	changed chan struct{} // closed at each change
}

// newJobs takes up the jobs of an earlier server. Those that were not over go
// on.
func newJobs(s *Server) (*jobs, error) {
	all, err := readJobs(s.c.Jobs)
	if err != nil {
		return nil, err
	}
	q := &jobs{s: s, dir: s.c.Jobs, all: all, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	q.root, q.stop = context.WithCancel(context.Background())
	for _, j := range all {
		if j.State == jobRunning {
			j.State = jobQueued
		}
	}
	q.end.Go(q.run)
	q.poke()
	return q, nil
}

func (q *jobs) close() {
	q.stop()
	q.end.Wait()
}

// poke tells run to look for work.
func (q *jobs) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// update changes a job and tells all who follow it.
func (q *jobs) update(id string, f func(*job)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := q.index(id); i >= 0 {
		f(q.all[i])
		q.tell()
	}
}

// settle changes a job unless f refuses, and writes what it is then. The lock
// is held meanwhile, so that no older state is written over a newer one.
func (q *jobs) settle(id string, f func(*job) error) (job, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.index(id)
	if i < 0 {
		return job{}, errNoJob()
	}
	if err := f(q.all[i]); err != nil {
		return job{}, err
	}
	q.tell()
	return *q.all[i], q.save(*q.all[i])
}

// tell wakes all who follow a job. The lock is held.
func (q *jobs) tell() {
	close(q.changed)
	q.changed = make(chan struct{})
}

func errNoJob() error { return refuse(http.StatusNotFound, "no such job") }

func (q *jobs) index(id string) int {
	return slices.IndexFunc(q.all, func(j *job) bool { return j.ID == id })
}

// get returns a job, and a channel that is closed at the next change.
func (q *jobs) get(id string) (job, <-chan struct{}, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.index(id)
	if i < 0 {
		return job{}, nil, errNoJob()
	}
	return *q.all[i], q.changed, nil
}

func (q *jobs) list() []job {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]job, len(q.all))
	for i, j := range q.all {
		out[i] = *j
	}
	return out
}

// add queues a job, and drops the oldest of many that are over.
func (q *jobs) add(slide string, b jobBody) (job, error) {
	j, old, err := q.enqueue(slide, b)
	if err != nil {
		return job{}, err
	}
	q.poke()
	for _, id := range old {
		if err := os.RemoveAll(q.folder(id)); err != nil {
			q.s.log.Error("job's folder stays", "error", q.s.hush(err))
		}
	}
	return j, nil
}

// enqueue writes a job before run can see it. It returns the jobs that it
// dropped for it too.
func (q *jobs) enqueue(slide string, b jobBody) (_ job, old []string, _ error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting, over := 0, 0
	for _, j := range q.all {
		if j.State.over() {
			over++
		} else {
			waiting++
		}
	}
	if waiting >= q.s.c.MaxJobs {
		return job{}, nil, busy(http.StatusTooManyRequests, "%d jobs wait already; let one finish or cancel one", waiting)
	}
	j := job{ID: uuid.NewString(), Slide: slide, Body: b, Created: time.Now().UTC(), State: jobQueued}
	if err := q.save(j); err != nil {
		return job{}, nil, err
	}
	q.all = slices.DeleteFunc(q.all, func(j *job) bool {
		if over <= keptJobs || !j.State.over() || j.ID == q.running {
			return false
		}
		over--
		old = append(old, j.ID)
		return true
	})
	kept := j
	q.all = append(q.all, &kept)
	return j, old, nil
}

// halt cancels a job. Its tiles stay, so that it can be resumed.
func (q *jobs) halt(id string) (job, error) {
	return q.settle(id, func(j *job) error {
		if !j.State.over() {
			j.State = jobCancelled
		}
		if q.running == id {
			q.cancel()
		}
		return nil
	})
}

// resume queues a job that was cancelled or failed.
func (q *jobs) resume(id string) (job, error) {
	j, err := q.settle(id, func(j *job) error {
		if j.State != jobCancelled && j.State != jobFailed {
			return refuse(http.StatusConflict, "the job is %s", j.State)
		}
		j.State, j.Reason = jobQueued, ""
		return nil
	})
	q.poke()
	return j, err
}

// run does jobs until the server ends.
func (q *jobs) run() {
	for {
		id, ctx := q.next()
		if id == "" {
			select {
			case <-q.wake:
				continue
			case <-q.root.Done():
				return
			}
		}
		err := q.do(ctx, id)
		if _, err := q.settle(id, func(j *job) error { q.finish(j, err); return nil }); err != nil {
			q.s.log.Error("job is not saved", "job", id, "error", q.s.hush(err))
		}
		if q.root.Err() != nil {
			return
		}
	}
}

// finish says how a job that ran ended. The lock is held.
func (q *jobs) finish(j *job, err error) {
	q.cancel()
	q.running = ""
	switch {
	case err == nil: // its objects are annotations, whatever was asked for since
		j.State, j.Reason = jobDone, ""
	case j.State != jobRunning: // cancelled, or resumed since
	case q.root.Err() != nil: // the next server goes on
		j.State = jobQueued
	default:
		j.State, j.Reason = jobFailed, "an error of the server's own; its log says more"
		if r := refusalOf(err); r != nil {
			j.Reason = r.reason
		}
		q.s.log.Error("job failed", "job", j.ID, "error", q.s.hush(err))
	}
}

// next takes the first job that waits.
func (q *jobs) next() (string, context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.root.Err() != nil {
		return "", nil
	}
	for _, j := range q.all {
		if j.State == jobQueued {
			j.State = jobRunning
			ctx, cancel := context.WithCancel(q.root)
			q.running, q.cancel = j.ID, cancel
			return j.ID, ctx
		}
	}
	return "", nil
}

// do runs a job and adds what it found to the annotations.
func (q *jobs) do(ctx context.Context, id string) error {
	j, _, err := q.get(id)
	if err != nil {
		return err
	}
	o, release, err := q.s.slides.acquire(ctx, j.Slide)
	if err != nil {
		return err
	}
	defer release()
	slide := o.slide
	if o.mpp == 0 { // opened with a pixel size that it does not have
		if slide, err = sam.OpenSlide(o.path()); err != nil {
			return o.refusal(err)
		}
		defer slide.Close()
	}
	m := q.s.models.own
	opts := j.Body.options(slide, m.Defaults(), q.s.localFor(m))
	opts.Progress = func(p sam.SegmentProgress) {
		q.update(id, func(j *job) { j.Done, j.Total, j.Objects, j.Left = p.Done, p.Total, p.Objects, p.Left.Seconds() })
	}
	dir := filepath.Join(q.folder(id), "run")
	own, _ := slide.MPP()
	opts.Tile = m.Config().Encoder.ImageSize
	find := q.finder(id, m, opts, own)
	opts.Everything = sam.EverythingOptions{} // the finder's; a grid has the default's points
	res, err := sam.SegmentSlide(ctx, slide, dir, find, opts)
	if err != nil {
		return err
	}
	q.update(id, func(j *job) { j.Objects = res.Objects })
	fs, err := readFeatures(filepath.Join(dir, sam.GeoJSONFile))
	if err != nil {
		return err
	}
	st, err := q.s.stores.of(o.slideFile)
	if err != nil {
		return err
	}
	a, err := st.apply(fs, nil)
	if err != nil {
		return err
	}
	q.update(id, func(j *job) { j.Revision, j.found = a.Revision, nil })
	return nil
}

func readFeatures(path string) ([]json.RawMessage, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var c struct {
		Features []json.RawMessage `json:"features"`
	}
	err = json.Unmarshal(b, &c)
	return c.Features, err
}

// jobRoutes adds the routes of searches.
func (s *Server) jobRoutes() {
	s.handle("POST /v1/slides/{id}/jobs", s.withSlide(func(w http.ResponseWriter, r *http.Request, o *openSlide) error {
		var b jobBody
		if _, err := s.readJSON(r, smallBody, &b); err != nil {
			return err
		}
		if err := b.check(o.size); err != nil {
			return err
		}
		j, err := s.jobs.add(o.id, b)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusAccepted, j)
		return nil
	}))
	s.handle("GET /v1/jobs", func(w http.ResponseWriter, _ *http.Request) error {
		writeJSON(w, http.StatusOK, s.jobs.list())
		return nil
	})
	one := func(f func(string) (job, error)) handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			j, err := f(r.PathValue("job"))
			if err != nil {
				return err
			}
			writeJSON(w, http.StatusOK, j)
			return nil
		}
	}
	s.handle("GET /v1/jobs/{job}", one(func(id string) (job, error) { j, _, err := s.jobs.get(id); return j, err }))
	s.handle("DELETE /v1/jobs/{job}", one(s.jobs.halt))
	s.handle("POST /v1/jobs/{job}/resume", one(s.jobs.resume))
	s.handle("GET /v1/jobs/{job}/events", s.followJob)
}

// followJob sends the job as a server-sent event at each change, until it is
// over, and what it found as events of the type objects.
func (s *Server) followJob(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("job")
	if _, _, err := s.jobs.get(id); err != nil {
		return err
	}
	leave, err := s.streams.enter(r.Context(), 1)
	if err != nil {
		return err
	}
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	beat := time.NewTicker(15 * time.Second)
	defer beat.Stop()
	sent := 0
	for {
		j, changed, err := s.jobs.get(id)
		if err != nil {
			return nil // it is gone, and so is the stream
		}
		if n := len(j.found); n > sent {
			if err := sendObjects(w, j.found[sent:]); err != nil {
				return nil
			}
			sent = n
		}
		b, err := json.Marshal(j)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil {
			return nil
		}
		if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return nil
		}
		if j.State.over() {
			return nil
		}
		select {
		case <-changed:
		case <-beat.C:
		case <-r.Context().Done():
			return nil
		case <-s.jobs.root.Done():
			return nil
		}
	}
}

// sendObjects sends features, in events of bounded length.
func sendObjects(w io.Writer, fs []json.RawMessage) error {
	for part := range slices.Chunk(fs, 500) {
		b, err := json.Marshal(part)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "event: objects\ndata: %s\n\n", b); err != nil {
			return err
		}
	}
	return nil
}
