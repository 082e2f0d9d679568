package jpeg2000

import "math/bits"

// mqUnit is the weight of the lowest bit of a probability in the registers of
// the decoder; below it lie the bits of the codestream that were read ahead.
const (
	mqShift = 32
	mqUnit  = int64(1) << mqShift
	mqHalf  = 0x8000 * mqUnit // the least length of a normalised interval
	mqProb  = ^int64(0xff)    // the probability in a packed state
)

// mqStates are the 47 states of the estimator: probability of the less probable
// symbol, the state after the more and after the less probable one, and
// whether the latter exchanges the two (T.800, table C.2).
var mqStates = [47]struct {
	qe         uint16
	mps, lps   uint8
	exchanging bool
}{
	{0x5601, 1, 1, true}, {0x3401, 2, 6, false}, {0x1801, 3, 9, false}, {0x0ac1, 4, 12, false},
	{0x0521, 5, 29, false}, {0x0221, 38, 33, false}, {0x5601, 7, 6, true}, {0x5401, 8, 14, false},
	{0x4801, 9, 14, false}, {0x3801, 10, 14, false}, {0x3001, 11, 17, false}, {0x2401, 12, 18, false},
	{0x1c01, 13, 20, false}, {0x1601, 29, 21, false}, {0x5601, 15, 14, true}, {0x5401, 16, 14, false},
	{0x5101, 17, 15, false}, {0x4801, 18, 16, false}, {0x3801, 19, 17, false}, {0x3401, 20, 18, false},
	{0x3001, 21, 19, false}, {0x2801, 22, 19, false}, {0x2401, 23, 20, false}, {0x2201, 24, 21, false},
	{0x1c01, 25, 22, false}, {0x1801, 26, 23, false}, {0x1601, 27, 24, false}, {0x1401, 28, 25, false},
	{0x1201, 29, 26, false}, {0x1101, 30, 27, false}, {0x0ac1, 31, 28, false}, {0x09c1, 32, 29, false},
	{0x08a1, 33, 30, false}, {0x0521, 34, 31, false}, {0x0441, 35, 32, false}, {0x02a1, 36, 33, false},
	{0x0221, 37, 34, false}, {0x0141, 38, 35, false}, {0x0111, 39, 36, false}, {0x0085, 40, 37, false},
	{0x0049, 41, 38, false}, {0x0025, 42, 39, false}, {0x0015, 43, 40, false}, {0x0009, 44, 41, false},
	{0x0005, 45, 42, false}, {0x0001, 45, 43, false}, {0x5601, 46, 46, false},
}

// mqNext are the packed states after the more probable symbol, [0], and after
// the less probable one, [1], by the low byte of the packed state before.
var mqNext [2][256]int64

// mqPacked returns a state as the contexts hold it: the probability in units
// of mqUnit, the number of the state in bits 1 to 7, and the more probable
// symbol in bit 0.
func mqPacked(state, symbol uint8) int64 {
	return int64(mqStates[state].qe)*mqUnit | int64(state)<<1 | int64(symbol)
}

func init() {
	for i, s := range mqStates {
		for sym := range uint8(2) {
			k := i<<1 | int(sym)
			mqNext[0][k] = mqPacked(s.mps, sym)
			lps := sym
			if s.exchanging {
				lps = 1 - sym
			}
			mqNext[1][k] = mqPacked(s.lps, lps)
		}
	}
}

// mqDecoder decodes binary symbols (T.800, annex C).
//
// Of the interval's length and of the code's place in it, the smaller distance
// to where something happens is kept apart, in the caller's local variable d:
// as long as it does not fall below 0 a symbol is the more probable one and
// costs a subtraction. length and code are the true values less d, length less
// mqHalf too.
type mqDecoder struct {
	length, code int64
	d            int64 // between calls
	ahead        int   // bits read ahead
	data         []byte
	pos          int
	last         byte
	ctx          [32]int64 // packed states of the 19 contexts
}

// reset gives all contexts their first states (T.800, table D.7).
func (m *mqDecoder) reset() {
	for i := range m.ctx {
		m.ctx[i] = mqPacked(0, 0)
	}
	m.ctx[0] = mqPacked(4, 0)
	m.ctx[ctxRun] = mqPacked(3, 0)
	m.ctx[ctxUniform] = mqPacked(46, 0)
}

// start begins with a segment's data. The contexts stay.
func (m *mqDecoder) start(data []byte) {
	m.data, m.pos, m.last = data, 0, 0
	m.code, m.ahead = 0, -15
	m.fill()
	m.length = 0 // the interval begins at its half, 0x8000
	m.settle()
}

// settle splits the distance off.
func (m *mqDecoder) settle() {
	m.d = min(m.length, m.code)
	m.length -= m.d
	m.code -= m.d
}

// fill reads ahead at least 16 bits. Behind the end of the data, or before a
// marker, come ones.
func (m *mqDecoder) fill() {
	for m.ahead <= mqShift-8 {
		b := byte(0xff)
		if m.pos < len(m.data) {
			b = m.data[m.pos]
		}
		switch {
		case m.last != 0xff:
			m.code += int64(b) << (mqShift - 8 - m.ahead)
			m.ahead += 8
			m.last = b
			m.pos++
		case b > 0x8f:
			m.code += 0xff << (mqShift - 8 - m.ahead)
			m.ahead += 8
		default: // a stuffed bit
			m.code += int64(b) << (mqShift - 7 - m.ahead)
			m.ahead += 7
			m.last = b
			m.pos++
		}
	}
}

// slow finishes the decision in context i for which d fell below 0. It returns
// the symbol and the new d. Which of the cases it is cannot be foretold, so they
// are told apart by masks, not by branches.
func (m *mqDecoder) slow(i uint8, d int64) (symbol, next int64) {
	s := &m.ctx[i&31]
	v := *s
	qe := v & mqProb
	length, code := m.length+d+mqHalf, m.code+d // with the more probable symbol
	less := code >> 63                          // all ones: in the part of the less probable one
	flip := (less ^ (length-qe)>>63) & 1        // but the larger part is the more probable one's
	symbol = (v ^ flip) & 1
	*s = mqNext[flip&1][v&0xff]
	code += qe & less
	length += (qe - length) & less
	// Interval and code are doubled until the interval has its half.
	n := bits.LeadingZeros64(uint64(length)) - (63 - 15 - mqShift)
	if m.ahead < n {
		m.code = code
		m.fill()
		code = m.code
	}
	m.ahead -= n
	length = length<<(n&63) - mqHalf
	code <<= n & 63
	next = min(length, code)
	m.length, m.code = length-next, code-next
	return symbol, next
}
