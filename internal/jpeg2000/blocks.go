package jpeg2000

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// parallelSamples is how many samples a tile has whose blocks are decoded by
// several goroutines. Slides' tiles are smaller, and are themselves decoded at the
// same time. Tests lower it.
var parallelSamples = 1 << 21

// blockJob is a block to decode into its subband.
type blockJob struct {
	k   *block
	b   *band
	c   *coding
	roi uint8
}

// decodeBlocks decodes the code blocks of all resolutions that are wanted.
func (t *tile) decodeBlocks() error {
	var jobs []blockJob
	samples := 0
	for c := range t.comps {
		tc := &t.comps[c]
		for r := range len(tc.res) - t.d.reduce {
			s := &tc.res[r]
			for i := range s.bands {
				b := &s.bands[i]
				w, h := b.x1-b.x0, b.y1-b.y0
				if w <= 0 || h <= 0 {
					continue
				}
				b.pix = plane{w: w, h: h, pix: t.d.work.buffer(w * h)}
				clear(b.pix.pix)
				samples += w * h
				for _, p := range s.precincts {
					if p == nil {
						continue
					}
					for k := range p.bands[i].blocks {
						if k := &p.bands[i].blocks[k]; len(k.segs) > 0 {
							jobs = append(jobs, blockJob{k, b, tc.coding, t.p.roi[c]})
						}
					}
				}
			}
		}
	}
	if n := min(runtime.GOMAXPROCS(0), len(jobs)); n > 1 && samples >= parallelSamples {
		return decodeParallel(jobs, n)
	}
	for _, j := range jobs {
		if err := j.run(&t.d.work.block); err != nil {
			return err
		}
	}
	return nil
}

// decodeParallel decodes blocks with n goroutines. Of several errors it returns that
// of the first block, as one goroutine would.
func decodeParallel(jobs []blockJob, n int) error {
	var next, failed atomic.Int64
	failed.Store(int64(len(jobs)))
	errs := make([]error, len(jobs))
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			w := workspaces.Get().(*workspace)
			defer workspaces.Put(w)
			for {
				i := next.Add(1) - 1
				if i >= failed.Load() {
					return
				}
				if errs[i] = jobs[i].run(&w.block); errs[i] == nil {
					continue
				}
				for f := failed.Load(); i < f && !failed.CompareAndSwap(f, i); f = failed.Load() {
				}
			}
		})
	}
	wg.Wait()
	if i := failed.Load(); i < int64(len(jobs)) {
		return errs[i]
	}
	return nil
}

// run decodes the block and writes its coefficients.
func (j blockJob) run(d *blockDecoder) error {
	k, b := j.k, j.b
	if err := d.decode(k, b.kind, j.c.style, b.planes+int(j.roi)-k.empty); err != nil {
		return fmt.Errorf("subband %d from (%d, %d) to (%d, %d): %w", b.kind, b.x0, b.y0, b.x1, b.y1, err)
	}
	if j.roi > 0 {
		d.unshift(j.roi)
	}
	step := float32(b.step / 2)
	for y := range d.h {
		row := b.pix.pix[(k.y0+y-b.y0)*b.pix.w+k.x0-b.x0:][:d.w]
		mag := d.mag[y*d.w:][:d.w]
		if j.c.reversible {
			impl.whole(row, mag)
		} else {
			impl.real(floats(row), mag, step)
		}
	}
	return nil
}

// unshift brings the coefficients of a region of interest, which are above all
// others, back to their size (T.800, annex H).
func (b *blockDecoder) unshift(roi uint8) {
	for i, v := range b.mag[:b.w*b.h] {
		if m := v &^ (1 << 31); m>>(roi+1) != 0 {
			b.mag[i] = v&(1<<31) | m>>roi
		}
	}
}
