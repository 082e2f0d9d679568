package jpegtile

// rgba joins the planes: chroma interpolated and converted as libjpeg does.
func (d *decoder) rgba(c Color) []byte {
	w, h := d.w, d.h
	out := make([]byte, 4*w*h)
	rows := make([][]byte, len(d.comps))
	ups := make([]upsampler, len(d.comps))
	for i := range rows {
		p := &d.comps[i]
		ups[i] = upsampler{hx: d.hmax / p.h, vx: d.vmax / p.v, w: p.w, h: p.hgt, stride: p.stride, src: p.pix}
		if !ups[i].plain() {
			rows[i] = make([]byte, p.w*ups[i].hx)
			ups[i].sums = make([]int32, p.w)
		}
	}
	s := make([][]byte, len(rows))
	for y := range h {
		for i := range s {
			s[i] = ups[i].row(rows[i], y)
		}
		dst := out[4*w*y:][:4*w]
		switch {
		case len(s) == 1:
			rgbRow(dst, s[0], s[0], s[0], w)
		case len(s) == 4:
			inkRow(dst, s, w, d.said.adobe != nil && *d.said.adobe != 0)
		case c == YCbCr:
			yccRow(dst, s[0], s[1], s[2], w)
		default:
			rgbRow(dst, s[0], s[1], s[2], w)
		}
	}
	return out
}

// rgbRow joins w pixels.
func rgbRow(dst, r, g, b []byte, w int) {
	r, g, b = r[:w], g[:w], b[:w]
	dst = dst[:4*w]
	for x := range w {
		q := dst[4*x : 4*x+4 : 4*x+4]
		q[0], q[1], q[2], q[3] = r[x], g[x], b[x], 255
	}
}

// inkRow converts w pixels of cyan, magenta, yellow and black, which is how
// four components are meant, to RGB as Pillow does: all are stored inverted,
// as Adobe has it, and each ink is taken off what black leaves (Convert.c,
// cmyk2rgb). With ycck the first three are YCbCr of what the inks leave.
func inkRow(dst []byte, s [][]byte, w int, ycck bool) {
	black := s[3][:w]
	if ycck {
		yccRow(dst, s[0], s[1], s[2], w)
	} else {
		rgbRow(dst, s[0], s[1], s[2], w)
		for i := range dst[:4*w] {
			dst[i] = 255 - dst[i]
		}
	}
	for x, left := range black {
		q := dst[4*x : 4*x+4 : 4*x+4]
		for c := range 3 {
			ink := int(left)*int(q[c]) + 128 // over 255, rounded
			q[c] = byte(max(0, int(left)-(ink>>8+ink)>>8))
		}
		q[3] = 255
	}
}

// The products of libjpeg's conversion, 16 bits of fraction (jdcolor.c):
// 1.402, 1.772, 0.34414, 0.71414.
var (
	crR, cbB, crG, cbG [256]int32
	clamp              [3 * 256]byte // clamp[256+v] is v held to 0..255
)

func init() {
	for i := range int32(256) {
		x := i - 128
		crR[i] = (91881*x + 32768) >> 16
		cbB[i] = (116130*x + 32768) >> 16
		crG[i] = -46802 * x
		cbG[i] = -22554*x + 32768
	}
	for i := range clamp {
		clamp[i] = byte(min(max(i-256, 0), 255))
	}
}

// ToRGB converts one pixel from full-range YCbCr as libjpeg does.
func ToRGB(y, cb, cr byte) (r, g, b byte) {
	v := 256 + int32(y)
	return clamp[v+crR[cr]], clamp[v+(cbG[cb]+crG[cr])>>16], clamp[v+cbB[cb]]
}

// yccRow converts w pixels.
func yccRow(dst, ys, us, vs []byte, w int) {
	ys, us, vs = ys[:w], us[:w], vs[:w]
	dst = dst[:4*w]
	for x := range w {
		y, u, v := 256+int32(ys[x]), us[x], vs[x]
		d := dst[4*x : 4*x+4 : 4*x+4]
		d[0] = clamp[y+crR[v]]
		d[1] = clamp[y+(cbG[u]+crG[v])>>16]
		d[2] = clamp[y+cbB[u]]
		d[3] = 255
	}
}

// upsampler interpolates one plane [h, w] the way libjpeg's default
// ("fancy") upsampling does: a triangle filter for factors of 2, plain
// repetition for others and for planes at most two samples wide.
type upsampler struct {
	hx, vx, w, h, stride int
	src                  []byte
	sums                 []int32
}

// plain reports whether the plane needs no interpolation.
func (u *upsampler) plain() bool { return u.hx == 1 && u.vx == 1 }

// row returns row y of the upsampled plane, in dst or, if the plane is at
// full size, in place.
func (u *upsampler) row(dst []byte, y int) []byte {
	if u.plain() {
		return u.src[y*u.stride:]
	}
	in := u.src[y/u.vx*u.stride:][:u.w]
	fancy := u.w > 2
	switch {
	case u.hx == 2 && u.vx == 1 && fancy:
		triangleH(dst, in)
	case u.hx == 2 && u.vx == 2 && fancy:
		near := u.src[u.near(y)*u.stride:][:u.w]
		for i := range u.sums {
			u.sums[i] = 3*int32(in[i]) + int32(near[i])
		}
		triangleHV(dst, u.sums)
	case u.hx == 1 && u.vx == 2:
		near := u.src[u.near(y)*u.stride:][:u.w]
		bias := 1 + y&1 // 1 for the upper row of a pair, 2 for the lower
		for i, v := range in {
			dst[i] = byte((3*int(v) + int(near[i]) + bias) >> 2)
		}
	default:
		for i, v := range in {
			for k := range u.hx {
				dst[i*u.hx+k] = v
			}
		}
	}
	return dst
}

// near is the row next nearest to output row y: the one above for the upper
// row of a pair, the one below for the lower, held inside the plane.
func (u *upsampler) near(y int) int {
	if y&1 == 0 {
		return max(y/2-1, 0)
	}
	return min(y/2+1, u.h-1)
}

// triangleH doubles a row (jdsample.c, h2v1_fancy_upsample).
func triangleH(dst, in []byte) {
	n := len(in)
	dst = dst[:2*n]
	dst[0], dst[1] = in[0], byte((3*int(in[0])+int(in[1])+2)>>2)
	for i := 1; i < n-1; i++ {
		v := 3 * int(in[i])
		dst[2*i] = byte((v + int(in[i-1]) + 1) >> 2)
		dst[2*i+1] = byte((v + int(in[i+1]) + 2) >> 2)
	}
	dst[2*n-2], dst[2*n-1] = byte((3*int(in[n-1])+int(in[n-2])+1)>>2), in[n-1]
}

// triangleHV doubles a row of column sums 3*row + near (jdsample.c,
// h2v2_fancy_upsample).
func triangleHV(dst []byte, s []int32) {
	n := len(s)
	dst = dst[:2*n]
	dst[0], dst[1] = byte((4*s[0]+8)>>4), byte((3*s[0]+s[1]+7)>>4)
	last, this := s[0], s[1]
	for i := 1; i < n-1; i++ {
		next := s[i+1]
		dst[2*i] = byte((3*this + last + 8) >> 4)
		dst[2*i+1] = byte((3*this + next + 7) >> 4)
		last, this = this, next
	}
	dst[2*n-2], dst[2*n-1] = byte((3*s[n-1]+s[n-2]+8)>>4), byte((4*s[n-1]+7)>>4)
}
