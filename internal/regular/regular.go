// Package regular opens files that hold bytes of their own. Pipes, sockets and
// devices, which may block for ever or never end, are refused before they are
// opened, and so are folders.
//
//	f, err := regular.Open("picture.png")
package regular

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrNotRegular is wrapped by errors about folders, pipes, sockets and devices.
var ErrNotRegular = errors.New("not a regular file")

// Open opens the file at path for reading. Symbolic links are followed. The
// error is a *fs.PathError, and wraps [ErrNotRegular] if there is something
// else than a file.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := check(path, info); err != nil {
		return nil, err
	}
	// Whatever takes the file's place now must not block either.
	f, err := os.OpenFile(path, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = check(path, info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ReadFile returns the content of the file at path, which [Open] opens. It
// returns an error if the file is longer than limit bytes.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("more than %d bytes", limit)}
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

func check(path string, info fs.FileInfo) error {
	m := info.Mode()
	what := "device"
	switch {
	case m.IsRegular():
		return nil
	case m.IsDir():
		what = "folder"
	case m&fs.ModeNamedPipe != 0:
		what = "pipe"
	case m&fs.ModeSocket != 0:
		what = "socket"
	}
	return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("a %s, want a file: %w", what, ErrNotRegular)}
}
