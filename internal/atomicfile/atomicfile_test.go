package atomicfile_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/atomicfile"
)

func write(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// names lists the folder.
func names(t *testing.T, dir string) []string {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func read(t *testing.T, path string) string {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.txt")
	require.NoError(t, atomicfile.Write(path, write("one")))
	assert.Equal(t, "one", read(t, path))
	require.NoError(t, atomicfile.Write(path, write("two")))
	assert.Equal(t, "two", read(t, path))
	assert.Equal(t, []string{"a.txt"}, names(t, dir))
}

func TestFailureLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.txt")
	require.NoError(t, atomicfile.Write(path, write("old")))
	fault := errors.New("fault")
	err := atomicfile.Write(path, func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		return fault
	})
	assert.ErrorIs(t, err, fault)
	assert.Panics(t, func() {
		_ = atomicfile.Write(path, func(io.Writer) error { panic("fault") })
	})
	assert.Equal(t, "old", read(t, path))
	assert.Equal(t, []string{"a.txt"}, names(t, dir))
}

func TestNothingIsThereBeforeCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.txt")
	f, err := atomicfile.Create(path)
	require.NoError(t, err)
	_, err = f.Write([]byte("x"))
	require.NoError(t, err)
	assert.NoFileExists(t, path)
	require.NoError(t, f.Commit())
	assert.Equal(t, "x", read(t, path))
	_, err = f.Write([]byte("y"))
	assert.ErrorIs(t, err, atomicfile.ErrClosed)
	assert.ErrorIs(t, f.Commit(), atomicfile.ErrClosed)
	assert.NoError(t, f.Close())
	assert.Equal(t, "x", read(t, path))

	f, err = atomicfile.Create(filepath.Join(dir, "b.txt"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	assert.Equal(t, []string{"a.txt"}, names(t, dir))
}

func TestPermissionsAndLinksAreKept(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("on Windows files have no permission bits and links need a privilege")
	}
	dir := t.TempDir()
	path, link := filepath.Join(dir, "a.txt"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(path, nil, 0o640))
	require.NoError(t, os.Symlink("a.txt", link))
	require.NoError(t, atomicfile.Write(link, write("new")))
	assert.Equal(t, "new", read(t, path))
	info, err := os.Lstat(link)
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&os.ModeSymlink)
	info, err = os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode().Perm())
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	assert.ErrorContains(t, atomicfile.Write(dir, write("x")), "is a folder")
	assert.ErrorIs(t, atomicfile.Write(filepath.Join(dir, "none", "a.txt"), write("x")), os.ErrNotExist)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	assert.Error(t, atomicfile.Write(filepath.Join(file, "a.txt"), write("x")))
	assert.Equal(t, []string{"file"}, names(t, dir))
}

func TestDeviceIsWrittenInPlace(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/dev/full is there on Linux alone")
	}
	assert.NoError(t, atomicfile.Write("/dev/null", write("x")))
	// A device that is always full shows that errors of the last flush count.
	assert.ErrorContains(t, atomicfile.Write("/dev/full", write("x")), "no space left")
	info, err := os.Stat("/dev/null")
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&os.ModeDevice)
}

func ExampleWrite() {
	dir, err := os.MkdirTemp("", "atomicfile")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "hello.txt")
	err = atomicfile.Write(path, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, "whole")
		return err
	})
	b, _ := os.ReadFile(path)
	fmt.Printf("%s%v\n", b, err)
	// Output:
	// whole
	// <nil>
}

func ExampleCreate() {
	dir, err := os.MkdirTemp("", "atomicfile")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	f, err := atomicfile.Create(filepath.Join(dir, "hello.txt"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	fmt.Fprintln(f, "whole")
	fmt.Println(f.Commit())
	// Output: <nil>
}
