package jpeg2000

// The contexts of the coefficient coding (T.800, table D.1 to D.5).
const (
	ctxSign    = 9
	ctxRefine  = 14
	ctxRun     = 17
	ctxUniform = 18
)

// A column of four coefficients, as the coding passes go over them, has one
// word. In its bits 0 to 17 it says which coefficients of the column, of the
// columns left and right of it, and of the rows above and below are
// significant: three a row, from the row above on. So bits 3r to 3r+8 are the
// neighbourhood of coefficient r, itself in the middle. Bits 18 to 35 say which
// of them are negative.
const (
	flagSelf  = uint64(1) << 4       // coefficient 0 is significant
	flagFirst = uint64(0o1111)       // the first bit of each coefficient's row
	flagAll   = flagSelf * 0o1111    // coefficients 0 to 3
	flagNear  = uint64(0x1ef)        // the neighbours of coefficient 0
	flagWhole = uint64(1)<<18 - 1    // all that the word knows of
	signShift = 18                   // from "is significant" to "is negative"
	seenShift = 36                   // to "was coded in this bit plane"
	moreShift = seenShift + 1        // to "was refined before"
	seenAll   = flagAll << seenShift // of all four
)

// The kinds of subbands, by their number in the codestream.
const (
	bandLL = iota
	bandHL // high frequencies across
	bandLH // high frequencies down
	bandHH
)

// zeroContext gives the context of a coefficient that is not significant, by
// kind of subband and by its neighbourhood (T.800, table D.1).
var zeroContext [4][512]uint8

// signContext gives the context of a sign in its low bits and, in bit 7, whether
// the decoded symbol is turned (T.800, tables D.2 and D.3). It goes by which of
// the four nearest are significant, at bits 1, 3, 5 and 7, and which of those are
// negative, a bit lower.
var signContext [256]uint8

func init() {
	bit := func(n, i int) int { return n >> i & 1 }
	for n := range 512 {
		h, v := bit(n, 3)+bit(n, 5), bit(n, 1)+bit(n, 7)
		d := bit(n, 0) + bit(n, 2) + bit(n, 6) + bit(n, 8)
		zeroContext[bandLL][n] = zeroOf(h, v, d)
		zeroContext[bandLH][n] = zeroOf(h, v, d)
		zeroContext[bandHL][n] = zeroOf(v, h, d)
		zeroContext[bandHH][n] = zeroOfHH(h+v, d)
	}
	for n := range 256 {
		part := func(i int) int { return bit(n, i) * (1 - 2*bit(n, i-1)) }
		h := min(max(part(3)+part(5), -1), 1)
		v := min(max(part(1)+part(7), -1), 1)
		var turn uint8
		if h < 0 || h == 0 && v < 0 {
			h, v, turn = -h, -v, 0x80
		}
		signContext[n] = turn | uint8(ctxSign+3*h+v)
	}
}

func zeroOf(h, v, d int) uint8 {
	switch {
	case h == 2:
		return 8
	case h == 1 && v >= 1:
		return 7
	case h == 1 && d >= 1:
		return 6
	case h == 1:
		return 5
	case v >= 1:
		return uint8(2 + v)
	}
	return uint8(min(d, 2))
}

func zeroOfHH(hv, d int) uint8 {
	switch {
	case d >= 3:
		return 8
	case d == 2:
		return uint8(6 + min(hv, 1))
	case d == 1:
		return uint8(3 + min(hv, 2))
	}
	return uint8(min(hv, 2))
}
