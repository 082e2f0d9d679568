//go:build unix

package weights

import "golang.org/x/sys/unix"

// dropPages lets the system take back the memory of a mapped, unchanged range.
// b starts on a page. It is advice: an error changes nothing.
func dropPages(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }
