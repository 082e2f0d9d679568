// Command scale says what a cohort takes on many machines, by simulation: hours,
// machine hours, stragglers, what kills cost, bytes.
//
//	go run ./examples/cohort/scale
//	go run ./examples/cohort/scale -times results/times.csv -slides 5000 -machines 100 -kills 0.1
//
// With -times the tiles of slides and their seconds are drawn from those of a
// cohort that was done, a pilot of some slides on the machine that is meant.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strconv"

	"github.com/slidesam/sam/internal/sheet"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "scale:", err)
		}
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("scale", flag.ContinueOnError)
	fs.SetOutput(stderr)
	times := fs.String("times", "", "times.csv of a cohort `file` to draw tiles and seconds from; default: -tiles, -spread and -seconds")
	slides := fs.Int("slides", 1000, "slides")
	tiles := fs.Float64("tiles", 1200, "median tiles of a slide")
	spread := fs.Float64("spread", 0.7, "standard deviation of the logarithm of a slide's tiles")
	seconds := fs.Float64("seconds", 6.9, "seconds of a tile on one machine")
	machines := fs.Int("machines", 50, "machines at once")
	tasks := fs.Int("tasks", 0, "tasks of the array; 0: ten for each machine")
	part := fs.Int("part-tiles", 500, "most tiles of a part; 0: slides are not cut")
	open := fs.Float64("open", 3, "seconds to open a slide and lay it out, for each part")
	merge := fs.Float64("merge", 0.02, "seconds to merge a tile")
	begin := fs.Float64("begin", 5, "seconds to start a task")
	kills := fs.Float64("kills", 0, "kills of a machine in an hour, as of spot machines")
	again := fs.Float64("again", 120, "seconds until a killed task begins again")
	price := fs.Float64("price", 0, "price of a machine's hour; 0: no costs are printed")
	slideMB := fs.Float64("slide-mb", 1000, "megabytes of a slide")
	tileKB := fs.Float64("tile-kb", 500, "kilobytes that are written of a tile, outputs included")
	seed := fs.Uint64("seed", 1, "of the random numbers")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *part == 0 {
		*part = math.MaxInt32
	}
	if *tasks == 0 {
		*tasks = 10 * *machines
	}
	for name, v := range map[string]float64{"seconds": *seconds, "tiles": *tiles, "spread": *spread, "open": *open, "merge": *merge, "begin": *begin, "kills": *kills, "again": *again} {
		if !(v >= 0 && v < 1e9) {
			return fmt.Errorf("-%s %g, want 0 or more", name, v)
		}
	}
	if *slides < 1 || *slides > 1e7 || *machines < 1 || *machines > 1e6 || *tasks < 1 || *tasks > 1e7 || *part < 1 {
		return errors.New("-slides, -machines, -tasks and -part-tiles must be 1 or more, and not absurd")
	}
	p := plan{
		tile: []float64{*seconds}, open: *open, merge: *merge, begin: *begin, kills: *kills, again: *again,
		machines: *machines, tasks: *tasks, partTiles: *part, seed: *seed,
	}
	rng := rand.New(rand.NewPCG(*seed, 2))
	var pilot []int
	if *times != "" {
		var err error
		if pilot, p.tile, err = readTimes(*times); err != nil {
			return err
		}
	}
	all := 0
	for range *slides {
		n := max(1, int(*tiles*math.Exp(*spread*rng.NormFloat64())))
		if pilot != nil {
			n = pilot[rng.IntN(len(pilot))]
		}
		p.slides = append(p.slides, n)
		all += n
	}
	if p.kills*slowest(p.tile) > 3600 {
		return fmt.Errorf("%g kills an hour with tiles of up to %g seconds: no tile would end", p.kills, slowest(p.tile))
	}
	o := simulate(p)
	fmt.Fprintf(stdout, "%d slides, %d tiles, %d units in %d tasks on %d machines\n", *slides, all, o.Units, p.tasks, p.machines)
	fmt.Fprintf(stdout, "%.1f hours, %.0f machine hours, %.1f %% of them in tiles\n", o.Hours, o.Machine, 100*o.Search/o.Machine)
	fmt.Fprintf(stdout, "the longest task takes %.2f times as long as the median one; %d kills, %d tiles lost\n", o.Last, o.Kills, o.LostTile)
	fmt.Fprintf(stdout, "%.3g TB read, %.3g TB written, %.3g million files of tiles\n", float64(*slides)**slideMB/1e6, float64(all)**tileKB/1e9, float64(all)/1e6)
	if *price > 0 {
		fmt.Fprintf(stdout, "%.4g for all, %.3g for a slide\n", o.Machine**price, o.Machine**price/float64(*slides))
	}
	return nil
}

func slowest(tile []float64) float64 {
	m := 0.0
	for _, s := range tile {
		m = max(m, s)
	}
	return m
}

// readTimes returns the tiles of each slide of a cohort, and the seconds of a
// tile in each part.
func readTimes(path string) (tiles []int, seconds []float64, err error) {
	head, rows, err := sheet.Read(path)
	if err != nil {
		return nil, nil, err
	}
	id, n, s := sheet.Column(head, "id"), sheet.Column(head, "tiles"), sheet.Column(head, "seconds")
	if id < 0 || n < 0 || s < 0 {
		return nil, nil, fmt.Errorf("%s: columns %q, want id, tiles and seconds", path, head)
	}
	at := map[string]int{}
	for k, r := range rows {
		count, e1 := strconv.Atoi(r[n])
		took, e2 := strconv.ParseFloat(r[s], 64)
		if e1 != nil || e2 != nil || count < 0 || !(took >= 0 && took < 1e9) {
			return nil, nil, fmt.Errorf("%s: line %d: %q tiles in %q seconds", path, k+2, r[n], r[s])
		}
		i, ok := at[r[id]]
		if !ok {
			i = len(tiles)
			at[r[id]], tiles = i, append(tiles, 0)
		}
		tiles[i] += count
		if count > 0 {
			seconds = append(seconds, took/float64(count))
		}
	}
	if len(seconds) == 0 {
		return nil, nil, fmt.Errorf("%s: no tile was searched", path)
	}
	return tiles, seconds, nil
}
