package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSimulate holds what can be counted by hand.
func TestSimulate(t *testing.T) {
	// Two slides of 3600 tiles of a second on two machines, not cut.
	p := plan{slides: []int{3600, 3600}, tile: []float64{1}, machines: 2, tasks: 2, partTiles: 9999}
	o := simulate(p)
	assert.Equal(t, 2, o.Units)
	assert.InDelta(t, 1, o.Hours, 1e-9)
	assert.InDelta(t, 2, o.Machine, 1e-9)
	assert.InDelta(t, 2, o.Search, 1e-9)
	assert.InDelta(t, 1, o.Last, 1e-9)

	// One of them: the other machine is idle, unless it is cut.
	p.slides = p.slides[:1]
	assert.InDelta(t, 1, simulate(p).Hours, 1e-9)
	p.partTiles, p.open, p.merge = 1800, 36, 0.01 // merging 36 s on two machines
	o = simulate(p)
	assert.Equal(t, 2, o.Units)
	assert.InDelta(t, 0.5+0.01+0.005, o.Hours, 1e-9)
	assert.InDelta(t, 1+0.02+0.01, o.Machine, 1e-9)

	// Kills cost what they lose, and change nothing that is done.
	p = plan{slides: []int{100_000}, tile: []float64{2}, machines: 1, tasks: 1, partTiles: 1e9, kills: 1, again: 60, begin: 10, seed: 3}
	o = simulate(p)
	hours := 200_000. / 3600
	assert.InDelta(t, hours, o.Search, 1e-6)
	assert.InDelta(t, hours, float64(o.Kills), 4*7.5, "one an hour, within four standard deviations")
	lost := o.Hours - hours - (10+float64(o.Kills)*70)/3600
	assert.Positive(t, lost)
	assert.Less(t, lost, float64(o.Kills)*2/3600)
	assert.Equal(t, o, simulate(p), "one seed gives one result")
}

func TestRun(t *testing.T) {
	times := filepath.Join(t.TempDir(), "times.csv")
	require.NoError(t, os.WriteFile(times, []byte("id,part,parts,tiles,seconds\na,0,2,10,20\na,1,2,10,20\nb,0,1,20,40\n"), 0o600))
	var out bytes.Buffer
	require.NoError(t, run(strings.Fields("-slides 90 -machines 1 -tasks 1 -open 0 -begin 0 -merge 0 -price 2 -times "+times), &out, &out))
	assert.Contains(t, out.String(), "90 slides, 1800 tiles, 90 units in 1 tasks on 1 machines\n1.0 hours, 1 machine hours, 100.0 % of them in tiles")
	assert.Contains(t, out.String(), "2 for all")
	for args, want := range map[string]string{
		"-slides 0": "1 or more", "-seconds NaN": "-seconds NaN", "-kills 1000": "no tile would end", "-times nothing.csv": "nothing.csv", "-x": "-x",
	} {
		assert.ErrorContains(t, run(strings.Fields(args), &out, &out), want, args)
	}
	require.NoError(t, os.WriteFile(times, []byte("id,tiles,seconds\na,x,1\n"), 0o600))
	assert.ErrorContains(t, run([]string{"-times", times}, &out, &out), "line 2")
}
