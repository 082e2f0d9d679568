package kernel

// An impl is one implementation of the inner loops. The drivers above it
// (blocking, packing, scheduling) are the same for all.
//
// A panel is a matrix of w columns stored without gaps, where w is nr or
// half; its columns are the lanes of one or two vectors. Inner loops trust
// their arguments: callers make sure that every slice is long enough.
type impl struct {
	name string

	mr   int // most rows of a tile
	nr   int // columns of a full panel
	half int // columns of a narrow panel; a divisor of nr
	cols int // columns of a product in hand at a time; a multiple of nr

	// tile[v][r-1] computes r rows of a product with a panel of half (v = 0)
	// or nr (v = 1) columns:
	//
	//	c[i*ldc+j] = d[i*ldd+j] + sum over p < k of a[p*lda+i] * b[p*w+j]
	//
	// with the sum started at zero and taken in order of p. A nil d is zero.
	// d may be c, and its rows may be one and the same (ldd = 0).
	tile [2][]tileFunc

	// strip is tile[1][mr-1] for n panels that follow each other:
	//
	//	c[i*ldc+q*nr+j] = d[i*ldd+q*nr+j] + sum over p < k of a[p*lda+i] * b[(q*k+p)*nr+j]
	strip func(n, k int, a []float32, lda int, b, c []float32, ldc int, d []float32, ldd int)

	// stack is tile[1][mr-1] for n tiles that follow each other:
	//
	//	c[(q*mr+i)*ldc+j] = d[(q*mr+i)*ldd+j] + sum over p < k of a[(q*k+p)*mr+i] * b[p*nr+j]
	stack func(n, k int, a, b, c []float32, ldc int, d []float32, ldd int)

	// rowStrip is strip for rows that are not packed, a[i*lda+p] in the place of
	// a[p*lda+i]; nil if there is none.
	rowStrip func(n, k int, a []float32, lda int, b, c []float32, ldc int, d []float32, ldd int)

	// The transforms of Winograd's convolutions, for n channels, whole blocks of
	// lanes: see winogradInGeneric and winogradOutGeneric.
	winogradIn  func(dst []float32, tap int, src []float32, row, px int, scale, shift, tmp []float32, n int)
	winogradOut func(dst []float32, row, px int, src []float32, tap int, bias []float32, floor float32, tmp []float32, n int)

	// Ops of maps for n channels of c, whole blocks of lanes: see depthwiseGeneric,
	// scaleShiftGeneric and channelSumsGeneric.
	depthwise   func(dst, bias, a, b, e, w []float32, c, n int)
	scaleShift  func(dst, x, scale, shift []float32, rows, c, n int)
	channelSums func(sum, square []float64, x []float32, ld, rows, n int)

	// transposeRows[r-1] sets dst[j*ldd+i] = src[i*lds+j] for i < r, j < n.
	transposeRows [4]func(dst []float32, ldd int, src []float32, lds, n int)

	// transpose8 is the same for 8 rows and n a multiple of 8; nil if there is none.
	transpose8 func(dst []float32, ldd int, src []float32, lds, n int)

	// prefetch brings rows of n elements, lds apart, near. It may do nothing.
	prefetch func(src []float32, lds, rows, n int)

	// biasMax adds relative positions to scores and keeps the maximum:
	// for y < rows, x < cols:
	//
	//	s[y*cols+x] += rw[x] + rh[y];  m = max(m, s[y*cols+x])
	//
	// where each element is a row of w lanes.
	biasMax func(s, rw, rh, m []float32, rows, cols, w int)

	// maxRows sets m = max(m, s[i]) over n rows of w lanes.
	maxRows func(s, m []float32, n, w int)

	// expSum sets s[i] = 2^(s[i]-m) and adds the sum over i to l, over n
	// rows of w lanes.
	expSum func(s, m, l []float32, n, w int)

	// mulRows sets o[i] *= c over n rows of w lanes.
	mulRows func(o, c []float32, n, w int)

	// widen sets dst to the values of halves, which are finite: IEEE 754
	// binary16.
	widen func(dst []float32, src []uint16)
	// narrow rounds src, magnitudes up to MaxHalf, to halves, ties to even.
	narrow func(dst []uint16, src []float32)

	add       func(dst, a, b []float32)
	mul       func(dst, a, b []float32)
	scale     func(dst, x []float32, a float32)
	blend     func(dst, a, b []float32, wa, wb float32)
	above     func(dst []uint64, x []float32, limit float32)
	relu      func(dst, x []float32)
	gelu      func(dst, x []float32)
	exp2      func(dst, x []float32)
	layerNorm func(dst, x, gamma, beta []float32, rows, c int, eps float32)

	// Gradients; normGradParams adds to its sums.
	geluGrad       func(dst, dy, x []float32)
	normGradX      func(dx, dy, x, gamma []float32, rows, c int, eps float32)
	normGradParams func(dgamma, dbeta, dy, x []float32, rows, c int, eps float32)

	// interpolate sets dst[i] = src[i0[i]]*w0[i] + src[i1[i]]*w1[i], with both
	// products rounded, for whole blocks of lanes elements; what is left of dst
	// is not written.
	interpolate func(dst, src []float32, i0, i1 []int32, w0, w1 []float32)
	lanes       int

	// normCols normalises each lane of n rows of w lanes as layerNorm does
	// rows of x; gamma and beta have an element for each row.
	normCols func(o, gamma, beta []float32, n, w int, eps float32)

	// fma runs n rounds of independent fused multiply-adds and returns the
	// floating-point operations done.
	fma func(n int) int
}

type tileFunc func(k int, a []float32, lda int, b, c []float32, ldc int, d []float32, ldd int)

// active is the implementation in use; it is set before main starts.
var active = impls()[0]

// Name returns the name of the implementation in use: "generic", "avx2",
// "avx512" or "neon".
func Name() string { return active.name }

// panelWidth returns the width of the next panel when left columns remain: a
// narrow one where that is enough.
func (im *impl) panelWidth(left int) int {
	if left <= im.half {
		return im.half
	}
	return im.nr
}

// padded returns the width of n columns rounded up to whole panels.
func (im *impl) padded(n int) int {
	full := n / im.nr * im.nr
	if full == n {
		return n
	}
	return full + im.panelWidth(n-full)
}

// share returns the rows of the next tile when left rows are to be cut into
// tiles of nearly equal height.
func (im *impl) share(left int) int {
	tiles := (left + im.mr - 1) / im.mr
	return (left + tiles - 1) / tiles
}

// busyRows are as many as a tile needs to keep a processor busy: with fewer it
// waits for the sums.
const busyRows = 4

// height returns the rows of the next tile when left rows are left: the most, but
// the last two tiles share what is left if that is too few for the last.
func (im *impl) height(left int) int {
	if left > im.mr && left < im.mr+busyRows {
		return (left + 1) / 2
	}
	return min(left, im.mr)
}

// fullTiles is how many tiles of n rows come first that surely have the most.
func (im *impl) fullTiles(n int) int {
	if rest := n % im.mr; rest > 0 && rest < busyRows {
		n -= im.mr
	}
	return max(0, n/im.mr)
}

// tileOf returns the tile function for r rows and w columns.
func (im *impl) tileOf(r, w int) tileFunc {
	if w == im.nr {
		return im.tile[1][r-1]
	}
	return im.tile[0][r-1]
}

// transpose sets dst[j*ldd+i] = src[i*lds+j] for i < rows, j < cols.
func (im *impl) transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	for i := 0; i < rows; i += 4 {
		im.transposeRows[min(4, rows-i)-1](dst[i:], ldd, src[i*lds:], lds, cols)
	}
}

// turn is transpose for what is in the caches and has many rows and columns.
func (im *impl) turn(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	i, whole := 0, cols&^7
	if im.transpose8 != nil && whole > 0 {
		for ; i+8 <= rows; i += 8 {
			im.transpose8(dst[i:], ldd, src[i*lds:], lds, whole)
			if whole < cols {
				im.transpose(dst[whole*ldd+i:], ldd, src[i*lds+whole:], lds, 8, cols-whole)
			}
		}
	}
	if i < rows {
		im.transpose(dst[i:], ldd, src[i*lds:], lds, rows-i, cols)
	}
}
