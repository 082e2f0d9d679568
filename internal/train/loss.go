package train

import (
	"fmt"
	"math"

	"github.com/slidesam/sam/internal/kernel"
)

// Loss is a weighted sum of what a mask decoder is taught by. For each prompt
// the parts on the masks' pixels count for the mask that has the least of them;
// the part on the predicted quality counts for all masks, as their mean.
type Loss struct {
	Focal float64 // of SAM: gamma 2, alpha 1/4, mean over pixels
	Dice  float64
	BCE   float64 // binary cross entropy, mean over pixels
	IoU   float64 // squared error of the predicted quality
	// SquaredDice is 1 - 2Σpt/(Σp²+Σt²), micro-sam's form; otherwise Dice is
	// 1 - (2Σpt+1)/(Σp+Σt+1), SAM's.
	SquaredDice bool
}

// SAMLoss is the loss that Segment Anything was trained with: focal 20 to
// dice 1 to quality 1.
//
// Source: Kirillov et al. 2023, A. "Losses and training".
func SAMLoss() Loss { return Loss{Focal: 20, Dice: 1, IoU: 1} }

// MicroSAMLoss is the loss of micro-sam's fine-tuning.
//
// Source: Archit et al. 2025; micro_sam/training/sam_trainer.py.
func MicroSAMLoss() Loss { return Loss{Dice: 1, IoU: 1, SquaredDice: true} }

// Objective is the loss on one batch of prompts: a batch's logits and
// qualities, and what they should be.
//
// Logits is [Prompts*len(Masks), Side*Side], IoU [Prompts, Qualities], Target
// [Prompts, Side*Side] with values from 0 to 1, the share of a cell that
// belongs to the object. Only the cells of the first H rows and W columns
// count: the rest lies outside the picture. Where a prompt has a window, the
// logits are interpolated and compared at the window's resolution.
type Objective struct {
	Loss
	Prompts, Side, H, W int
	Masks               []int // columns of IoU that belong to the masks
	Qualities           int

	Logits, IoU, Target []float32
	Windows             []Window // one for each prompt, or nil
}

// Check returns an error if the arrays do not have the sizes that they should.
func (o *Objective) Check() error {
	n := o.Side * o.Side
	switch {
	case o.Prompts < 1 || len(o.Masks) < 1 || o.H < 1 || o.W < 1 || o.H > o.Side || o.W > o.Side:
		return fmt.Errorf("train: objective: %d prompts, %d masks, %d x %d of %d x %d cells", o.Prompts, len(o.Masks), o.W, o.H, o.Side, o.Side)
	case len(o.Logits) != o.Prompts*len(o.Masks)*n || len(o.IoU) != o.Prompts*o.Qualities || len(o.Target) != o.Prompts*n:
		return fmt.Errorf("train: objective: %d logits, %d qualities, %d targets for %d prompts", len(o.Logits), len(o.IoU), len(o.Target), o.Prompts)
	}
	if o.Windows != nil && len(o.Windows) != o.Prompts {
		return fmt.Errorf("train: objective: %d windows for %d prompts", len(o.Windows), o.Prompts)
	}
	for _, w := range o.Windows {
		if err := w.check(o.H, o.W); err != nil {
			return err
		}
	}
	for _, m := range o.Masks {
		if m < 0 || m >= o.Qualities {
			return fmt.Errorf("train: objective: no quality %d of %d", m, o.Qualities)
		}
	}
	return nil
}

// sums is what a mask's loss is made of.
type sums struct {
	p, t, pt, pp, tt float64 // over the cells
	focal, bce       float64
	both, either     float64 // cells of mask and object at their thresholds
}

// dice returns the loss and its slopes in p·t and in p (or p²).
func (l Loss) dice(s sums) (loss, dpt, dp float64) {
	if l.SquaredDice {
		d := max(s.pp+s.tt, 1e-7)
		return 1 - 2*s.pt/d, -2 / d, 2 * s.pt / (d * d)
	}
	d := s.p + s.t + 1
	return 1 - (2*s.pt+1)/d, -2 / d, (2*s.pt + 1) / (d * d)
}

func (l Loss) mask(s sums, cells float64) float64 {
	d, _, _ := l.dice(s)
	return l.Dice*d + l.Focal*s.focal/cells + l.BCE*s.bce/cells
}

// point is the loss of one cell with logit x: probability, cross entropy, and
// focal loss; and their slopes in x.
type point struct{ p, bce, focal, dbce, dfocal float64 }

// at returns the loss of a cell; e is exp(-|x|). Only with logs it has the
// cross entropy and the focal loss.
func at(x, t, e float64, logs bool) point {
	p := 1 / (1 + e)
	if x < 0 {
		p *= e
	}
	c := point{p: p, dbce: p - t}
	if !logs {
		return c
	}
	// -log(sigmoid(x)) and -log(1-sigmoid(x)) without overflow.
	c.bce = max(x, 0) - x*t + log1p(e)
	// Focal: alpha_t * bce * (1-p_t)^2 with p_t = pt + (1-p)(1-t).
	const alpha = 0.25
	miss := 1 - (p*t + (1-p)*(1-t))
	a := alpha*t + (1-alpha)*(1-t)
	dp := p * (1 - p)
	c.focal = a * c.bce * miss * miss
	c.dfocal = a * ((p-t)*miss*miss + c.bce*2*miss*(1-2*t)*dp)
	return c
}

// log1p returns log(1+e) for e from 0 to 1, with a relative error below 2e-10:
// a polynomial fitted in Chebyshev's points.
func log1p(e float64) float64 {
	q := e * e
	r := q * q
	lo := (0.9999999998842433 - 0.4999999655434306*e) + (0.3333316237634825-0.24996646581585447*e)*q
	mid := (0.19965568121152555 - 0.16454108268253484*e) + (0.13430125015523992-0.10131047006730597*e)*q
	hi := (0.06408778823759062 - 0.03023201334413028*e) + (0.009105977830829497-0.0012851431535920986*e)*q
	return e * (lo + r*(mid+r*hi))
}

// runLength is how many cells are in hand at a time.
const runLength = 256

// each calls f for stretches of cells with logits x and shares t, with
// exp(-|x|) of each and the place of the first.
func each(x, t []float32, f func(first int, x, t, e []float32)) {
	var buf [runLength]float32
	for at := 0; at < len(x); at += runLength {
		end := min(at+runLength, len(x))
		e := buf[:end-at]
		for i, v := range x[at:end] {
			e[i] = -math.Log2E * float32(math.Abs(float64(v)))
		}
		kernel.Exp2(e, e)
		f(at, x[at:end], t[at:end], e)
	}
}

// logs reports whether the loss has parts that are logarithms.
func (l Loss) logs() bool { return l.Focal != 0 || l.BCE != 0 }

// window is a prompt's window, empty if it has none.
func (o *Objective) window(prompt int) Window {
	if o.Windows == nil {
		return Window{}
	}
	return o.Windows[prompt]
}

// rows calls f for the stretches of a plane's rows that count and lie outside
// the window: from the first cell to the one after the last.
func (o *Objective) rows(w Window, y0, y1 int, f func(lo, hi int)) {
	for y := y0; y < y1; y++ {
		row := y * o.Side
		if y < w.Y0 || y >= w.Y1 || w.empty() {
			f(row, row+o.W)
			continue
		}
		f(row, row+w.X0)
		f(row+w.X1, row+o.W)
	}
}

func (o *Objective) plane(prompt, mask int) (logits, target []float32) {
	n := o.Side * o.Side
	return o.Logits[(prompt*len(o.Masks)+mask)*n:][:n], o.Target[prompt*n:][:n]
}

// Result is the loss of one prompt.
type Result struct {
	Loss  float64 // all parts
	Mask  float64 // the parts on pixels, of the best mask
	Error float64 // the mean squared error of the qualities
	Best  int     // the mask that has the least loss
	IoUs  []float64
}

// Value returns each prompt's loss.
func (o *Objective) Value() []Result { return o.value(o.sums()) }

func (o *Objective) value(all []sums) []Result {
	k := len(o.Masks)
	out := make([]Result, o.Prompts)
	cells := float64(o.H * o.W)
	for p := range out {
		r := &out[p]
		r.Mask = math.Inf(1)
		for m := range k {
			s := all[p*k+m]
			if v := o.mask(s, cells); !(v >= r.Mask) {
				r.Mask, r.Best = v, m
			}
			iou := s.iou()
			r.IoUs = append(r.IoUs, iou)
			d := float64(o.IoU[p*o.Qualities+o.Masks[m]]) - iou
			r.Error += d * d / float64(k)
		}
		r.Loss = r.Mask + o.Loss.IoU*r.Error
	}
	return out
}

func (s sums) iou() float64 {
	if s.either == 0 {
		return 1
	}
	return s.both / s.either
}

// bands is how many parts of a plane are summed up apart.
const bands = 8

func (o *Objective) sums() []sums {
	k := len(o.Masks)
	const parts = bands + 1 // the last one is the window
	each := make([]sums, o.Prompts*k*parts)
	kernel.Parallel(len(each), func(i int) {
		s := &each[i]
		plane, band := i/parts, i%parts
		w := o.window(plane / k)
		logits, target := o.plane(plane/k, plane%k)
		if band < bands {
			o.rows(w, band*o.H/bands, (band+1)*o.H/bands, func(lo, hi int) { s.count(logits[lo:hi], target[lo:hi], o.logs()) })
			return
		}
		w.each(logits, o.Side, func(x, t []float32) { s.count(x, t, o.logs()) })
		s.scale(w.area())
	})
	all := make([]sums, o.Prompts*k)
	for i, p := range each {
		all[i/parts].add(p)
	}
	return all
}

// count takes cells in.
func (s *sums) count(x, t []float32, logs bool) {
	each(x, t, func(_ int, xs, ts, es []float32) {
		var a sums
		for i, x := range xs {
			x, t := float64(x), float64(ts[i])
			c := at(x, t, float64(es[i]), logs)
			a.p += c.p
			a.t += t
			a.pt += c.p * t
			a.pp += c.p * c.p
			a.tt += t * t
			a.focal += c.focal
			a.bce += c.bce
			in, want := x > 0, t >= 0.5
			if in && want {
				a.both++
			}
			if in || want {
				a.either++
			}
		}
		s.add(a)
	})
}

func (s *sums) add(p sums) {
	s.p, s.t, s.pt, s.pp, s.tt = s.p+p.p, s.t+p.t, s.pt+p.pt, s.pp+p.pp, s.tt+p.tt
	s.focal, s.bce, s.both, s.either = s.focal+p.focal, s.bce+p.bce, s.both+p.both, s.either+p.either
}

// scale makes pixels of that area into cells.
func (s *sums) scale(a float64) {
	s.p, s.t, s.pt, s.pp, s.tt = s.p*a, s.t*a, s.pt*a, s.pp*a, s.tt*a
	s.focal, s.bce, s.both, s.either = s.focal*a, s.bce*a, s.both*a, s.either*a
}

// iouSlopes sets d, as long as IoU, to the gradient of the prompts' losses,
// each times its weight. The measured quality counts as a constant.
func (o *Objective) iouSlopes(d, weight []float32, results []Result) {
	k := len(o.Masks)
	clear(d)
	for p, r := range results {
		for m, iou := range r.IoUs {
			col := p*o.Qualities + o.Masks[m]
			d[col] += float32(float64(weight[p]) * o.Loss.IoU * 2 / float64(k) * (float64(o.IoU[col]) - iou))
		}
	}
}

// logitSlopes sets d, as long as Logits, to the gradient of the prompts'
// losses, each times its weight.
func (o *Objective) logitSlopes(d, weight []float32, all []sums, results []Result) {
	k, n := len(o.Masks), o.Side*o.Side
	cells := float64(o.H * o.W)
	clear(d)
	kernel.Parallel(o.Prompts, func(p int) {
		m := results[p].Best
		logits, target := o.plane(p, m)
		d := d[(p*k+m)*n:][:n]
		_, dpt, dp := o.dice(all[p*k+m])
		slopes := func(d, x, t []float32) {
			each(x, t, func(first int, xs, ts, es []float32) {
				for i, x := range xs {
					t := float64(ts[i])
					c := at(float64(x), t, float64(es[i]), o.logs())
					g := dpt*t + dp
					if o.SquaredDice {
						g = dpt*t + dp*2*c.p
					}
					g = o.Dice*g*c.p*(1-c.p) + o.Focal/cells*c.dfocal + o.BCE/cells*c.dbce
					d[first+i] = float32(float64(weight[p]) * g)
				}
			})
		}
		w := o.window(p)
		kernel.Parallel(bands, func(band int) {
			o.rows(w, band*o.H/bands, (band+1)*o.H/bands, func(lo, hi int) { slopes(d[lo:hi], logits[lo:hi], target[lo:hi]) })
		})
		w.spread(d, logits, o.Side, slopes)
	})
}

// Slopes sets dLogits and dIoU, as long as Logits and IoU, to the gradient of
// the prompts' losses, each times its weight, and returns the losses. The
// measured quality counts as a constant.
func (o *Objective) Slopes(dLogits, dIoU, weight []float32) []Result {
	all := o.sums()
	results := o.value(all)
	o.logitSlopes(dLogits, weight, all, results)
	o.iouSlopes(dIoU, weight, results)
	return results
}
