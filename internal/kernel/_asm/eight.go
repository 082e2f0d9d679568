package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// eight writes the kernels of products in 8 bits. A word holds four factors:
// without a sign on the left, from -64 to 64 on the right. On AVX2 the sums of
// two products have room in 16 bits; with VNNI all four are added at once.
func (s *isa) eight() {
	s.wordTile(s.rows, 2)
	if !s.wide {
		s.absMax()
		s.quantise()
		s.dequantise()
		s.widen()
		s.narrow()
	}
}

// wordTile writes the product of r rows with a panel of v registers of words.
func (s *isa) wordTile(r, v int) {
	w := v * s.vec
	name := fmt.Sprintf("wordTile%dx%d%s", r, w, s.name)
	TEXT(name, NOSPLIT, "func(k int, a []uint32, b []uint32, c []int32, ldc int)")
	Doc(fmt.Sprintf("%s works like wordTile4x4Generic with %d rows and %d columns.", name, r, w))
	Pragma("noescape")
	k, a, b := integer("k"), slice("a"), slice("b")
	sums := make([][]reg.VecVirtual, r)
	for i := range sums {
		for range v {
			x := s.reg()
			s.zero(x)
			sums[i] = append(sums[i], x)
		}
	}
	ones := YMM()
	if !s.wide {
		VPBROADCASTD(word("ones", 0x00010001), ones)
	}
	step := func(n int) {
		// AVX2 has no register left for all of them: the last is read from
		// memory each time.
		bv := make([]Op, v)
		for j := range bv {
			bv[j] = at(b, n*w*4+j*s.bytes())
			if s.wide || j < v-1 {
				x := s.reg()
				VMOVUPS(bv[j], x)
				bv[j] = x
			}
		}
		for i := range r {
			x := s.reg()
			VPBROADCASTD(at(a, (n*r+i)*4), x)
			for j := range v {
				if s.wide {
					VPDPBUSD(bv[j], x, sums[i][j])
					continue
				}
				p := s.reg()
				VPMADDUBSW(bv[j], x, p)
				VPMADDWD(ones, p, p)
				VPADDD(p, sums[i][j], sums[i][j])
			}
		}
	}
	pairs := GP64()
	MOVQ(k, pairs)
	SHRQ(U8(1), pairs)
	JZ(LabelRef("rest"))
	Label("block")
	PREFETCHT0(at(a, prefetch))
	step(0)
	step(1)
	ADDQ(I32(2*r*4), a)
	ADDQ(I32(2*w*4), b)
	DECQ(pairs)
	JNZ(LabelRef("block"))
	Label("rest")
	ANDQ(U8(1), k)
	JZ(LabelRef("store"))
	step(0)

	Label("store")
	c, ldc := slice("c"), stride("ldc")
	for i := range r {
		for j := range v {
			if s.wide {
				VPADDD(at(c, j*s.bytes()), sums[i][j], sums[i][j])
				VMOVDQU32(sums[i][j], at(c, j*s.bytes()))
			} else {
				VPADDD(at(c, j*s.bytes()), sums[i][j], sums[i][j])
				VMOVDQU(sums[i][j], at(c, j*s.bytes()))
			}
		}
		if i < r-1 {
			ADDQ(ldc, c)
		}
	}
	ret()
}

// absMax writes the largest magnitude, by its bits, so that NaN is above all.
func (s *isa) absMax() {
	name := "absMaxBlocks" + s.name
	TEXT(name, NOSPLIT, "func(x []float32) uint32")
	Doc(name + " works like absMaxGeneric; the length of x is a multiple of 16.")
	Pragma("noescape")
	x, n := slice("x"), Load(Param("x").Len(), GP64())
	mask, top := YMM(), YMM()
	VPBROADCASTD(word("magnitude", 0x7fffffff), mask)
	VPXOR(top, top, top)
	SHRQ(U8(4), n)
	JZ(LabelRef("done"))
	Label("block")
	for j := range 2 {
		v := YMM()
		VPAND(at(x, 32*j), mask, v)
		VPMAXUD(v, top, top)
	}
	ADDQ(U8(64), x)
	DECQ(n)
	JNZ(LabelRef("block"))
	Label("done")
	half, t := XMM(), XMM()
	VEXTRACTI128(U8(1), top, half)
	VPMAXUD(half, top.AsX(), half)
	VPSHUFD(U8(0x4e), half, t)
	VPMAXUD(t, half, half)
	VPSHUFD(U8(0xb1), half, t)
	VPMAXUD(t, half, half)
	out := GP32()
	VMOVD(half, out)
	Store(out, ReturnIndex(0))
	ret()
}

// quantise writes the rounding of a row to words.
func (s *isa) quantise() {
	name := "quantiseBlocks" + s.name
	TEXT(name, NOSPLIT, "func(dst []uint32, x []float32, scale float32)")
	Doc(name + " works like quantiseGeneric; the length of x is a multiple of 16.")
	Pragma("noescape")
	dst, x, n := slice("dst"), slice("x"), Load(Param("x").Len(), GP64())
	f := YMM()
	m, err := Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, f)
	offset := XMM()
	VPBROADCASTD(word("zeroPoint", 0x80808080), offset)
	SHRQ(U8(4), n)
	JZ(LabelRef("done"))
	Label("block")
	v := [2]reg.VecVirtual{YMM(), YMM()}
	for j := range v {
		VMULPS(at(x, 32*j), f, v[j])
		VCVTPS2DQ(v[j], v[j])
	}
	VPACKSSDW(v[1], v[0], v[0])
	VPERMQ(U8(0xd8), v[0], v[0])
	VPACKSSWB(v[0], v[0], v[0])
	VPERMQ(U8(0xd8), v[0], v[0])
	VPXOR(offset, v[0].AsX(), v[0].AsX())
	VMOVDQU(v[0].AsX(), at(dst, 0))
	ADDQ(U8(16), dst)
	ADDQ(U8(64), x)
	DECQ(n)
	JNZ(LabelRef("block"))
	Label("done")
	ret()
}

// dequantise writes the way back to float32: products and sum are rounded one
// by one, as in Go.
func (s *isa) dequantise() {
	name := "dequantiseBlocks" + s.name
	TEXT(name, NOSPLIT, "func(dst []float32, sums []int32, scales []float32, bias []float32, scale float32)")
	Doc(name + " works like dequantiseGeneric; the length of dst is a multiple of 8.")
	Pragma("noescape")
	dst, n := slice("dst"), Load(Param("dst").Len(), GP64())
	sums, scales, bias := slice("sums"), slice("scales"), slice("bias")
	f := YMM()
	m, err := Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, f)
	SHRQ(U8(3), n)
	JZ(LabelRef("done"))
	Label("block")
	v := YMM()
	VCVTDQ2PS(at(sums, 0), v)
	VMULPS(at(scales, 0), v, v)
	VMULPS(f, v, v)
	VADDPS(at(bias, 0), v, v)
	VMOVUPS(v, at(dst, 0))
	for _, p := range []reg.Register{dst, sums, scales, bias} {
		ADDQ(U8(32), p)
	}
	DECQ(n)
	JNZ(LabelRef("block"))
	Label("done")
	ret()
}

// widen writes the conversion from binary16.
func (s *isa) widen() {
	name := "widenBlocks" + s.name
	TEXT(name, NOSPLIT, "func(dst []float32, src []uint16)")
	Doc(name + " works like widenGeneric; the length of dst is a multiple of 16.")
	Pragma("noescape")
	dst, n := slice("dst"), Load(Param("dst").Len(), GP64())
	src := slice("src")
	SHRQ(U8(4), n)
	JZ(LabelRef("done"))
	Label("block")
	for j := range 2 {
		v := YMM()
		VCVTPH2PS(at(src, 16*j), v)
		VMOVUPS(v, at(dst, 32*j))
	}
	ADDQ(U8(32), src)
	ADDQ(U8(64), dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	Label("done")
	ret()
}

// narrow writes the conversion to binary16.
func (s *isa) narrow() {
	name := "narrowBlocks" + s.name
	TEXT(name, NOSPLIT, "func(dst []uint16, src []float32)")
	Doc(name + " works like narrowGeneric; the length of src is a multiple of 16.")
	Pragma("noescape")
	dst, src, n := slice("dst"), slice("src"), Load(Param("src").Len(), GP64())
	SHRQ(U8(4), n)
	JZ(LabelRef("done"))
	Label("block")
	for j := range 2 {
		v := YMM()
		VMOVUPS(at(src, 32*j), v)
		VCVTPS2PH(U8(0), v, at(dst, 16*j)) // to nearest, ties to even
	}
	ADDQ(U8(64), src)
	ADDQ(U8(32), dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	Label("done")
	ret()
}

// word is a 32-bit constant in the file's data.
func word(name string, x uint32) Mem { return ConstData(name, U32(x)) }
