package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// eight writes the kernels of products in 8 bits. A word holds four factors:
// with a sign on the left, from 0 to 128 on the right. On AVX2 the sums of two
// products have room in 16 bits; with VNNI all four are added at once.
func (s *isa) eight() {
	if s.wide {
		s.wordTile(s.rows, 2)
	} else {
		s.wordTile(4, 2)
		s.pairTile(4, 2)
		s.crowded(4)
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
	sums := s.sums(r, v)
	ones := YMM()
	if !s.wide {
		VPBROADCASTD(word("ones", 0x00010001), ones)
	}
	step := func(n int) {
		bv := make([]reg.VecVirtual, v)
		for j := range bv {
			bv[j] = s.reg()
			VMOVUPS(at(b, n*w*4+j*s.bytes()), bv[j])
		}
		for i := range r {
			x := s.reg()
			VPBROADCASTD(at(a, (n*r+i)*4), x)
			for j := range v {
				if s.wide {
					VPDPBUSD(x, bv[j], sums[i][j])
					continue
				}
				p := s.reg()
				VPMADDUBSW(x, bv[j], p)
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
	s.addSums(sums)
}

// addSums adds the sums to c and returns.
func (s *isa) addSums(sums [][]reg.VecVirtual) {
	c, ldc := slice("c"), stride("ldc")
	for i := range sums {
		for j := range sums[i] {
			if s.wide {
				VPADDD(at(c, j*s.bytes()), sums[i][j], sums[i][j])
				VMOVDQU32(sums[i][j], at(c, j*s.bytes()))
			} else {
				VPADDD(at(c, j*s.bytes()), sums[i][j], sums[i][j])
				VMOVDQU(sums[i][j], at(c, j*s.bytes()))
			}
		}
		if i < len(sums)-1 {
			ADDQ(ldc, c)
		}
	}
	ret()
}

// pairTile is wordTile for rows that crowded has nothing against: the products
// of two words are added up in 16 bits, and what is left in 32.
func (s *isa) pairTile(r, v int) {
	w := v * s.vec
	name := fmt.Sprintf("pairTile%dx%d%s", r, w, s.name)
	TEXT(name, NOSPLIT, "func(k int, a []uint32, b []uint32, c []int32, ldc int)")
	Doc(fmt.Sprintf("%s works like wordTile4x4Generic with %d rows and %d columns where", name, r, w),
		fmt.Sprintf("crowdedAVX2 finds nothing; k is a multiple of %d.", groupWords))
	Pragma("noescape")
	k, a, b := integer("k"), slice("a"), slice("b")
	sums := s.sums(r, v)
	ones := data32("ones8", 0x00010001) // no register is left
	SHRQ(U8(2), k)
	JZ(LabelRef("store"))
	Label("block")
	PREFETCHT0(at(a, prefetch))
	for l := 0; l < groupWords*w*4; l += 64 {
		PREFETCHT0(at(b, prefetch+l))
	}
	for n := 0; n < groupWords; n += 2 {
		bv := make([][2]reg.VecVirtual, v)
		for j := range bv {
			for p := range 2 {
				bv[j][p] = s.reg()
				VMOVDQU(at(b, (n+p)*w*4+j*s.bytes()), bv[j][p])
			}
		}
		for i := range r {
			x, y, t := s.reg(), s.reg(), make([]reg.VecVirtual, v)
			// The last product of a word takes the word's place.
			multiply := func(word reg.VecVirtual, p, j int) reg.VecVirtual {
				to := word
				if j < v-1 {
					to = s.reg()
				}
				VPMADDUBSW(word, bv[j][p], to)
				return to
			}
			VPBROADCASTD(at(a, (n*r+i)*4), x)
			for j := range v {
				t[j] = multiply(x, 0, j)
			}
			VPBROADCASTD(at(a, ((n+1)*r+i)*4), y)
			second := make([]reg.VecVirtual, v)
			for j := range v {
				second[j] = multiply(y, 1, j)
			}
			for j := range v {
				VPADDW(second[j], t[j], t[j])
			}
			for j := range v {
				VPMADDWD(ones, t[j], t[j])
			}
			for j := range v {
				VPADDD(t[j], sums[i][j], sums[i][j])
			}
		}
	}
	ADDQ(I32(groupWords*r*4), a)
	ADDQ(I32(groupWords*w*4), b)
	DECQ(k)
	JNZ(LabelRef("block"))
	Label("store")
	s.addSums(sums)
}

// groupWords is the number of words of which crowded speaks at a time.
const groupWords = 4

// crowded writes the test of a panel of r rows for pairTile.
func (s *isa) crowded(r int) {
	name := "crowded" + s.name
	TEXT(name, NOSPLIT, "func(dst []uint32, a []uint32)")
	Doc(fmt.Sprintf("%s is an eightBit's crowded for panels of %d rows.", name, r))
	Pragma("noescape")
	dst, n, a := slice("dst"), Load(Param("dst").Len(), GP64()), slice("a")
	zero, ones, most := s.reg(), s.reg(), s.reg()
	VPXOR(zero, zero, zero)
	VPBROADCASTD(word("bytes1", 0x01010101), ones)
	VPBROADCASTD(word("most8", most8<<16|most8), most)
	TESTQ(n, n)
	JZ(LabelRef("done"))
	Label("block")
	// Lanes of 128 bits are words of four rows. low has the first words of both
	// pairs, high the second ones.
	v, u, low, high := s.reg(), s.reg(), s.reg(), s.reg()
	VMOVDQU(at(a, 0), v)
	VMOVDQU(at(a, 4*r*2), u)
	VPERM2I128(U8(0x20), u, v, low)
	VPERM2I128(U8(0x31), u, v, high)
	var sums [2]reg.VecVirtual
	for sign := range sums {
		var part [2]reg.VecVirtual
		for i, x := range []reg.VecVirtual{low, high} {
			part[i] = s.reg()
			if sign == 1 {
				VPSUBB(x, zero, part[i])
				VPMAXSB(zero, part[i], part[i])
			} else {
				VPMAXSB(zero, x, part[i])
			}
			VPMADDUBSW(ones, part[i], part[i])
		}
		sums[sign] = part[0]
		VPADDW(part[1], part[0], part[0])
	}
	VPMAXSW(sums[1], sums[0], sums[0])
	VPCMPGTW(most, sums[0], sums[0])
	mask := GP32()
	VPMOVMSKB(sums[0], mask)
	MOVL(mask, at(dst, 0))
	ADDQ(U8(4), dst)
	ADDQ(I32(4*r*groupWords), a)
	DECQ(n)
	JNZ(LabelRef("block"))
	Label("done")
	ret()
}

// most8 is the largest sum of factors of one sign that pairTile has room for:
// 128 times that.
const most8 = 255

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
	TEXT(name, NOSPLIT, "func(dst []uint32, x []float32, scale float32) int32")
	Doc(name + " works like quantiseGeneric; the length of x is a multiple of 16.")
	Pragma("noescape")
	dst, x, n := slice("dst"), slice("x"), Load(Param("x").Len(), GP64())
	f := YMM()
	m, err := Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, f)
	sum := YMM()
	VPXOR(sum, sum, sum)
	SHRQ(U8(4), n)
	JZ(LabelRef("done"))
	Label("block")
	v := [2]reg.VecVirtual{YMM(), YMM()}
	for j := range v {
		VMULPS(at(x, 32*j), f, v[j])
		VCVTPS2DQ(v[j], v[j])
		VPADDD(v[j], sum, sum)
	}
	VPACKSSDW(v[1], v[0], v[0])
	VPERMQ(U8(0xd8), v[0], v[0])
	VPACKSSWB(v[0], v[0], v[0])
	VPERMQ(U8(0xd8), v[0], v[0])
	VMOVDQU(v[0].AsX(), at(dst, 0))
	ADDQ(U8(16), dst)
	ADDQ(U8(64), x)
	DECQ(n)
	JNZ(LabelRef("block"))
	Label("done")
	half, t := XMM(), XMM()
	VEXTRACTI128(U8(1), sum, half)
	VPADDD(half, sum.AsX(), half)
	VPSHUFD(U8(0x4e), half, t)
	VPADDD(t, half, half)
	VPSHUFD(U8(0xb1), half, t)
	VPADDD(t, half, half)
	out := GP32()
	VMOVD(half, out)
	Store(out, ReturnIndex(0))
	ret()
}

// dequantise writes the way back to float32: products and sum are rounded one
// by one, as in Go.
func (s *isa) dequantise() {
	name := "dequantiseBlocks" + s.name
	TEXT(name, NOSPLIT, "func(dst []float32, sums []int32, start int32, scales []float32, bias []float32, scale float32)")
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
	one, start := XMM(), YMM()
	VMOVD(Load(Param("start"), GP32()), one)
	VPBROADCASTD(one, start)
	SHRQ(U8(3), n)
	JZ(LabelRef("done"))
	Label("block")
	v := YMM()
	VPADDD(at(sums, 0), start, v)
	VCVTDQ2PS(v, v)
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

// data32 is a register's worth of a 32-bit constant in the file's data.
func data32(name string, x uint32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(x))
	}
	return m
}

// word is a 32-bit constant in the file's data.
func word(name string, x uint32) Mem { return ConstData(name, U32(x)) }
