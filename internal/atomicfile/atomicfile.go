// Package atomicfile writes files that are either whole or not there.
//
// A file is written beside its place under a temporary name, which is locked,
// flushed to the disk and renamed. Until then whatever was at that place stays as it is, and
// an error, a full disk or a killed process leaves no half file under its
// name. What a killed process leaves under temporary names [Sweep] removes.
//
//	err := atomicfile.Write("masks.json", func(w io.Writer) error {
//		return json.NewEncoder(w).Encode(masks)
//	})
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
)

// ErrClosed is returned by every use of a File after Commit or Close.
var ErrClosed = errors.New("atomicfile: file is closed")

// File is a file on its way. It is for one goroutine.
type File struct {
	path string // where it will lie
	tmp  string // where it is written; empty if it is written in place
	f    *os.File
	buf  *bufio.Writer
	mode fs.FileMode // of the file that will be replaced, 0 if there is none
}

// Create begins a file that [File.Commit] puts at path.
//
// A symbolic link is followed, and a file that is replaced passes on its
// permissions. If path is a device or a pipe, it is written to as it is. It
// returns an error if path is a folder or if the folder it lies in cannot be
// written to.
func Create(path string) (*File, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return create(path, os.Stat)
}

// CreateIn begins the file dir/name. It is [Create] for folders that others
// may write to: a symbolic link of that name is replaced and not followed.
func CreateIn(dir, name string) (*File, error) {
	return create(filepath.Join(dir, name), os.Lstat)
}

func create(path string, stat func(string) (fs.FileInfo, error)) (*File, error) {
	a := &File{path: path}
	switch info, err := stat(path); {
	case err == nil && info.IsDir():
		return nil, &fs.PathError{Op: "create", Path: path, Err: errors.New("is a folder")}
	case err == nil && info.Mode()&fs.ModeSymlink != 0: // of CreateIn: it is replaced
	case err == nil && !info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		a.f, a.buf = f, bufio.NewWriterSize(f, 1<<16)
		return a, nil
	case err == nil:
		a.mode = info.Mode().Perm()
	}
	dir, name := filepath.Split(path)
	for range 100 {
		a.tmp = filepath.Join(dir, fmt.Sprintf(".%s.%08x.tmp", name, rand.Uint32()))
		f, err := os.OpenFile(a.tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		a.f, a.buf = f, bufio.NewWriterSize(f, 1<<16)
		if err := hold(f); err != nil { // swept in between: no harm, another name
			f.Close()
			os.Remove(a.tmp)
			continue
		}
		return a, nil
	}
	return nil, &fs.PathError{Op: "create", Path: path, Err: errors.New("no free temporary name")}
}

// Write adds p to the file. It is buffered.
func (a *File) Write(p []byte) (int, error) {
	if a.f == nil {
		return 0, ErrClosed
	}
	return a.buf.Write(p)
}

// Overwrite replaces bytes that were written before, from offset on, as for a
// header that is known at the end alone.
func (a *File) Overwrite(offset int64, p []byte) error {
	if a.f == nil {
		return ErrClosed
	}
	if err := a.buf.Flush(); err != nil {
		return err
	}
	_, err := a.f.WriteAt(p, offset)
	return err
}

// Commit finishes the file and puts it in its place. On an error the file is
// removed, as by Close.
func (a *File) Commit() error {
	if a.f == nil {
		return ErrClosed
	}
	if err := a.finish(); err != nil {
		return errors.Join(err, a.Close())
	}
	f := a.f
	a.f = nil
	if err := f.Close(); err != nil {
		return errors.Join(err, a.remove())
	}
	if a.tmp == "" {
		return nil
	}
	if err := os.Rename(a.tmp, a.path); err != nil {
		return errors.Join(err, a.remove())
	}
	return syncFolder(filepath.Dir(a.path))
}

// finish brings all bytes to the disk.
func (a *File) finish() error {
	if err := a.buf.Flush(); err != nil {
		return err
	}
	if a.tmp == "" {
		return nil
	}
	if a.mode != 0 {
		if err := a.f.Chmod(a.mode); err != nil {
			return err
		}
	}
	return a.f.Sync()
}

// Close gives the file up and removes what was written of it. After Commit it
// does nothing, so that it can be deferred.
func (a *File) Close() error {
	if a.f == nil {
		return nil
	}
	f := a.f
	a.f = nil
	return errors.Join(f.Close(), a.remove())
}

func (a *File) remove() error {
	if a.tmp == "" {
		return nil
	}
	return os.Remove(a.tmp)
}

// syncFolder makes the new name last through a power cut. Windows has no such
// call for folders.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(ignoreUnsupported(d.Sync()), d.Close())
}

// ignoreUnsupported drops the error of file systems that cannot sync a folder.
func ignoreUnsupported(err error) error {
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// Write writes the file at path by calling write once. If write returns an
// error, or panics, the file is not written.
func Write(path string, write func(w io.Writer) error) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	return f.fill(write)
}

// WriteIn is [Write] for the file dir/name as [CreateIn] makes it.
func WriteIn(dir, name string, write func(w io.Writer) error) error {
	f, err := CreateIn(dir, name)
	if err != nil {
		return err
	}
	return f.fill(write)
}

func (f *File) fill(write func(w io.Writer) error) (err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := write(f); err != nil {
		return err
	}
	return f.Commit()
}
