package wsi

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/slidesam/sam/internal/dicom"
	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/zarr"
)

// openFolder returns the folder of a slide of several files and the name in
// it that file means, "." for the folder itself. Nothing outside of that
// folder can be opened through it, by whatever names or links it holds.
func openFolder(file string) (root *os.Root, name string, err error) {
	// The file is the user's own and may be a link; its target is what counts.
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return nil, "", err
	}
	st, err := os.Stat(file)
	if err != nil {
		return nil, "", err
	}
	if st.IsDir() {
		root, err = os.OpenRoot(file)
		return root, ".", err
	}
	root, err = os.OpenRoot(filepath.Dir(file))
	return root, filepath.Base(file), err
}

// openFiles opens a slide of several files: a folder, or a file of one.
func (s *Slide) openFiles(file string) error {
	root, name, err := openFolder(file)
	if err != nil {
		return err
	}
	if err := s.openIn(root.FS(), name); err != nil {
		s.Close()
		root.Close()
		return err
	}
	inner := s.close
	s.close = func() error { return errors.Join(inner(), root.Close()) }
	return nil
}

// openIn opens the slide that name is in a folder.
func (s *Slide) openIn(fsys fs.FS, name string) error {
	if strings.EqualFold(path.Ext(name), ".mrxs") {
		return s.openMIRAX(fsys, name)
	}
	if name == "." && zarr.IsZarr(fsys, name) {
		return s.openZarr(fsys, name)
	}
	return s.openDICOM(fsys, name)
}

// SlidesIn returns the slides of several files that the folder dir of fsys is
// or holds, by the names to open them with: dir itself if it is an OME-Zarr
// image, otherwise the first file of each DICOM series. It does not look into
// folders within.
func SlidesIn(fsys fs.FS, dir string) ([]string, error) {
	if zarr.IsZarr(fsys, dir) {
		return []string{dir}, nil
	}
	found, err := dicom.Find(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("wsi: slides in folder: %w", err)
	}
	var out []string
	for _, f := range found {
		out = append(out, f.File)
	}
	return out, nil
}

// sampleBlocks and sampleSize are how much of a file its digest covers.
const (
	sampleBlocks = 16
	sampleSize   = 4096
)

// digestFile adds a file's length, its beginning and end and blocks spread
// over it to a digest.
func digestFile(h io.Writer, r io.ReaderAt, size int64) error {
	if err := binary.Write(h, binary.LittleEndian, size); err != nil {
		return err
	}
	b := make([]byte, sampleSize)
	for i := range int64(sampleBlocks) {
		at := max(size-sampleSize, 0) * i / (sampleBlocks - 1)
		n, err := r.ReadAt(b, at)
		if err != nil && err != io.EOF {
			return fmt.Errorf("%d bytes at %d: %w", sampleSize, at, err)
		}
		if _, err := h.Write(b[:n]); err != nil {
			return err
		}
	}
	return nil
}

// digestFiles is the digest of several files of a folder.
func digestFiles(fsys fs.FS, names []string) (string, error) {
	h := sha256.New()
	for _, name := range names {
		err := withFile(fsys, name, func(r io.ReaderAt, size int64) error { return digestFile(h, r, size) })
		if err != nil {
			return "", err
		}
	}
	return fmt.Sprintf(" %x", h.Sum(nil)), nil
}

// withFile opens a regular file for the time of a call.
func withFile(fsys fs.FS, name string, f func(r io.ReaderAt, size int64) error) error {
	file, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	r, ok := file.(io.ReaderAt)
	if !ok || !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file: %w", name, tiff.ErrCorrupt)
	}
	if err := f(r, st.Size()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// wholeRaster decodes all of a small raster of w x h pixels.
func wholeRaster(r raster, w, h int) (image.Image, error) {
	const limit = 1 << 26
	if int64(w)*int64(h) > limit {
		return nil, fmt.Errorf("wsi: associated picture of %d x %d, over %d pixels", w, h, limit)
	}
	cols, rows, tw, th := r.grid()
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	for row := range rows {
		for col := range cols {
			seg, err := r.tile(col, row)
			if err != nil {
				return nil, fmt.Errorf("wsi: associated picture: %w", err)
			}
			blit(dst, image.Point{}, seg, image.Pt(col*tw, row*th), dst.Rect)
		}
	}
	return dst, nil
}
