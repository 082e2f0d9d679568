//go:build !unix

package atomicfile

import "os"

// hold does nothing: an open file cannot be removed here.
func hold(*os.File) error { return nil }

// free reports true: removing a file that a process holds fails.
func free(string) bool { return true }
