package instance

import (
	"context"
	"image"
	"math/bits"

	"github.com/slidesam/sam/internal/mask"
)

// levels is how many heights the watershed tells apart.
const levels = 1 << 16

// flood is the watershed of one part of the foreground, whose pixels it numbers
// row by row. Its memory is kept for the next part.
//
// Labels grow from the seeds over the part, lowest levels first: 4-connected; a
// pixel takes its label when it is first reached, and is grown from when the
// flood has come to its level. Among pixels of one level the one that was
// reached last goes first.
//
// Source: segmentation/watershed.hxx, watershed_2d (bioimage-cpp 0.10.0).
type flood struct {
	label      []uint32 // 0: none yet
	level      []uint16
	up, down   []int32 // pixel + 1, 0: none
	left       []bool  // the pixel before is the one on the left
	below      []int32 // on its level's stack: pixel + 1, 0: none
	top        [levels]int32
	busy       [levels / 64]uint64 // levels with a pixel on their stack
	seeds      []image.Point       // first pixel of each
	parents    []int               // of runs of seeds
	seedRuns   []seedRun
	numberOf   []uint32
	seedAbove  int // of seedRuns: where those of the row above begin
	seedsBegun int // and those of the present row
}

// seedRun is a run of pixels of a row that are seeds.
type seedRun struct {
	y, x0, x1, at int // at: number of its first pixel
}

// run floods a part, given as its runs in order.
func (f *flood) run(ctx context.Context, runs []run) error {
	f.lay(runs)
	f.plant(runs)
	for p, l := range f.label {
		if l != 0 {
			f.push(int(f.level[p]), p)
		}
	}
	popped := 0
	for l := f.next(0); l < levels; l = f.next(l) {
		if popped++; popped%(1<<16) == 0 && ctx.Err() != nil {
			f.empty()
			return ctx.Err()
		}
		p := int(f.top[l] - 1)
		if f.top[l] = f.below[p]; f.top[l] == 0 {
			f.busy[l/64] &^= 1 << (l % 64)
		}
		reach := func(q int) {
			if f.label[q] == 0 {
				f.label[q] = f.label[p]
				f.push(max(int(f.level[q]), l), q)
			}
		}
		f.around(p, reach)
	}
	return nil
}

// around hands on the neighbours of a pixel: up, down, left, right.
func (f *flood) around(p int, each func(int)) {
	if q := f.up[p]; q > 0 {
		each(int(q - 1))
	}
	if q := f.down[p]; q > 0 {
		each(int(q - 1))
	}
	if f.left[p] {
		each(p - 1)
	}
	if p+1 < len(f.left) && f.left[p+1] {
		each(p + 1)
	}
}

func (f *flood) push(l, p int) {
	f.below[p] = f.top[l]
	f.top[l] = int32(p + 1)
	f.busy[l/64] |= 1 << (l % 64)
}

// next returns the first level from l on that has a pixel on its stack, levels
// if none has.
func (f *flood) next(l int) int {
	i := l / 64
	w := f.busy[i] &^ (1<<(l%64) - 1)
	for w == 0 {
		if i++; i == len(f.busy) {
			return levels
		}
		w = f.busy[i]
	}
	return i*64 + bits.TrailingZeros64(w)
}

// empty clears the stacks.
func (f *flood) empty() {
	clear(f.top[:])
	clear(f.busy[:])
}

// lay numbers the pixels and finds their neighbours.
func (f *flood) lay(runs []run) {
	n := 0
	for _, r := range runs {
		n += len(r.pixels)
	}
	f.label, f.level = room(f.label, n), room(f.level, n)
	f.up, f.down, f.below, f.left = room(f.up, n), room(f.down, n), room(f.below, n), room(f.left, n)
	above, aboveAt := 0, 0 // the first run that may lie above the present one, and its first pixel
	at := 0
	for _, r := range runs {
		for above < len(runs) && (runs[above].y < r.y-1 || runs[above].y == r.y-1 && runs[above].x1() <= r.x0) {
			aboveAt += len(runs[above].pixels)
			above++
		}
		for i, k := above, aboveAt; runs[i].y == r.y-1 && runs[i].x0 < r.x1(); i++ {
			for x := max(runs[i].x0, r.x0); x < min(runs[i].x1(), r.x1()); x++ {
				p, q := at+x-r.x0, k+x-runs[i].x0
				f.up[p], f.down[q] = int32(q+1), int32(p+1)
			}
			k += len(runs[i].pixels)
		}
		for i := range r.pixels {
			f.level[at+i], f.left[at+i] = r.pixels[i].level, i > 0
		}
		at += len(r.pixels)
	}
}

// room returns n zeros, in s if it is large enough.
func room[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// plant labels the 8-connected parts of the seeds, from 1 on in the order of
// their first pixels.
func (f *flood) plant(runs []run) {
	f.seedRuns, f.parents, f.seeds = f.seedRuns[:0], f.parents[:0], f.seeds[:0]
	f.seedAbove, f.seedsBegun = 0, 0
	at := 0
	for _, r := range runs {
		for i := 0; i < len(r.pixels); i++ {
			i0 := i
			for i < len(r.pixels) && r.pixels[i].seed {
				i++
			}
			if i > i0 {
				f.plantRun(seedRun{r.y, r.x0 + i0, r.x0 + i, at + i0})
			}
		}
		at += len(r.pixels)
	}
	f.numberOf = room(f.numberOf, len(f.seedRuns))
	for i, s := range f.seedRuns {
		n := &f.numberOf[f.rootOf(i)]
		if *n == 0 {
			f.seeds = append(f.seeds, image.Pt(s.x0, s.y))
			*n = uint32(len(f.seeds))
		}
		for k := range s.x1 - s.x0 {
			f.label[s.at+k] = *n
		}
	}
}

// plantRun joins the next run of seeds with those that it touches in the row
// above.
func (f *flood) plantRun(s seedRun) {
	n := len(f.seedRuns)
	if n > 0 && f.seedRuns[n-1].y != s.y {
		f.seedAbove, f.seedsBegun = f.seedsBegun, n
	}
	f.seedRuns, f.parents = append(f.seedRuns, s), append(f.parents, n)
	for f.seedAbove < f.seedsBegun && (f.seedRuns[f.seedAbove].y != s.y-1 || f.seedRuns[f.seedAbove].x1 < s.x0) {
		f.seedAbove++
	}
	for i := f.seedAbove; i < f.seedsBegun && f.seedRuns[i].x0 <= s.x1; i++ {
		a, b := f.rootOf(i), f.rootOf(n)
		f.parents[max(a, b)] = min(a, b)
	}
}

func (f *flood) rootOf(i int) int {
	for f.parents[i] != i {
		f.parents[i] = f.parents[f.parents[i]]
		i = f.parents[i]
	}
	return i
}

// instances returns what has grown from each seed, in the order of the labels.
func (f *flood) instances(runs []run) []grown {
	found := make([]grown, len(f.seeds))
	for i, s := range f.seeds {
		found[i].seed = s
	}
	at := 0
	for _, r := range runs {
		for i := 0; i < len(r.pixels); {
			l, x0 := f.label[at+i], i
			if l == 0 {
				i++
				continue
			}
			k := &found[l-1]
			for ; i < len(r.pixels) && f.label[at+i] == l; i++ {
				p := &r.pixels[i]
				if k.pixels == 0 || p.boundary < k.least {
					k.least, k.deep = p.boundary, image.Pt(r.x0+i, r.y)
				}
				k.pixels++
				k.sum += float64(p.foreground)
			}
			k.bounds = k.bounds.Union(image.Rect(r.x0+x0, r.y, r.x0+i, r.y+1))
			k.runs = append(k.runs, mask.Run{Y: r.y, X0: r.x0 + x0, X1: r.x0 + i})
		}
		at += len(r.pixels)
	}
	return found
}

// keep returns the runs of the pixels whose labels are kept, keep[0] not
// looked at, and of those without a label that may still be reached from below
// row y; and how many pixels these are.
func (f *flood) keep(runs []run, keep []bool, y int) (left []run, n int) {
	open := room(f.below, len(f.label)) // the stacks are empty
	var stack []int
	at := len(f.label)
	for i := len(runs) - 1; i >= 0 && runs[i].y == y; i-- {
		at -= len(runs[i].pixels)
		for k := range runs[i].pixels {
			if f.label[at+k] == 0 {
				open[at+k] = 1
				stack = append(stack, at+k)
			}
		}
	}
	for len(stack) > 0 {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		f.around(p, func(q int) {
			if f.label[q] == 0 && open[q] == 0 {
				open[q] = 1
				stack = append(stack, q)
			}
		})
	}
	at = 0
	for _, r := range runs {
		for i := 0; i < len(r.pixels); i++ {
			i0 := i
			for i < len(r.pixels) && (open[at+i] == 1 || f.label[at+i] != 0 && keep[f.label[at+i]]) {
				i++
			}
			if i > i0 {
				left = append(left, run{r.y, r.x0 + i0, append([]pixel(nil), r.pixels[i0:i]...)})
				n += i - i0
			}
		}
		at += len(r.pixels)
	}
	return left, n
}
