package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// temporary matches the names that Create gives to files on their way.
var temporary = regexp.MustCompile(`^\..+\.[0-9a-f]{8}\.tmp$`)

// leftOver is how old a temporary file must be to be swept: younger ones may
// be about to be locked.
const leftOver = 10 * time.Second

// Sweep removes the temporary files that killed processes left in dir. Those
// that a process still writes are locked and stay. A folder that does not exist
// has none.
func Sweep(dir string) error { return sweep(dir, time.Now().Add(-leftOver)) }

func sweep(dir string, before time.Time) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !temporary.MatchString(e.Name()) || info.ModTime().After(before) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if !free(path) {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
