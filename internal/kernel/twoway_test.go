package kernel

import (
	"fmt"
	"math"
	"runtime"
	"testing"
)

// twoWayTolerance bounds the error of maps and means whose values are near 1:
// scores of up to 40 products of size 1, softmaxes and a norm in float32.
const twoWayTolerance = 2e-5

// softmax64 replaces s by its softmax.
func softmax64(s []float64) {
	top := math.Inf(-1)
	for _, v := range s {
		top = math.Max(top, v)
	}
	sum := 0.0
	for i, v := range s {
		s[i] = math.Exp(v - top)
		sum += s[i]
	}
	for i := range s {
		s[i] /= sum
	}
}

// twoWayRef is TwoWay in float64, with rows in place of panels: the maps x,
// and queries and positions [Cells, D].
func twoWayRef(t TwoWay, x, queries, positions []float32) (maps, found []float64) {
	c, d, ht, hr, all := t.Channels, t.Heads*t.HeadDim, t.Heads*t.Tokens, t.Heads*t.Readers, x
	score := func(x []float64, known, token, absorbed []float32, h int) float64 {
		s := 0.0
		for k := h * t.HeadDim; k < (h+1)*t.HeadDim; k++ {
			s += float64(known[k]) * float64(token[k])
		}
		for k, v := range absorbed[:min(len(absorbed), c)] {
			s += x[k] * float64(v)
		}
		return s / math.Sqrt(float64(t.HeadDim))
	}
	row := func(m []float32, i, n int) []float32 {
		if m == nil {
			return nil
		}
		return m[i*n : (i+1)*n]
	}
	for p := range t.Prompts {
		xs := make([][]float64, t.Cells)
		for i := range xs {
			at := i
			if !t.Shared {
				at += p * t.Cells
			}
			x := make([]float64, c)
			for k, v := range row(all, at, c) {
				x[k] = float64(v)
			}
			if xs[i] = x; t.Values == nil {
				continue
			}
			y := append([]float64(nil), x...)
			for h := range t.Heads {
				s := make([]float64, t.Tokens)
				for j := range s {
					s[j] = score(x, row(queries, i, d), row(t.Keys, p*t.Tokens+j, d), row(t.KeysX, p*ht+h*t.Tokens+j, c), h)
				}
				softmax64(s)
				for j, v := range s {
					for k, w := range row(t.Values, p*ht+h*t.Tokens+j, c) {
						y[k] += v * float64(w)
					}
				}
			}
			var mean, variance float64
			for _, v := range y {
				mean += v / float64(c)
			}
			for _, v := range y {
				variance += (v - mean) * (v - mean) / float64(c)
			}
			for k, v := range y {
				y[k] = (v-mean)/math.Sqrt(variance+float64(t.Eps))*float64(t.Gamma[k]) + float64(t.Beta[k])
			}
			xs[i] = y
			maps = append(maps, y...)
		}
		for h := range t.Heads {
			for j := range t.Readers {
				s := make([]float64, t.Cells)
				for i := range s {
					s[i] = score(xs[i], row(positions, i, d), row(t.Read, p*t.Readers+j, d), row(t.ReadX, p*hr+h*t.Readers+j, c), h)
				}
				softmax64(s)
				mean := make([]float64, c)
				for i, v := range s {
					for k := range mean {
						mean[k] += v * xs[i][k]
					}
				}
				found = append(found, mean...)
			}
		}
	}
	return maps, found
}

// twoWay returns a random case, and its maps, queries and positions as rows.
func twoWay(im *impl, prompts, cells, heads, hd, tokens, readers int, shared, look, known bool) (t TwoWay, x, queries, positions []float32) {
	const c = 20
	r := newRand(prompts, cells, heads, hd, tokens, readers)
	d, ht := heads*hd, heads*tokens
	panels := func(x []float32, n, k int) []float32 {
		var dst []float32
		for i := range len(x) / (n * k) {
			one := make([]float32, im.padded(n)*k)
			packPanels(im, one, x[i*n*k:], n, k)
			dst = append(dst, one...)
		}
		return guarded(dst, 3)
	}
	each := prompts
	if shared {
		each = 1
	}
	x, queries, positions = random(r, each*cells*c), random(r, cells*d), random(r, cells*d)
	t = TwoWay{
		Prompts: prompts, Cells: cells, Channels: c, Heads: heads, HeadDim: hd, Tokens: tokens, Readers: readers, Shared: shared, Eps: 1e-5,
		X: panels(x, cells, c), Positions: panels(positions, cells, d),
		Read: guarded(random(r, prompts*readers*d), 2), ReadX: guarded(random(r, prompts*heads*readers*c), 3),
	}
	if look {
		return t, x, queries, positions
	}
	t.Queries, t.Keys = panels(queries, cells, d), guarded(random(r, prompts*tokens*d), 5)
	t.Values, t.Gamma, t.Beta = guarded(random(r, prompts*ht*c), 6), guarded(random(r, c), 7), guarded(random(r, c), 1)
	if !known {
		t.KeysX = guarded(random(r, prompts*ht*c), 4)
	}
	return t, x, queries, positions
}

// mapsLen is the length of a case's resulting maps.
func mapsLen(im *impl, t TwoWay) int {
	if t.Values == nil {
		return 0
	}
	return t.Prompts * im.padded(t.Cells) * t.Channels
}

// rowsOf brings maps from panels into rows.
func rowsOf(im *impl, t TwoWay, maps []float32) []float32 {
	var rows []float32
	for size := im.padded(t.Cells) * t.Channels; len(maps) > 0; maps = maps[size:] {
		for i := range t.Cells {
			j := i / im.nr * im.nr
			for k := range t.Channels {
				rows = append(rows, maps[j*t.Channels+k*im.panelWidth(t.Cells-j)+i-j])
			}
		}
	}
	return rows
}

func TestTwoWay(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, s := range []struct{ prompts, cells, heads, hd, tokens, readers int }{
			{1, 1, 1, 1, 1, 1}, {2, 16, 2, 4, 5, 2}, {1, 33, 8, 2, 7, 7}, {3, 49, 1, 3, 13, 4}, {2, 300, 3, 2, 6, 13}, {1, 520, 2, 5, 16, 16},
		} {
			for flags := range 8 {
				shared, look, known := flags&1 != 0, flags&2 != 0, flags&4 != 0
				if look && known {
					continue
				}
				t.Run(fmt.Sprintf("%+v/shared=%t/look=%t/known=%t", s, shared, look, known), func(t *testing.T) {
					k, x, queries, positions := twoWay(im, s.prompts, s.cells, s.heads, s.hd, s.tokens, s.readers, shared, look, known)
					wantMaps, wantFound := twoWayRef(k, x, queries, positions)
					maps, found := newCanary(mapsLen(im, k), 2), newCanary(len(wantFound), 5)
					k.run(im, maps.out, found.out)
					maps.check(t, 2, nil)
					found.check(t, 5, nil)
					closeTo(t, wantMaps, rowsOf(im, k, maps.out), twoWayTolerance, twoWayTolerance)
					closeTo(t, wantFound, found.out, twoWayTolerance, twoWayTolerance)
					if shared || look {
						return
					}
					// In place.
					first := append([]float32(nil), maps.out...)
					k.run(im, k.X, found.out)
					sameBits(t, first, k.X)
				})
			}
		}
	})
}

// TestTwoWayBits: the same bits for any number of goroutines, and for a
// prompt alone or among others.
func TestTwoWayBits(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	k, _, _, _ := twoWay(active, 3, 700, 8, 2, 7, 7, true, false, false)
	size := active.padded(700) * 20
	maps, found := make([]float32, 3*size), make([]float32, 3*56*20)
	k.Run(maps, found)
	for _, procs := range []int{2, 3, 8} {
		runtime.GOMAXPROCS(procs)
		m, f := make([]float32, len(maps)), make([]float32, len(found))
		k.Run(m, f)
		sameBits(t, maps, m)
		sameBits(t, found, f)
	}
	one := k
	one.Prompts, one.Keys, one.Read = 1, k.Keys[2*7*16:], k.Read[2*7*16:]
	one.KeysX, one.ReadX, one.Values = k.KeysX[2*56*20:], k.ReadX[2*56*20:], k.Values[2*56*20:]
	m, f := make([]float32, size), make([]float32, 56*20)
	one.Run(m, f)
	sameBits(t, maps[2*size:], m)
	sameBits(t, found[2*56*20:], f)
}

func FuzzTwoWay(f *testing.F) {
	f.Add(uint8(0), uint16(0), uint8(0), uint8(0), uint8(0), uint8(0))
	f.Add(uint8(1), uint16(255), uint8(7), uint8(2), uint8(6), uint8(4))
	f.Fuzz(func(t *testing.T, prompts uint8, cells16 uint16, heads8, dim8, tokens8, flags uint8) {
		n, cells, heads, hd := int(prompts)%3+1, int(cells16)%600+1, int(heads8)%8+1, int(dim8)%6+1
		tokens, readers := int(tokens8)%16+1, int(tokens8)/16+1
		for _, im := range impls() {
			k, x, queries, positions := twoWay(im, n, cells, heads, hd, tokens, readers, flags&1 != 0, flags&2 != 0, flags&4 != 0)
			wantMaps, wantFound := twoWayRef(k, x, queries, positions)
			maps, found := newCanary(mapsLen(im, k), 1), newCanary(len(wantFound), 2)
			k.run(im, maps.out, found.out)
			maps.check(t, 1, nil)
			found.check(t, 2, nil)
			// A fuzzer meets norms of nearly equal values, too.
			closeTo(t, wantMaps, rowsOf(im, k, maps.out), 5*twoWayTolerance, twoWayTolerance)
			closeTo(t, wantFound, found.out, 5*twoWayTolerance, twoWayTolerance)
		}
	})
}

func BenchmarkTwoWay(b *testing.B) {
	for _, im := range impls() {
		b.Run("impl="+im.name, func(b *testing.B) {
			const n, c, d, ht = 4096, 256, 128, 56
			r := newRand(1)
			panels := make([]float32, im.padded(n)*d)
			packPanels(im, panels, random(r, n*d), n, d)
			k := TwoWay{
				Prompts: 1, Cells: n, Channels: c, Heads: 8, HeadDim: 16, Tokens: 7, Readers: 7, Eps: 1e-5,
				X: random(r, n*c), Positions: panels, Read: random(r, 7*d), ReadX: random(r, ht*c),
				Queries: panels, Keys: random(r, 7*d), KeysX: random(r, ht*c), Values: random(r, ht*c), Gamma: random(r, c), Beta: random(r, c),
			}
			maps, found := make([]float32, n*c), make([]float32, ht*c)
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			rate(b, im, 2*n*(4*ht*c+2*7*d), func() { k.run(im, maps, found) })
		})
	}
}
