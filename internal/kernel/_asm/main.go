// Command _asm writes the amd64 assembly of packages kernel and jpeg2000. Each
// run writes one file:
//
//	go run . -part tile -isa avx2 -out ../tile_avx2_amd64.s -stubs ../tile_avx2_amd64.go -pkg kernel
//
// The parts are tile (products with a full panel), strip (several of either),
// narrow (with a narrow panel), eight (products in 8 bits, and from 16; -isa avx2 or
// vnni), gelu (the activation), grad (what only gradients need), winograd
// (convolutions), maps (other ops of maps), vec (everything else) and wavelet
// (package jpeg2000; -isa avx2).
package main

import (
	"flag"
	"log"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// An isa is an instruction set with its vector registers.
type isa struct {
	name string // suffix of function names
	vec  int    // float32s in a register
	rows int    // rows of the largest tile
	reg  func() reg.VecVirtual
	wide bool // AVX-512
}

var isas = map[string]*isa{
	"avx2":   {name: "AVX2", vec: 8, rows: 6, reg: YMM},
	"avx512": {name: "AVX512", vec: 16, rows: 12, reg: ZMM, wide: true},
	"vnni":   {name: "VNNI", vec: 16, rows: 12, reg: ZMM, wide: true},
}

func main() {
	part := flag.String("part", "", "tile, strip, narrow, eight, vec, gelu, grad, winograd, maps or wavelet")
	name := flag.String("isa", "", "avx2, avx512 or vnni")
	flag.Parse()
	s := isas[*name]
	if s == nil {
		log.Fatalf("isa %q: want avx2, avx512 or vnni", *name)
	}
	ConstraintExpr("!purego")
	ConstraintExpr("!noasm")
	switch *part {
	case "tile":
		for r := 1; r <= s.rows; r++ {
			s.tile(r, 2)
		}
	case "strip":
		s.strip()
		s.stack()
	case "narrow":
		for r := 1; r <= s.rows; r++ {
			s.tile(r, 1)
		}
	case "eight":
		s.eight()
	case "vec":
		s.vectors()
	case "gelu":
		s.gelu()
	case "grad":
		s.gradients()
	case "winograd":
		s.winograd()
	case "maps":
		s.maps()
	case "wavelet":
		s.wavelet()
	default:
		log.Fatalf("part %q: want tile, strip, narrow, eight, vec, gelu, grad, winograd, maps or wavelet", *part)
	}
	Generate()
}

// bytes is the size of a register.
func (s *isa) bytes() int { return 4 * s.vec }

// slice loads the address of a slice parameter.
func slice(name string) reg.Register { return Load(Param(name).Base(), GP64()) }

// integer loads an int parameter.
func integer(name string) reg.Register { return Load(Param(name), GP64()) }

// stride loads an int parameter that counts float32s, as bytes.
func stride(name string) reg.Register {
	r := integer(name)
	SHLQ(U8(2), r)
	return r
}

// at is a memory operand.
func at(base reg.Register, disp int) Mem { return Mem{Base: base, Disp: disp} }

func (s *isa) zero(v reg.VecVirtual) {
	if s.wide {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
}

// constants are the constants in the file's data so far.
var constants = map[string]Mem{}

// constant is a float32 in the file's data.
func constant(name string, x float32) Mem {
	m, ok := constants[name]
	if !ok {
		m = ConstData(name, F32(x))
		constants[name] = m
	}
	return m
}

// broadcast returns a register that holds x in all lanes.
func (s *isa) broadcast(name string, x float32) reg.VecVirtual {
	v := s.reg()
	VBROADCASTSS(constant(name, x), v)
	return v
}

// lasting returns x in all lanes, as an operand that keeps through a function:
// a register, or with AVX2, which has few, memory.
func (s *isa) lasting(name string, x float32) Op {
	if s.wide {
		return s.broadcast(name, x)
	}
	name += "All"
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, attr.RODATA|attr.NOPTR)
		for i := range s.vec {
			DATA(4*i, F32(x))
		}
		constants[name] = m
	}
	return m
}

// ret ends a function: upper halves of YMM registers must be clean before
// SSE code runs.
func ret() {
	VZEROUPPER()
	RET()
}
