package cohort

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/slidesam/sam/internal/sheet"
)

// FuzzParse reads altered sheets, plans and records.
func FuzzParse(f *testing.F) {
	f.Add([]byte("slide,id,mpp\na.svs,x,0.5\n"))
	f.Add([]byte("unit,id,slide,part,parts,tiles\n0,a,a.svs,0,2,5\n1,a,a.svs,1,2,5\n"))
	f.Add([]byte(`{"id":"a","status":"done","classes":[{"objects":3}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRecord(b); err == nil && r.done() && len(r.Classes) == 0 {
			t.Fatal("done without counts")
		}
		head, rows, err := sheet.Parse(b)
		if err != nil {
			return
		}
		if slides, err := slidesOf(head, rows, "."); err == nil && len(slides) != len(rows) {
			t.Fatalf("%d slides of %d lines", len(slides), len(rows))
		}
		c := &Cohort{Slides: []Slide{{ID: "a"}}}
		if us, err := c.parseUnits(head, rows); err == nil && (us[0].Parts != len(us) || us[len(us)-1].Part != len(us)-1) {
			t.Fatalf("units %v of one slide", us)
		}
	})
}

func TestFences(t *testing.T) {
	low, high := fences([]float64{5, 1, 2, 4, 3})
	assert.Equal(t, []float64{-1, 7}, []float64{low, high}) // quartiles 2 and 4
	low, high = fences([]float64{1, 2, 3, 100})
	assert.Equal(t, []float64{math.Inf(-1), math.Inf(1)}, []float64{low, high}, "too few")
	assert.Equal(t, 7., quantile([]float64{7}, 0.5))
}
