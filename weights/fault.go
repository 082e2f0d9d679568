package weights

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
)

// ErrChanged is wrapped by the error about a checkpoint file that another
// program has cut short or rewritten while it was open.
var ErrChanged = errors.New("the file was changed while it was read")

// guarded calls f, which reads a mapped file in this goroutine. Where the file
// was cut short there is no memory behind the mapping any more, and reading
// would end the program: it is an error instead.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		fault, isRuntime := r.(runtime.Error)
		if _, hasAddress := r.(interface{ Addr() uintptr }); !isRuntime || !hasAddress {
			panic(r)
		}
		err = formatError{fmt.Errorf("%w: %w", ErrChanged, fault)}
	}()
	return f()
}

// Unchanged returns an error that wraps [ErrChanged] if the file has another
// length or date than when it was opened: values read since may be of both its
// states. A file that was replaced as a whole, by renaming, is not changed.
func (c *Checkpoint) Unchanged() error {
	if c.file == nil || c.file.path == "" {
		return nil
	}
	for _, f := range append([]*mapping{c.file}, c.file.parts...) {
		now, err := os.Stat(f.path)
		if err != nil || !os.SameFile(now, f.info) {
			continue // removed or replaced: the mapping is of the old one
		}
		if now.Size() != f.info.Size() || !now.ModTime().Equal(f.info.ModTime()) {
			return fmt.Errorf("weights: %w", formatError{ErrChanged})
		}
	}
	return nil
}
