//go:build unix

package regular

import "golang.org/x/sys/unix"

// noWait keeps the opening of a pipe from waiting for its writer.
const noWait = unix.O_NONBLOCK
