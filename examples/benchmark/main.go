// Command benchmark measures a model's speed and memory on this machine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/weights/bundled"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "benchmark:", err)
		os.Exit(1)
	}
}

// figure is one measurement.
type figure struct {
	What    string    `json:"what"`
	Seconds []float64 `json:"seconds"` // of each run, after one to warm up
	Best    float64   `json:"best"`
	Median  float64   `json:"median"`
	GFLOPS  float64   `json:"gflops,omitempty"`    // arithmetic of the best run, 10^9 operations per second
	Share   float64   `json:"fma_share,omitempty"` // of the FMA rate
}

// report is all that was measured.
type report struct {
	Model   string   `json:"model"`
	Go      string   `json:"go"`
	Kernels string   `json:"kernels"`
	Threads int      `json:"threads"`
	FMARate float64  `json:"fma_gflops"` // the larger of two measurements
	GMACs   float64  `json:"encoder_gmacs"`
	Figures []figure `json:"figures"`
	PeakMB  float64  `json:"peak_mb,omitempty"` // of the process, 0 where the system does not say
	Weights float64  `json:"weights_mb"`
}

type options struct {
	model, random, picture, json string
	runs                         int
	everything                   bool
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var o options
	fs := flag.NewFlagSet("benchmark", flag.ContinueOnError)
	fs.StringVar(&o.model, "model", "", "checkpoint `file`; default: the bundled model")
	fs.StringVar(&o.random, "random", "", "counter-based weights in the shape `vit_b`, vit_l or vit_h")
	fs.StringVar(&o.picture, "picture", "", "PNG or JPEG `file`; default: the bundled picture")
	fs.StringVar(&o.json, "json", "", "`file` for the figures as JSON")
	fs.BoolVar(&o.everything, "everything", false, "measure automatic masks from 32 x 32 points too, once")
	fs.IntVar(&o.runs, "runs", 5, "measured runs of each")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: checkpoints are given with -model, pictures with -picture", fs.Arg(0))
	}
	if o.runs < 1 {
		return fmt.Errorf("-runs %d: want at least 1", o.runs)
	}
	r, err := o.measure(ctx)
	if err != nil {
		return err
	}
	if err := r.print(stdout); err != nil {
		return err
	}
	if o.json == "" {
		return nil
	}
	return atomicfile.Write(o.json, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	})
}

func (o options) open() (image.Image, error) {
	if o.picture == "" {
		return bundled.Picture(), nil
	}
	f, err := os.Open(o.picture)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; want a PNG or JPEG file", o.picture, err)
	}
	return img, nil
}

func (o options) load() (*sam.Model, string, error) {
	shapes := map[string]func() sam.Config{"vit_b": sam.ViTB, "vit_l": sam.ViTL, "vit_h": sam.ViTH}
	switch {
	case o.random != "":
		shape := shapes[o.random]
		if shape == nil {
			return nil, "", fmt.Errorf("-random %s: want vit_b, vit_l or vit_h", o.random)
		}
		m, err := sam.NewRandom(shape(), 1)
		return m, o.random + ", counter-based weights", err
	case o.model != "":
		m, err := sam.Load(o.model)
		return m, o.model, err
	}
	m, err := sam.Bundled()
	return m, "bundled", err
}

func (o options) measure(ctx context.Context) (*report, error) {
	img, err := o.open()
	if err != nil {
		return nil, err
	}
	r := &report{Go: runtime.Version(), Kernels: kernel.Name(), Threads: runtime.GOMAXPROCS(0)}
	var m *sam.Model
	start := time.Now()
	m, name, err := o.load()
	if err != nil {
		return nil, err
	}
	r.Model = name
	load := figure{What: "load", Seconds: []float64{time.Since(start).Seconds()}}
	r.add(load, 0)
	r.Weights = float64(m.Bytes()) / 1e6
	macs := encoderMACs(m.Config().Encoder)
	r.GMACs = macs / 1e9

	var e *sam.Embedding
	r.rate()
	err = r.time("encode", o.runs, 2*macs, func() (err error) {
		e, err = m.Embed(ctx, img)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.rate()
	size := e.PictureSize()
	points := grid(size, 8)
	err = r.time("one point", 3*o.runs, 0, func() error {
		_, err := m.Predict(ctx, e, points[27], sam.PredictOptions{})
		return err
	})
	if err != nil {
		return nil, err
	}
	err = r.time("64 points", o.runs, 0, func() error {
		_, err := m.PredictBatch(ctx, e, points, sam.PredictOptions{})
		return err
	})
	if err != nil {
		return nil, err
	}
	if o.everything {
		start := time.Now()
		if _, err := m.Everything(ctx, img, sam.EverythingOptions{}); err != nil {
			return nil, err
		}
		r.add(figure{What: "everything", Seconds: []float64{time.Since(start).Seconds()}}, 0)
	}
	for i := range r.Figures {
		if g := r.Figures[i].GFLOPS; g > 0 {
			r.Figures[i].Share = g / r.FMARate
		}
	}
	r.PeakMB = peakMB()
	return r, nil
}

// rate measures the FMA rate and keeps the largest.
func (r *report) rate() {
	r.FMARate = max(r.FMARate, kernel.FMARate(r.Threads, 300*time.Millisecond)/1e9)
}

// time runs f once to warm up and n times to measure.
func (r *report) time(what string, n int, flops float64, f func() error) error {
	fig := figure{What: what}
	for i := -1; i < n; i++ {
		start := time.Now()
		if err := f(); err != nil {
			return err
		}
		if i >= 0 {
			fig.Seconds = append(fig.Seconds, time.Since(start).Seconds())
		}
	}
	r.add(fig, flops)
	return nil
}

func (r *report) add(f figure, flops float64) {
	s := slices.Sorted(slices.Values(f.Seconds))
	f.Best, f.Median = s[0], s[len(s)/2]
	if flops > 0 {
		f.GFLOPS = flops / f.Best / 1e9
	}
	r.Figures = append(r.Figures, f)
}

// grid is n x n single points, spread evenly.
func grid(s sam.Size, n int) []sam.Prompt {
	var ps []sam.Prompt
	for i := 0; i < n*n; i++ {
		x, y := (float64(i%n)+0.5)/float64(n), (float64(i/n)+0.5)/float64(n)
		ps = append(ps, sam.Prompt{Points: []sam.Point{{X: x * float64(s.W), Y: y * float64(s.H), Label: sam.Foreground}}})
	}
	return ps
}

func (r *report) print(w io.Writer) error {
	fmt.Fprintf(w, "%s\n%s, %s kernels, %d threads, FMA rate %.0f GFLOP/s\nencoder: %.1f G multiply-adds; weights %.0f MB", r.Model, r.Go, r.Kernels, r.Threads, r.FMARate, r.GMACs, r.Weights)
	if r.PeakMB > 0 {
		fmt.Fprintf(w, "; peak memory of this process %.0f MB", r.PeakMB)
	}
	fmt.Fprint(w, "\n\n")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\tbest\tmedian\tGFLOP/s\tof FMA rate\t")
	for _, f := range r.Figures {
		speed, share := "", ""
		if f.GFLOPS > 0 {
			speed, share = fmt.Sprintf("%.0f", f.GFLOPS), fmt.Sprintf("%.0f %%", 100*f.Share)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t\n", f.What, duration(f.Best), duration(f.Median), speed, share)
	}
	return tw.Flush()
}

func duration(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.1f ms", 1000*s)
	}
	return fmt.Sprintf("%.2f s", s)
}
