package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Parallel calls f(0), ..., f(n-1), on up to GOMAXPROCS goroutines, and
// returns when all calls are done.
//
// The goroutines belong to one pool for the process and the caller is one of
// them. Indices are handed out one at a time as goroutines become free, in
// ascending order. f may call Parallel itself. If a call of f panics,
// Parallel panics with the same value once the running calls have returned.
func Parallel(n int, f func(i int)) {
	if n <= 1 || runtime.GOMAXPROCS(0) == 1 {
		for i := range n {
			f(i)
		}
		return
	}
	t := funcTasks.get()
	t.f = f
	run(n, t)
	t.f = nil
	funcTasks.put(t)
}

// A task is work that consists of numbered pieces. The kernels use pooled
// task structs in place of closures so that a call allocates nothing.
type task interface{ run(i int) }

type funcTask struct{ f func(int) }

func (t *funcTask) run(i int) { t.f(i) }

var funcTasks freeList[funcTask]

// A job is one call of run: a task whose pieces are being handed out.
type job struct {
	t       task
	n       int64
	next    atomic.Int64 // the next piece to hand out
	helpers atomic.Int64 // workers inside the job; changed under pool.mu
	limit   int          // most workers at once
	done    sync.Cond    // signalled when helpers falls to 0
	fault   any          // first panic value of a piece; guarded by pool.mu
	faulty  bool
}

// pool is the process-wide pool of workers.
var pool struct {
	mu       sync.Mutex
	work     sync.Cond    // signalled when a job is added
	added    atomic.Int64 // jobs so far
	jobs     []*job       // jobs that may still have pieces to hand out
	workers  int          // started
	idle     int          // waiting for work
	spinning int          // of these, awake
}

// A prompt's many short jobs follow each other within microseconds, and waking a
// thread takes tens of them: who has to wait stays awake for a moment, a few
// workers at most.
const (
	spinTime     = 50 * time.Microsecond
	mostSpinners = 3
)

// spin waits until done, but no longer than spinTime. Other goroutines may run.
func spin(done func() bool) {
	for start := time.Now(); !done() && time.Since(start) < spinTime; {
		runtime.Gosched()
	}
}

var jobs freeList[job]

func init() { pool.work.L = &pool.mu }

// run calls t.run(0), ..., t.run(n-1) on the pool and the caller.
func run(n int, t task) {
	procs := runtime.GOMAXPROCS(0)
	if n <= 1 || procs == 1 {
		for i := range n {
			t.run(i)
		}
		return
	}
	j := jobs.get()
	j.t, j.n, j.limit = t, int64(n), min(procs, n)-1
	j.next.Store(0)
	j.done.L = &pool.mu

	pool.mu.Lock()
	pool.jobs = append(pool.jobs, j)
	pool.added.Add(1)
	for pool.workers < procs-1 && pool.idle < j.limit {
		pool.workers++
		pool.idle++ // counted as idle until it takes a job
		go worker()
	}
	for range min(pool.idle, j.limit) {
		pool.work.Signal()
	}
	pool.mu.Unlock()

	j.work()

	spin(func() bool { return j.helpers.Load() == 0 })
	pool.mu.Lock()
	removeJob(j)
	for j.helpers.Load() > 0 {
		j.done.Wait()
	}
	fault, faulty := j.fault, j.faulty
	j.t, j.fault, j.faulty = nil, nil, false
	pool.mu.Unlock()
	jobs.put(j)
	if faulty {
		panic(fault)
	}
}

// work runs pieces of j until none is left to hand out. A panic is kept in
// the job, and no further pieces are handed out.
func (j *job) work() {
	defer func() {
		if v := recover(); v != nil {
			j.next.Store(j.n)
			pool.mu.Lock()
			if !j.faulty {
				j.fault, j.faulty = v, true
			}
			pool.mu.Unlock()
		}
	}()
	for {
		i := j.next.Add(1) - 1
		if i >= j.n {
			return
		}
		j.t.run(int(i))
	}
}

// worker serves jobs for the life of the process. It is counted in
// pool.idle when it starts.
func worker() {
	pool.mu.Lock()
	for {
		j := openJob()
		if j == nil && pool.spinning < mostSpinners {
			seen := pool.added.Load()
			pool.spinning++
			pool.mu.Unlock()
			spin(func() bool { return pool.added.Load() != seen })
			pool.mu.Lock()
			pool.spinning--
			j = openJob()
		}
		if j == nil {
			pool.work.Wait()
			continue
		}
		j.helpers.Add(1)
		pool.idle--
		pool.mu.Unlock()

		j.work()

		pool.mu.Lock()
		pool.idle++
		removeJob(j) // nothing is left to hand out
		if j.helpers.Add(-1) == 0 {
			j.done.Signal()
		}
	}
}

// openJob returns a job that wants a worker, or nil. The newest comes first:
// a nested job holds up the piece that started it.
func openJob() *job {
	for i := len(pool.jobs) - 1; i >= 0; i-- {
		if j := pool.jobs[i]; int(j.helpers.Load()) < j.limit && j.next.Load() < j.n {
			return j
		}
	}
	return nil
}

func removeJob(j *job) {
	for i, x := range pool.jobs {
		if x == j {
			last := len(pool.jobs) - 1
			copy(pool.jobs[i:], pool.jobs[i+1:])
			pool.jobs[last] = nil
			pool.jobs = pool.jobs[:last]
			return
		}
	}
}
