package kernel

// chunk is the number of elements that a task of an elementwise kernel takes.
const chunk = 1 << 14

type elementOp uint8

const (
	opAdd elementOp = iota
	opReLU
	opGELU
)

type elementTask struct {
	im        *impl
	op        elementOp
	dst, a, b []float32
}

var elementTasks freeList[elementTask]

func elementwise(im *impl, op elementOp, dst, a, b []float32) {
	t := elementTasks.get()
	*t = elementTask{im, op, dst, a, b}
	if len(dst) <= 2*chunk {
		t.span(0, len(dst))
	} else {
		run((len(dst)+chunk-1)/chunk, t)
	}
	*t = elementTask{}
	elementTasks.put(t)
}

func (t *elementTask) run(i int) { t.span(i*chunk, min((i+1)*chunk, len(t.dst))) }

func (t *elementTask) span(i, j int) {
	switch t.op {
	case opAdd:
		t.im.add(t.dst[i:j], t.a[i:j], t.b[i:j])
	case opReLU:
		t.im.relu(t.dst[i:j], t.a[i:j])
	case opGELU:
		t.im.gelu(t.dst[i:j], t.a[i:j])
	}
}

// GELU sets dst[i] = x[i]*Phi(x[i]), Phi the normal distribution function:
// the exact (erf) form. The absolute error is below 1e-7 beside the rounding
// of the result. dst has x's length and may be x, but must not overlap it
// otherwise.
func GELU(dst, x []float32) {
	need("gelu: x", len(x), len(dst))
	elementwise(active, opGELU, dst, x, nil)
}

// ReLU sets dst[i] = max(x[i], 0). dst has x's length and may be x, but must
// not overlap it otherwise.
func ReLU(dst, x []float32) {
	need("relu: x", len(x), len(dst))
	elementwise(active, opReLU, dst, x, nil)
}

// Add sets dst[i] = a[i] + b[i]. All have dst's length; dst may be a or b, but
// must not overlap them otherwise.
func Add(dst, a, b []float32) {
	need("add: a", len(a), len(dst))
	need("add: b", len(b), len(dst))
	elementwise(active, opAdd, dst, a, b)
}

// Exp2 sets dst[i] = 2^x[i], with a relative error below 1.5e-7 where that is
// between 2^-125 and 2^127; beyond, the nearer of the two. It runs on the
// calling goroutine. dst has x's length and may be x, but must not overlap it
// otherwise.
func Exp2(dst, x []float32) {
	need("exp2: x", len(x), len(dst))
	active.exp2(dst, x)
}
