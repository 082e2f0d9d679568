package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// normCols takes the panel three times, as layerNorm does; its sums are
// lanes.
func (s *isa) normCols() {
	s.function("normCols", "(o []float32, gamma []float32, beta []float32, n int, w int, eps float32)")
	o, gamma, beta := slice("o"), slice("gamma"), slice("beta")
	n, w := integer("n"), integer("w")
	count, one, eps := s.reg(), s.reg(), s.reg()
	c := XMM()
	VXORPS(c, c, c)
	VCVTSI2SSQ(n, c, c)
	VBROADCASTSS(c, count)
	VBROADCASTSS(constant("one", 1), one)
	e, _ := Param("eps").Resolve()
	VBROADCASTSS(e.Addr, eps)
	s.widths(w, func(v int, x string) {
		step := I32(v * s.bytes())
		// pass writes a loop over the panel's rows.
		pass := func(name string, row func(p reg.Register)) {
			p, left := GP64(), GP64()
			MOVQ(o, p)
			MOVQ(n, left)
			Label(name + x)
			row(p)
			ADDQ(step, p)
			DECQ(left)
			JNZ(LabelRef(name + x))
		}
		zeros := func() []reg.VecVirtual {
			z := make([]reg.VecVirtual, v)
			for j := range z {
				z[j] = s.reg()
				s.zero(z[j])
			}
			return z
		}
		mean := zeros()
		pass("sum", func(p reg.Register) {
			for j := range v {
				VADDPS(at(p, j*s.bytes()), mean[j], mean[j])
			}
		})
		for j := range v {
			VDIVPS(count, mean[j], mean[j])
		}
		dev, sq := zeros(), zeros()
		pass("deviation", func(p reg.Register) {
			for j := range v {
				t := s.reg()
				VMOVUPS(at(p, j*s.bytes()), t)
				VSUBPS(mean[j], t, t)
				VADDPS(t, dev[j], dev[j])
				VFMADD231PS(t, t, sq[j])
			}
		})
		for j := range v {
			VDIVPS(count, dev[j], dev[j])
			VDIVPS(count, sq[j], sq[j])
			VFNMADD231PS(dev[j], dev[j], sq[j])
			VADDPS(eps, sq[j], sq[j])
			VSQRTPS(sq[j], sq[j])
			VDIVPS(sq[j], one, sq[j])
		}
		pass("normal", func(p reg.Register) {
			g, b := s.reg(), s.reg()
			VBROADCASTSS(at(gamma, 0), g)
			VBROADCASTSS(at(beta, 0), b)
			for j := range v {
				t := s.reg()
				VMOVUPS(at(p, j*s.bytes()), t)
				VSUBPS(mean[j], t, t)
				VSUBPS(dev[j], t, t)
				VMULPS(sq[j], t, t)
				VFMADD132PS(g, b, t)
				VMOVUPS(t, at(p, j*s.bytes()))
			}
			ADDQ(U8(4), gamma)
			ADDQ(U8(4), beta)
		})
	})
}
