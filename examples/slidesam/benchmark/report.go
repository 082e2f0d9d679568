package benchmark

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/slidesam/sam/internal/kernel"
)

// figure is one measurement.
type figure struct {
	What    string    `json:"what"`
	Threads int       `json:"threads"`
	Seconds []float64 `json:"seconds"` // of each run
	Best    float64   `json:"best"`
	Median  float64   `json:"median"`
	GFLOPS  float64   `json:"gflops,omitempty"`     // arithmetic of the best run, 10^9 operations per second
	FMARate float64   `json:"fma_gflops,omitempty"` // of as many threads, measured between the runs
	Share   float64   `json:"fma_share,omitempty"`  // GFLOPS of FMARate
	PeakMB  float64   `json:"peak_mb,omitempty"`    // of the process so far
	Masks   *int      `json:"masks,omitempty"`      // how many the automatic masks are
}

// report is all that was measured.
type report struct {
	Model     string   `json:"model"`
	CPU       string   `json:"cpu,omitempty"`
	Go        string   `json:"go"`
	Kernels   string   `json:"kernels"`
	Threads   int      `json:"threads"`
	FMARate   float64  `json:"fma_gflops"` // the largest of several measurements on all threads
	GMACs     float64  `json:"encoder_gmacs"`
	Weights   float64  `json:"weights_mb"`
	PeakMB    float64  `json:"peak_mb,omitempty"` // of the process
	Scaling   float64  `json:"scaling,omitempty"` // how many times faster an encode is on all threads than on one
	IoU       *float64 `json:"pred_iou_thresh,omitempty"`
	Stability *float64 `json:"stability_score_thresh,omitempty"`
	Figures   []figure `json:"figures"`
}

// rateTime is how long one measurement of the FMA rate takes.
const rateTime = 200 * time.Millisecond

// fmaRate measures the FMA rate of n threads, in GFLOP/s.
func fmaRate(n int) float64 { return kernel.FMARate(n, rateTime) / 1e9 }

// time runs f once to warm up if warm is true, and n times to measure.
func (r *report) time(what string, n int, warm bool, f func() error) error {
	fig := figure{What: what, Threads: r.Threads}
	if warm {
		if err := f(); err != nil {
			return err
		}
	}
	for range n {
		if err := fig.run(f); err != nil {
			return err
		}
	}
	r.add(fig)
	return nil
}

// timeEncode is time for an encode of flops operations, with the FMA rate
// measured before each run.
func (r *report) timeEncode(n int, flops float64, f func() error) error {
	fig := figure{What: "encode", Threads: r.Threads}
	if err := f(); err != nil {
		return err
	}
	for range n {
		fig.FMARate = max(fig.FMARate, fmaRate(r.Threads))
		if err := fig.run(f); err != nil {
			return err
		}
	}
	fig.FMARate = max(fig.FMARate, fmaRate(r.Threads))
	fig.share(flops)
	r.add(fig)
	return nil
}

// run measures one run of f.
func (f *figure) run(work func() error) error {
	start := time.Now()
	if err := work(); err != nil {
		return err
	}
	f.Seconds = append(f.Seconds, time.Since(start).Seconds())
	return nil
}

// share fills what follows from the arithmetic of a run.
func (f *figure) share(flops float64) {
	f.GFLOPS = flops / slices.Min(f.Seconds) / 1e9
	f.Share = f.GFLOPS / f.FMARate
}

func (r *report) add(f figure) {
	s := slices.Sorted(slices.Values(f.Seconds))
	f.Best, f.Median, f.PeakMB = s[0], s[len(s)/2], peakMB()
	if f.Threads == r.Threads {
		r.FMARate = max(r.FMARate, f.FMARate)
	}
	r.Figures = append(r.Figures, f)
}

func (r *report) print(w io.Writer) error {
	fmt.Fprintf(w, "%s\n", r.Model)
	if r.CPU != "" {
		fmt.Fprintf(w, "%s, ", r.CPU)
	}
	fmt.Fprintf(w, "%s, %s kernels, %d threads, FMA rate %.0f GFLOP/s\nencoder: %.1f G multiply-adds; weights %.0f MB", r.Go, r.Kernels, r.Threads, r.FMARate, r.GMACs, r.Weights)
	if r.PeakMB > 0 {
		fmt.Fprintf(w, "; peak memory of this process %.0f MB", r.PeakMB)
	}
	fmt.Fprint(w, "\n\n")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\tbest\tmedian\tGFLOP/s\tof FMA rate\tpeak so far\t")
	for _, f := range r.Figures {
		speed, share, peak := "", "", ""
		if f.GFLOPS > 0 {
			speed, share = fmt.Sprintf("%.0f", f.GFLOPS), fmt.Sprintf("%.0f %%", 100*f.Share)
		}
		if f.PeakMB > 0 {
			peak = fmt.Sprintf("%.0f MB", f.PeakMB)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t\n", f.What, duration(f.Best), duration(f.Median), speed, share, peak)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, f := range r.Figures {
		if f.Masks != nil {
			fmt.Fprintf(w, "\n%d automatic masks; predicted IoU above %.4g, stability from %.4g\n", *f.Masks, *r.IoU, *r.Stability)
		}
	}
	if r.Scaling > 0 {
		_, err := fmt.Fprintf(w, "\nencode is %.2f x as fast on %d threads as on one\n", r.Scaling, r.Threads)
		return err
	}
	return nil
}

func duration(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.1f ms", 1000*s)
	}
	return fmt.Sprintf("%.2f s", s)
}
