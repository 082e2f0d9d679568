package main

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
)

// plan is what is simulated. Times are in seconds.
type plan struct {
	slides    []int     // tiles of each slide
	tile      []float64 // seconds of tiles, drawn from at random
	open      float64   // to open a slide and lay out its tiles, each time a part begins
	merge     float64   // to merge a tile's objects
	begin     float64   // to start a task's process, or start it again
	kills     float64   // of a machine in an hour
	again     float64   // until a killed task begins again
	machines  int
	tasks     int // of the array
	partTiles int
	seed      uint64
}

// unit is a slide, or one of its parts, which are merged in the end.
type unit struct {
	tiles int
	whole bool
}

// outcome is what a simulation gives.
type outcome struct {
	Units    int
	Hours    float64 // until the last task ends, and the merging of parts on the same machines
	Machine  float64 // machine hours that are paid: each machine until its last task ends
	Search   float64 // machine hours that went into tiles
	Last     float64 // hours of the longest task by those of the median one
	Kills    int
	LostTile int // tiles begun and killed
}

// simulate does a cohort as the templates do: task k takes every tasks-th unit
// from the k-th on, tasks go to machines in their order as machines become
// free, and the parts of slides are merged in the end.
func simulate(p plan) outcome {
	rng := rand.New(rand.NewPCG(p.seed, 1))
	var o outcome
	tasks := make([][]unit, p.tasks)
	merging := 0
	for _, tiles := range p.slides {
		parts := max(1, (tiles+p.partTiles-1)/p.partTiles)
		if parts > 1 {
			merging += tiles
		}
		for k := range parts {
			t := o.Units % p.tasks
			tasks[t] = append(tasks[t], unit{(tiles - k + parts - 1) / parts, parts == 1})
			o.Units++
		}
	}
	free := make(clock, min(p.machines, p.tasks))
	lengths := make([]float64, 0, p.tasks)
	for _, units := range tasks {
		at := heap.Pop(&free).(float64)
		end := p.task(at, units, rng, &o)
		if len(units) > 0 {
			lengths = append(lengths, end-at)
		}
		heap.Push(&free, end)
	}
	for _, t := range free {
		o.Hours = max(o.Hours, t/3600)
		o.Machine += t / 3600
	}
	join := float64(merging) * p.merge / 3600 // by -merge -shard on all machines
	o.Hours += join / float64(p.machines)
	o.Machine += join
	slices.Sort(lengths)
	o.Last = lengths[len(lengths)-1] / lengths[len(lengths)/2]
	return o
}

// task returns when a task that begins at a time ends. A kill loses the tile
// that is searched, and costs the start, the wait and the layout of the unit.
func (p plan) task(at float64, units []unit, rng *rand.Rand, o *outcome) float64 {
	next := math.Inf(1)
	kill := func() {
		if p.kills > 0 {
			next = at + rng.ExpFloat64()*3600/p.kills
		}
	}
	kill()
	at += p.begin
	for _, u := range units {
		at += p.open
		for left := u.tiles; left > 0; {
			s := p.tile[rng.IntN(len(p.tile))]
			if at+s > next {
				o.Kills++
				o.LostTile++
				at = next + p.again
				kill()
				at += p.begin + p.open
				continue
			}
			at += s
			o.Search += s / 3600
			left--
		}
		if u.whole {
			at += float64(u.tiles) * p.merge
		}
	}
	return at
}

// clock is when machines become free, the earliest first.
type clock []float64

// Len, Less, Swap, Push and Pop make it a heap.
func (c clock) Len() int           { return len(c) }
func (c clock) Less(i, k int) bool { return c[i] < c[k] }
func (c clock) Swap(i, k int)      { c[i], c[k] = c[k], c[i] }

// Push adds a machine.
func (c *clock) Push(x any) { *c = append(*c, x.(float64)) }

// Pop takes the last one.
func (c *clock) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}
