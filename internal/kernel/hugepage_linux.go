package kernel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const hugePage = 2 << 20

// huge asks for large pages under s, if it spans some: sweeps over packed
// weights then miss the address cache less.
func huge(s []float32) {
	if len(s) < hugePage/4 {
		return
	}
	p := uintptr(unsafe.Pointer(unsafe.SliceData(s)))
	skip := int(-p&(hugePage-1)) / 4
	n := (len(s) - skip) &^ (hugePage/4 - 1)
	if n <= 0 {
		return
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&s[skip])), 4*n)
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // a hint: without it all is the same
}
