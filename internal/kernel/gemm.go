package kernel

import "runtime"

// Act is the activation applied to a product.
type Act uint8

// The activations.
const (
	ActNone Act = iota
	ActReLU
	ActGELU // the exact (erf) form
)

// Epilogue is what is done to a product before it is stored:
//
//	y = act(x·w + bias) + add
//
// Bias has N elements; Add is [m, N] with rows LdAdd apart. Either may be nil.
// Add may be the destination itself, with the same row distance, but must not
// overlap it otherwise.
type Epilogue struct {
	Bias  []float32
	Act   Act
	Add   []float32
	LdAdd int
}

// Gemm sets dst [m, N] to the product of a [m, K] and the packed matrix,
// followed by the epilogue. ldd and lda are the distances between rows. The
// work is spread over the cores. dst must not overlap a.
func Gemm(dst []float32, ldd int, a []float32, lda, m int, b *Packed, e Epilogue) {
	needMatrix("gemm: a", len(a), m, b.K, lda)
	t := newGemm(dst, ldd, m, b, e)
	t.a, t.lda = a, lda
	t.start()
}

// GemmSerial is Gemm on the calling goroutine alone, for callers that are
// parallel themselves. It gives the same bits.
func GemmSerial(dst []float32, ldd int, a []float32, lda, m int, b *Packed, e Epilogue) {
	needMatrix("gemm: a", len(a), m, b.K, lda)
	t := newGemm(dst, ldd, m, b, e)
	t.a, t.lda = a, lda
	t.block(0, m, 0, b.N)
	t.free()
}

// Blocking. A task computes a few rows and usually all columns. The columns of
// b in hand, impl.cols, stay in the second-level cache while the rows of a,
// packed, pass by; a panel of a stays in the first.
const (
	blockRows  = 96   // rows of a task
	tailRows   = 24   // rows of the last tasks, so that all cores end together
	superK     = 1536 // inner elements packed at a time
	serialWork = 1 << 19
)

type gemmTask struct {
	im   *impl
	dst  []float32
	ldd  int
	m    int
	b    *Packed
	e    Epilogue
	a    []float32
	lda  int
	conv *convShape // not nil: a is a picture, its rows are 3 x 3 neighbourhoods

	shape    convShape
	rows     rowSplit
	colTasks int
	colStep  int
}

var gemmTasks freeList[gemmTask]

func newGemm(dst []float32, ldd, m int, b *Packed, e Epilogue) *gemmTask {
	needMatrix("gemm: dst", len(dst), m, b.N, ldd)
	if e.Bias != nil {
		need("gemm: bias", len(e.Bias), b.N)
	}
	if e.Add != nil {
		needMatrix("gemm: add", len(e.Add), m, b.N, e.LdAdd)
	}
	t := gemmTasks.get()
	t.im, t.dst, t.ldd, t.m, t.b, t.e, t.conv = b.im, dst, ldd, m, b, e, nil
	return t
}

func (t *gemmTask) free() {
	*t = gemmTask{}
	gemmTasks.put(t)
}

// start computes the whole product in parallel and frees the task.
func (t *gemmTask) start() {
	procs := runtime.GOMAXPROCS(0)
	if t.m > 0 && (procs == 1 || t.m*t.b.N*t.b.K < serialWork) {
		t.block(0, t.m, 0, t.b.N)
		t.free()
		return
	}
	t.rows = splitRows(t.m)
	// Few rows: split the columns too.
	t.colTasks, t.colStep = 1, t.b.N
	rows := t.rows.pieces()
	if rows > 0 && rows < 4*procs {
		want := min((4*procs+rows-1)/rows, (t.b.N+t.im.nr-1)/t.im.nr)
		t.colStep = (t.b.N/want + t.im.nr - 1) / t.im.nr * t.im.nr
		t.colTasks = (t.b.N + t.colStep - 1) / t.colStep
	}
	run(rows*t.colTasks, t)
	t.free()
}

func (t *gemmTask) run(i int) {
	c0 := i % t.colTasks * t.colStep
	c1 := min(c0+t.colStep, t.b.N)
	r0, r1 := t.rows.piece(i / t.colTasks)
	t.block(r0, r1, c0, c1)
}

// block computes rows [r0, r1) and columns [c0, c1), c0 a multiple of nr.
func (t *gemmTask) block(r0, r1, c0, c1 int) {
	im, b := t.im, t.b
	kSuper := min(b.K, superK/b.kc*b.kc)
	direct := t.e.Act == ActNone && t.e.Add == nil // whole panels go straight to dst
	cols := im.cols
	if b.K > kSuper {
		cols = c1 - c0 // partial sums of all columns wait for the next round
	}
	width := im.padded(min(cols, c1-c0))
	rowsIn := min(blockRows, r1-r0)

	s := arenas.get()
	gather, wide := 0, 0
	if b.half {
		wide = im.padded(min(im.cols, c1-c0)) * b.kc
	}
	if t.conv != nil {
		gather = im.mr * b.kc
	}
	s.reset(rowsIn*(kSuper+width) + im.nr + gather + wide)
	edge := s.take(im.nr) // bias of a last panel that is not full
	if full := b.N / im.nr * im.nr; t.e.Bias != nil && full < b.N {
		clear(edge[copy(edge, t.e.Bias[full:b.N]):])
	}
	ap := s.take(rowsIn * kSuper)
	sums := s.take(rowsIn * width)
	tmp, widened := s.take(gather), s.take(wide)

	for ; r0 < r1; r0 += blockRows {
		rows := min(blockRows, r1-r0)
		for k0 := 0; k0 < b.K; k0 += kSuper {
			k1 := min(k0+kSuper, b.K)
			t.packRows(ap, tmp, r0, rows, k0, k1)
			for j0 := c0; j0 < c1; j0 += cols {
				j1 := min(j0+cols, c1)
				t.panels(sums, width, ap, edge, widened, r0, rows, k0, k1, j0, j1, direct)
				if k1 == b.K {
					t.finish(sums, width, r0, rows, j0, j1, direct)
				}
			}
		}
	}
	arenas.put(s)
}

// packRows packs rows [r0, r0+rows) of a, inner elements [k0, k1): for each
// block of kc elements the panels of mr rows, transposed.
func (t *gemmTask) packRows(ap, tmp []float32, r0, rows, k0, k1 int) {
	im := t.im
	for ; k0 < k1; k0 += t.b.kc {
		kc := min(t.b.kc, k1-k0)
		for i := 0; i < rows; i += im.mr {
			r := min(im.mr, rows-i)
			if t.conv != nil {
				t.conv.gather(tmp, t.a, r0+i, r, k0, kc)
				im.transpose(ap[i*kc:], r, tmp, kc, r, kc)
			} else {
				im.transpose(ap[i*kc:], r, t.a[(r0+i)*t.lda+k0:], t.lda, r, kc)
			}
		}
		ap = ap[rows*kc:]
	}
}

// panels adds the inner elements [k0, k1) to the sums of columns [j0, j1);
// k0 = 0 starts them with the bias. The last inner elements of whole panels
// go to dst if direct is true.
func (t *gemmTask) panels(sums []float32, ld int, ap, edge, wide []float32, r0, rows, k0, k1, j0, j1 int, direct bool) {
	im, b := t.im, t.b
	for ; k0 < k1; k0 += b.kc {
		kc := min(b.kc, k1-k0)
		for at := j0; at < j1; at += im.cols {
			end := min(at+im.cols, j1)
			bp := b.panelsOf(wide, k0, kc, at, end)
			for i := 0; i < rows; i += im.mr {
				t.rowPanels(sums[i*ld+at-j0:], ld, ap[i*kc:], edge, bp, r0+i, min(im.mr, rows-i), k0, kc, at, end, direct)
			}
		}
		ap = ap[rows*kc:]
	}
}

// rowPanels is panels for one panel of r rows of a, and the panels bp of
// columns [j0, j1).
func (t *gemmTask) rowPanels(sums []float32, ld int, a, edge, bp []float32, row, r, k0, kc, j0, j1 int, direct bool) {
	im, b := t.im, t.b
	direct = direct && k0+kc == b.K
	full := b.N / im.nr * im.nr
	for j := j0; j < j1; {
		w, n := im.panelWidth(b.N-j), 1
		if r == im.mr {
			n = max(1, (min(j1, full)-j)/im.nr) // whole panels at once
		}
		whole := j+n*w <= b.N
		c, ldc := sums[j-j0:], ld
		d, ldd := c, ld
		if k0 == 0 {
			d, ldd = nil, 0
			if t.e.Bias != nil {
				d = edge
				if whole {
					d = t.e.Bias[j:]
				}
			}
		}
		if direct && whole {
			c, ldc = t.dst[row*t.ldd+j:], t.ldd
		}
		if panels := bp[(j-j0)*kc:]; n > 1 {
			im.strip(n, kc, a, r, panels, c, ldc, d, ldd)
		} else {
			im.tileOf(r, w)(kc, a, r, panels, c, ldc, d, ldd)
		}
		j += n * w
	}
}

// finish applies what is left of the epilogue to finished sums and stores
// them.
func (t *gemmTask) finish(sums []float32, ld, r0, rows, j0, j1 int, direct bool) {
	im, e := t.im, &t.e
	if direct {
		// Only a last panel that is not full is still in the sums.
		j := j1
		if full := t.b.N / im.nr * im.nr; j1 == t.b.N && j1 > full && im.panelWidth(t.b.N-full) > t.b.N-full {
			j = max(j0, full)
		}
		if j < j1 {
			for i := range rows {
				copy(t.dst[(r0+i)*t.ldd+j:][:j1-j], sums[i*ld+j-j0:])
			}
		}
		return
	}
	n := j1 - j0
	for i := range rows {
		s := sums[i*ld:][:n]
		d := t.dst[(r0+i)*t.ldd+j0:][:n]
		at := s // where the value is so far
		if e.Act != ActNone {
			if e.Add == nil {
				at = d
			}
			if e.Act == ActReLU {
				im.relu(at, s)
			} else {
				im.gelu(at, s)
			}
		}
		if e.Add != nil {
			im.add(d, at, e.Add[(r0+i)*e.LdAdd+j0:][:n])
		}
	}
}
