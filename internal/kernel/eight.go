package kernel

import "unsafe"

// An eightBit is one implementation of products in 8 bits. All give the same
// integers, and the same float32 values before an activation.
//
// Factors are bytes, four to a word, the first in the low bits. Those of the
// left matrix are integers from -127 to 127. Those of the right one are from -64
// to 64 with 64 added, so that they have no sign; sums start at what that makes
// too much. With seven bits, the sum of two products has room in 16, and
// processors without VNNI can add up without an error.
type eightBit struct {
	name   string
	mr, nr int // rows and columns of a tile

	// tile adds a product of mr rows with a panel of nr columns:
	//
	//	c[i*ldc+j] += sum over p < k of a[p*mr+i] · b[p*nr+j]
	//
	// where · is the sum of the products of the words' factors.
	tile func(k int, a, b []uint32, c []int32, ldc int)
	// quick is tile for rows of which crowded says nothing; k is a multiple of
	// groupWords. nil: there is none.
	quick func(k int, a, b []uint32, c []int32, ldc int)
	// crowded sets dst[g], for each group of groupWords words of the panel a of
	// mr rows, to something else than 0 if quick has no room: if in the upper or
	// the lower halves of two words of a row, the first two or the last, the
	// factors of one sign add up to more than 255.
	crowded func(dst, a []uint32)
	// absMax returns the bits of the largest magnitude of x. NaN is the
	// largest of all, and an infinity larger than all numbers.
	absMax func(x []float32) uint32
	// quantise sets dst to the words of the integers nearest to x*scale, ties
	// to even, and returns their sum. The factors that fill the words are 0.
	quantise func(dst []uint32, x []float32, scale float32) int32
	// dequantise sets dst[i] = (sums[i]+start)*scales[i]*scale + bias[i].
	dequantise func(dst []float32, sums []int32, start int32, scales, bias []float32, scale float32)
	// transpose sets dst[j*mr+i] = src[i*lds+j] for i < mr, j < n.
	transpose func(dst, src []uint32, lds, n int)
}

// active8 is the implementation in use; it is set before main starts.
var active8 = eightBits()[0]

// Name8 returns the name of the implementation of products in 8 bits that is
// in use: "generic", "avx2" or "vnni".
func Name8() string { return active8.name }

// groupWords is the number of words that are told apart as crowded or not.
const groupWords = 4

// wordsOf is the number of words of n factors, whole groups.
func wordsOf(n int) int { return (n + 4*groupWords - 1) / (4 * groupWords) * groupWords }

// padded returns the width of n columns rounded up to whole panels.
func (e *eightBit) padded(n int) int { return (n + e.nr - 1) / e.nr * e.nr }

// maxWords is the length of a block of the inner dimension, in words: a panel
// of it stays in the first-level cache while the rows pass by.
const maxWords = 256

// blockWords returns the length of the blocks into which k words are cut.
func blockWords(k int) int {
	blocks := max(1, (k+maxWords-1)/maxWords)
	return ((k+blocks-1)/blocks + groupWords - 1) &^ (groupWords - 1)
}

// asWords and asInts are floats' memory read as integers: scratch, and packed
// weights, which graphs carry as float32.
func asWords(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

func asInts(x []float32) []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

func asFloats(x []uint32) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
