//go:build gpu && cgo && linux

package cuda

import "fmt"

// Activations, as kern/device.cuh numbers them.
const (
	actNone = iota
	actReLU
	actGELU
)

func ceil(a, b int) int { return (a + b - 1) / b }

// product is a kernel for matrix products, [m, n] in square tiles.
type product struct {
	kernel  string
	tile    int
	threads int
	shared  int // bytes
}

// The products in fp32.
var (
	smallTiles = product{"linear_64", 64, 256, 0}
	largeTiles = product{"linear_128", 128, 256, 0}
)

// tensor is the product kernel on tensor cores of that name's prefix.
func (p Precision) tensor(prefix string) product {
	// Two stages of rows of 36 values, or three of 36 and of 40 16-bit values.
	shared := 2 * 128 * (36 + 36) * 4
	if p != TF32 {
		shared = 3 * 128 * (36*4 + 40*2)
	}
	return product{prefix + "_" + p.suffix(), 128, 256, shared}
}

// suffix is the precision in the kernels' names.
func (p Precision) suffix() string {
	switch p {
	case BF16:
		return "bf16"
	case FP16:
		return "f16"
	}
	return "tf32"
}

// tensorFits reports whether a product of m rows of k values runs on tensor
// cores: rows are read 16 bytes at a time, and few rows leave tiles empty.
func (p Precision) tensorFits(m, k int) bool { return p != FP32 && m >= 64 && k%8 == 0 }

func (p product) launch(m, n int) launch {
	return launch{kernel: p.kernel, grid: [3]int{ceil(n, p.tile), ceil(m, p.tile), 1}, block: [3]int{p.threads, 1, 1}, shared: p.shared}
}

// linearLaunch is act(a·wᵀ + bias) + add in fp32, with large tiles if they
// keep all multiprocessors busy. bias and add may be nil.
func (d *Device) linearLaunch(p Precision, a, w, bias, add any, m, n, k, act, addRows int) launch {
	use := smallTiles
	if p.tensorFits(m, k) {
		use = p.tensor("tensor_linear")
	} else if ceil(m, largeTiles.tile)*ceil(n, largeTiles.tile) >= 2*d.sms {
		use = largeTiles
	}
	l := use.launch(m, n)
	l.args = []any{a, w, bias, add, m, n, k, act, addRows}
	return l
}

// conv is a convolution's shape: maps of h x w pixels, square kernels.
type conv struct{ maps, h, w, in, out, size, stride, pad int }

// result is the size of a map of the result.
func (c conv) result() (h, w int) {
	return (c.h+2*c.pad-c.size)/c.stride + 1, (c.w+2*c.pad-c.size)/c.stride + 1
}

// tensor reports whether the convolution runs on tensor cores.
func (c conv) tensor(p Precision) bool {
	h, w := c.result()
	return p.tensorFits(c.maps*h*w, c.in)
}

// launch is act(the convolution + bias) + add; bias and add may be nil.
func (c conv) launch(p Precision, x, weight, bias, add any, act, addRows int) launch {
	oh, ow := c.result()
	m := c.maps * oh * ow
	use := product{"conv", 64, 256, 0}
	if c.tensor(p) {
		use = p.tensor("tensor_conv")
	}
	l := use.launch(m, c.out)
	l.args = []any{x, weight, bias, add, c.h, c.w, c.in, c.out, c.size, c.stride, c.pad, oh, ow, m, act, addRows}
	return l
}

// upscaleLaunch is a transposed convolution of rows rows of w pixels.
func upscaleLaunch(x, weight, bias any, rows, w, in, out, act int) launch {
	return launch{kernel: "upscale2x2", grid: [3]int{ceil(4*out, 64), ceil(rows*w, 64), 1}, block: [3]int{256, 1, 1},
		args: []any{x, weight, bias, rows, w, in, out, act}}
}

// Tiles of relpos_attention.
const (
	relPosQueries = 32
	relPosKeys    = 64
)

// relPosLaunch is the attention of a ViT block; window 0 is the whole map. In
// 16 bits it runs on tensor cores for heads of up to 80 channels.
func relPosLaunch(p Precision, qkv, relH, relW, pad any, h, w, window, heads, hd int) launch {
	sh, sw := window, window
	if window == 0 {
		sh, sw = h, w
	}
	kernel, queries := "relpos_attention", relPosQueries
	shared := 4 * ((relPosQueries+relPosKeys)*(hd+1) + relPosQueries*(relPosKeys+1) + relPosQueries*(sh+sw))
	if (p == FP16 || p == BF16) && hd <= 80 {
		dims := 64
		if hd > 64 {
			dims = 80
		}
		kernel, queries = fmt.Sprintf("tensor_relpos_%s_%d", p.suffix(), dims), 64
		shared = 2*(128*(dims+8)+dims*72) + 4*64*(sh+sw)
	}
	return launch{kernel: kernel, grid: [3]int{ceil(sh*sw, queries), heads, ceil(h, sh) * ceil(w, sw)}, block: [3]int{128, 1, 1},
		shared: shared, args: []any{qkv, relH, relW, pad, h, w, sh, sw, heads, hd}}
}

// attentionKind is the kernel for so many queries and keys.
func attentionKind(nq, nk int) string {
	if nk >= 256 && nq < nk {
		return "keys"
	}
	return "queries"
}

// mostHeadDim is the most channels of a head that the kernels take.
const mostHeadDim = 128

// attentionLaunch is the decoder's attention by kind, queries or keys: of
// which there are many. The steps are rows from one prompt to the next.
func attentionLaunch(kind string, q, k, v any, batch, heads, hd, nq, nk, qstep, kstep, vstep int) launch {
	dims := "128"
	switch {
	case hd <= 16:
		dims = "16"
	case hd <= 32:
		dims = "32"
	}
	l := launch{kernel: "attend_" + kind + "_" + dims, grid: [3]int{ceil(nq, 128), heads, batch}, block: [3]int{128, 1, 1},
		args: []any{q, k, v, nq, nk, heads, hd, qstep, kstep, vstep}}
	if kind == "keys" {
		l.grid[0], l.shared = nq, 4*128*(hd+3)
	}
	return l
}

// layerNormLaunch normalises rows of c channels.
func layerNormLaunch(x, gamma, beta any, rows, c int, eps float64, act int) launch {
	return launch{kernel: "layer_norm", grid: [3]int{ceil(rows, 4), 1, 1}, block: [3]int{128, 1, 1},
		args: []any{x, gamma, beta, rows, c, eps, act}}
}

// elementLaunch is a kernel with a thread for each of n values.
func elementLaunch(kernel string, n int, args ...any) launch {
	return launch{kernel: kernel, grid: [3]int{ceil(n, 256), 1, 1}, block: [3]int{256, 1, 1}, args: append(args, n)}
}

// maskLaunches are the masks of hyper, one [batch, c] for each, on up
// [batch*n, c].
func maskLaunches(up any, hyper []any, batch, n, c int) []launch {
	var ls []launch
	for first := 0; first < len(hyper); first += 4 {
		count := min(4, len(hyper)-first)
		args := []any{up}
		for i := range 4 {
			args = append(args, hyper[first+min(i, count-1)])
		}
		ls = append(ls, launch{kernel: "mask_products", grid: [3]int{ceil(n, 256), batch, 1}, block: [3]int{256, 1, 1},
			args: append(args, first, count, len(hyper), n, c)})
	}
	return ls
}
