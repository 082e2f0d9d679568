package kernel

import "testing"

// TestStack: a stack has the bits of its tiles.
func TestStack(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		r, w := im.mr, im.nr
		for n := 1; n <= 3; n++ {
			for k := 1; k <= 7; k++ {
				for off := range 8 {
					rnd := newRand(n, k, off)
					ldc := w + off%2
					a := guarded(random(rnd, n*k*r), off)
					b := guarded(random(rnd, k*w), (off+3)%8)
					got, want := newCanary((n*r-1)*ldc+w, off), newCanary((n*r-1)*ldc+w, off)
					var d, before []float32
					ldd := 0
					switch off % 4 {
					case 1: // one row for all
						d = guarded(random(rnd, w), off)
						before = d
					case 2: // in place
						for i := range got.out {
							if i%ldc < w {
								got.out[i], want.out[i] = float32(i), float32(i)
							}
						}
						d, before, ldd = got.out, want.out, ldc
					case 3:
						ldd = w + 3
						d = guarded(random(rnd, (n*r-1)*ldd+w), off)
						before = d
					}
					im.stack(n, k, a, b, got.out, ldc, d, ldd)
					for q := range n {
						var from []float32
						if before != nil {
							from = before[q*r*ldd:]
						}
						im.tile[1][r-1](k, a[q*k*r:], r, b, want.out[q*r*ldc:], ldc, from, ldd)
					}
					got.check(t, off, func(i int) bool { return i%ldc >= w })
					sameBits(t, want.buf, got.buf)
				}
			}
		}
	})
}

// TestTurn moves what transpose moves, whatever is left of blocks of 8.
func TestTurn(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for rows := 1; rows <= 25; rows++ {
			for cols := 1; cols <= 25; cols++ {
				off := (3*rows + cols) % 8
				lds, ldd := cols+off%3, rows+off%2
				src := guarded(random(newRand(rows, cols), (rows-1)*lds+cols), off)
				got := newCanary((cols-1)*ldd+rows, off)
				im.turn(got.out, ldd, src, lds, rows, cols)
				got.check(t, off, func(i int) bool { return i%ldd >= rows })
				for i := range rows {
					for j := range cols {
						if got.out[j*ldd+i] != src[i*lds+j] {
							t.Fatalf("%d x %d: row %d, column %d: %v, want %v", rows, cols, i, j, got.out[j*ldd+i], src[i*lds+j])
						}
					}
				}
			}
		}
	})
}

// TestTiles: packed either way, the tiles of all heights give the product.
func TestTiles(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		const k = 5
		for n := 1; n <= 4*im.mr; n++ {
			rnd := newRand(n)
			x := random(rnd, n*k)
			turned := make([]float32, n*k)
			for i := range n {
				for p := range k {
					turned[p*n+i] = x[i*k+p]
				}
			}
			tiles, other := make([]float32, n*k), make([]float32, n*k)
			im.packTiles(tiles, x, n, k)
			im.packTilesKN(other, turned, k, n)
			sameBits(t, tiles, other)
			for _, w := range []int{im.half, im.nr} {
				b, d := random(rnd, k*w), random(rnd, n*w)
				c := make([]float32, n*w)
				im.tiles(n, k, w, guarded(tiles, n%8), b, c, d, w)
				want := make([]float64, n*w)
				for i := range want {
					want[i] = float64(d[i])
					for p := range k {
						want[i] += float64(x[i/w*k+p]) * float64(b[p*w+i%w])
					}
				}
				closeTo(t, want, c, 1e-5, 0) // five products of magnitude 1 in float32
			}
		}
	})
}

// TestHeight: tiles take all rows, the full ones first, and none is too short to
// keep a processor busy if another could give it rows.
func TestHeight(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for n := 1; n <= 100; n++ {
			full, tiles, short := 0, 0, false
			for left := n; left > 0; tiles++ {
				h := im.height(left)
				if h < 1 || h > im.mr {
					t.Fatalf("%d rows of %d left: a tile of %d", left, n, h)
				}
				if h == im.mr && full == tiles {
					full++
				}
				short = short || h < min(busyRows, im.mr)/2 && n > h
				left -= h
			}
			if full < im.fullTiles(n) || full > im.fullTiles(n)+1 || tiles != (n+im.mr-1)/im.mr || short {
				t.Fatalf("%d rows: %d tiles, %d full, short %v; fullTiles says %d", n, tiles, full, short, im.fullTiles(n))
			}
		}
	})
}
