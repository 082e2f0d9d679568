package train

import (
	"math"
	"math/rand/v2"
)

// maxHeldBack is how many objects measure at most: more cost time at every
// measurement.
const maxHeldBack = 48

// HoldBack picks the objects of each field that only measure: the share of all
// that is asked for, but none if that leaves fewer than four to learn from.
// counts are the objects of the fields.
func HoldBack(counts []int, share float64, seed uint64) [][]int {
	type object struct{ field, i int }
	var all []object
	for i, n := range counts {
		for j := range n {
			all = append(all, object{i, j})
		}
	}
	rng := rand.New(rand.NewPCG(seed, 0xba5e))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	n := min(int(math.Round(share*float64(len(all)))), maxHeldBack)
	out := make([][]int, len(counts))
	if len(all)-n < 4 {
		return out
	}
	for _, x := range all[:n] {
		out[x.field] = append(out[x.field], x.i)
	}
	return out
}
