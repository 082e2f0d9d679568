package benchmark

import (
	"context"
	"fmt"
	"image"
	"runtime"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/kernel"
)

// measure loads the model and times what the options ask for.
func (o options) measure(ctx context.Context) (*report, error) {
	img, err := o.open()
	if err != nil {
		return nil, err
	}
	r := &report{CPU: cpuName(), Go: runtime.Version(), Kernels: o.kernels(), Threads: runtime.GOMAXPROCS(0)}
	load := figure{What: "load", Threads: r.Threads}
	if o.random != "" {
		load.What = "make weights" // nothing is read
	}
	var m *sam.Model
	err = load.run(func() (err error) {
		m, r.Model, err = o.load()
		return err
	})
	if err != nil {
		return nil, err
	}
	r.add(load)
	r.Weights = float64(m.Bytes()) / 1e6
	macs := encoderMACs(m.Config().Encoder)
	r.GMACs = macs / 1e9

	var e *sam.Embedding
	err = r.timeEncode(o.runs, 2*macs, func() (err error) {
		e, err = m.Embed(ctx, img)
		return err
	})
	if err != nil {
		return nil, err
	}
	if o.scaling {
		if err := o.scale(ctx, r, m, img, 2*macs); err != nil {
			return nil, err
		}
	}
	if o.prompts {
		if err := o.decode(ctx, r, m, e); err != nil {
			return nil, err
		}
	}
	if o.everything {
		if err := o.all(ctx, r, m, e, img); err != nil {
			return nil, err
		}
	}
	r.PeakMB = peakMB()
	return r, nil
}

// kernels are the implementations in use.
func (o options) kernels() string {
	if o.precision == sam.INT8 {
		return kernel.Name() + ", int8 " + kernel.Name8()
	}
	return kernel.Name()
}

// decode times prompts on an embedding.
func (o options) decode(ctx context.Context, r *report, m *sam.Model, e *sam.Embedding) error {
	size := e.PictureSize()
	one := grid(size, 1)[0]
	err := r.time("one point", 3*o.runs, true, func() error {
		_, err := m.Predict(ctx, e, one, sam.PredictOptions{})
		return err
	})
	if err != nil {
		return err
	}
	points := grid(size, 8)
	return r.time("64 points", o.runs, true, func() error {
		_, err := m.PredictBatch(ctx, e, points, sam.PredictOptions{})
		return err
	})
}

// scale times encodes on one thread and on all of them in turn, with the FMA
// rate of as many threads before each.
func (o options) scale(ctx context.Context, r *report, m *sam.Model, img image.Image, flops float64) error {
	figs := []figure{{What: "encode, 1 thread", Threads: 1}, {What: fmt.Sprintf("encode, %d threads", r.Threads), Threads: r.Threads}}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for range o.runs {
		for i := range figs {
			f := &figs[i]
			runtime.GOMAXPROCS(f.Threads)
			f.FMARate = max(f.FMARate, fmaRate(f.Threads))
			err := f.run(func() error {
				_, err := m.Embed(ctx, img)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	for _, f := range figs {
		f.share(flops)
		r.add(f)
	}
	n := len(r.Figures)
	r.Scaling = r.Figures[n-2].Best / r.Figures[n-1].Best
	return nil
}

// all times automatic masks once, the encoder included.
func (o options) all(ctx context.Context, r *report, m *sam.Model, e *sam.Embedding, img image.Image) error {
	opt := sam.EverythingOptions{PointsPerSide: o.side, PredIoUThresh: o.iou, StabilityScoreThresh: o.stability}
	if o.pass > 0 {
		var err error
		if opt.PredIoUThresh, opt.StabilityScoreThresh, err = thresholds(ctx, m, e, o.pass); err != nil {
			return err
		}
	}
	iou, stability := opt.PredIoUThresh, opt.StabilityScoreThresh
	r.IoU, r.Stability = &iou, &stability
	// As in the original 0 lets all masks pass; here that is below 0.
	if iou == 0 {
		opt.PredIoUThresh = -1
	}
	if stability == 0 {
		opt.StabilityScoreThresh = -1
	}
	f := figure{What: fmt.Sprintf("everything, %d x %d points", o.side, o.side), Threads: r.Threads}
	start := time.Now()
	found, err := m.Everything(ctx, img, opt)
	if err != nil {
		return err
	}
	f.Seconds = []float64{time.Since(start).Seconds()}
	n := len(found)
	f.Masks = &n
	r.add(f)
	return nil
}

// grid is n x n single points, spread evenly.
func grid(s sam.Size, n int) []sam.Prompt {
	var ps []sam.Prompt
	for i := range n * n {
		x, y := (float64(i%n)+0.5)/float64(n), (float64(i/n)+0.5)/float64(n)
		ps = append(ps, sam.Prompt{Points: []sam.Point{{X: x * float64(s.W), Y: y * float64(s.H), Label: sam.Foreground}}})
	}
	return ps
}
