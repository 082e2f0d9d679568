// Package dicom reads whole slides of DICOM: VL Whole Slide Microscopy
// instances of one series, tiled fully or sparsely, in one file or many.
//
// Headers are walked over without holding them; the pixel data is indexed
// frame by frame and stays in the files, so that the memory used is 16 bytes
// a frame, 24 of sparse ones, whatever the slide's size. Frames may be
// native or coded as RLE, JPEG or JPEG 2000.
//
//	s, err := dicom.Open(os.DirFS("slide"), ".")
//	seg, err := s.Levels[0].Tile(3, 5)
//
// Source: DICOM PS3.3 A.32.8, C.8.12; PS3.5 A.4, annex G.
package dicom

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// maxFiles is the most files of a folder that are looked at.
const maxFiles = 1 << 16

// Slide is an open series. It is safe for use by many goroutines.
type Slide struct {
	Series     string // its UID
	Levels     []*Picture
	Associated []*Picture
	MPPX, MPPY float64 // micrometres per pixel of level 0, 0 if unknown
	Objective  float64 // magnification, 0 if unknown
	ICC        []byte
	Scanner    string // manufacturer and model
	Planes     int    // focal planes
	Paths      int    // optical paths
	open       []*instance
}

// Open opens the series of a file, with all instances of it in the file's
// folder, or the one series of whole slides in the folder "." of fsys.
//
// Of a series the instances of kind VOLUME are the levels; LABEL, OVERVIEW
// and THUMBNAIL become the associated pictures label, macro and thumbnail.
// Of several focal planes and optical paths the first is read. Several
// series with levels in one folder are refused: one of their files says
// which is meant.
func Open(fsys fs.FS, file string) (*Slide, error) {
	dir := path.Dir(file)
	series := ""
	if file != "." {
		in, err := openInstance(fsys, file, true)
		if err != nil {
			return nil, fmt.Errorf("dicom: open: %w", err)
		}
		if in.class != wsiClass {
			return nil, fmt.Errorf("dicom: open: SOP class %s, want VL Whole Slide Microscopy: %w", in.class, tiff.ErrUnsupported)
		}
		series = in.series
	}
	names, err := wsiFiles(fsys, dir, &series)
	if errors.Is(err, errors.ErrUnsupported) && file != "." {
		names, err = []string{file}, nil // a server that lists no folders
	}
	if err != nil {
		return nil, fmt.Errorf("dicom: open: %w", err)
	}
	s := &Slide{Series: series}
	for _, name := range names {
		in, err := openInstance(fsys, name, false)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("dicom: open %s: %w", name, err)
		}
		s.open = append(s.open, in)
	}
	if err := s.arrange(); err != nil {
		s.Close()
		return nil, fmt.Errorf("dicom: open: %w", err)
	}
	return s, nil
}

// Close closes the files.
func (s *Slide) Close() error {
	var errs []error
	for _, in := range s.open {
		errs = append(errs, in.c.Close())
	}
	return errors.Join(errs...)
}

// UIDs returns the instances' identifiers, in the order of the files' names.
func (s *Slide) UIDs() (out []string) {
	for _, in := range s.open {
		out = append(out, in.uid)
	}
	return out
}

// Files returns the files' names, in their order.
func (s *Slide) Files() (out []string) {
	for _, in := range s.open {
		out = append(out, in.name)
	}
	return out
}

// Found is a series of whole slides in a folder.
type Found struct {
	Series string // its UID
	File   string // the first file, by name, that holds a level
}

// Find returns the series of whole slides in the folder dir of fsys, by their
// first files. Only files are looked at whose names may be those of DICOM
// files: with the end .dcm or .dicom, or none but digits. Others, and files that
// cannot be read, are passed over.
func Find(fsys fs.FS, dir string) ([]Found, error) {
	_, levels, err := seriesIn(fsys, dir, "", func(name string) bool {
		end := strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
		return end == "dcm" || end == "dicom" || strings.Trim(end, "0123456789") == ""
	})
	if err != nil {
		return nil, fmt.Errorf("dicom: find: %w", err)
	}
	out := make([]Found, 0, len(levels))
	for series, file := range levels {
		out = append(out, Found{series, file})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].File < out[j].File })
	return out, nil
}

// seriesIn returns the files of each series of whole slides in dir, or of one
// if it is not empty, and of those with a level the first file that holds one.
func seriesIn(fsys fs.FS, dir, series string, look func(name string) bool) (of map[string][]string, levels map[string]string, err error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, nil, err
	}
	if len(entries) > maxFiles {
		return nil, nil, fmt.Errorf("folder of %d files, over %d: %w", len(entries), maxFiles, tiff.ErrUnsupported)
	}
	of, levels = map[string][]string{}, map[string]string{}
	for _, e := range entries {
		if !e.Type().IsRegular() || !look(e.Name()) {
			continue
		}
		name := path.Join(dir, e.Name())
		in, err := openInstance(fsys, name, true)
		if err != nil || in.class != wsiClass || series != "" && in.series != series {
			continue // other files may lie in the folder
		}
		of[in.series] = append(of[in.series], name)
		if in.kind == "VOLUME" && levels[in.series] == "" {
			levels[in.series] = name
		}
	}
	return of, levels, nil
}

// wsiFiles returns the files of dir that hold instances of the series. An
// empty series is set to the only one there is.
func wsiFiles(fsys fs.FS, dir string, series *string) ([]string, error) {
	of, levels, err := seriesIn(fsys, dir, *series, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	if *series == "" {
		switch len(levels) {
		case 0:
			return nil, fmt.Errorf("no VL Whole Slide Microscopy image of kind VOLUME in the folder: %w", tiff.ErrUnsupported)
		case 1:
		default:
			var files []string
			for _, f := range levels {
				files = append(files, f)
			}
			sort.Strings(files)
			return nil, fmt.Errorf("%d series of whole slides in the folder: name one file of the series that is meant, such as %s: %w",
				len(files), strings.Join(files[:min(len(files), 4)], ", "), tiff.ErrUnsupported)
		}
		for k := range levels {
			*series = k
		}
	}
	return of[*series], nil
}

// associated names the kinds that are not levels.
var associated = map[string]string{"LABEL": "label", "OVERVIEW": "macro", "THUMBNAIL": "thumbnail"}

// arrange turns the instances into levels and associated pictures.
func (s *Slide) arrange() error {
	groups := map[string][]*instance{}
	var keys []string
	for _, in := range s.open {
		if in.kind != "VOLUME" && associated[in.kind] == "" {
			continue
		}
		key := in.concat
		if key == "" {
			key = "file " + in.name
		}
		if groups[key] == nil {
			keys = append(keys, key)
		}
		groups[key] = append(groups[key], in)
	}
	var levels []*Picture
	for _, k := range keys {
		p, err := newPicture(groups[k])
		kind := groups[k][0].kind
		if err != nil {
			err = fmt.Errorf("%s: %w", groups[k][0].name, err)
		}
		if kind == "VOLUME" {
			if err != nil {
				return err
			}
			levels = append(levels, p)
			continue
		}
		if err != nil { // of no harm to the slide
			p = &Picture{Err: err}
		}
		p.Name = associated[kind]
		s.Associated = append(s.Associated, p)
	}
	if len(levels) == 0 {
		return fmt.Errorf("no image of kind VOLUME in the series: %w", tiff.ErrUnsupported)
	}
	sort.SliceStable(levels, func(i, j int) bool {
		a, b := levels[i], levels[j]
		if a.W != b.W {
			return a.W > b.W
		}
		return a.parts[0].number < b.parts[0].number
	})
	first := levels[0].parts[0]
	for _, p := range levels {
		in := p.parts[0]
		if in.samples == 1 && (in.paths > 1 || len(s.Levels) > 0 && s.Levels[0].W == p.W) {
			return fmt.Errorf("gray images of several optical paths (fluorescence): only brightfield is read: %w", tiff.ErrUnsupported)
		}
		if k := len(s.Levels); in.pyramid != first.pyramid || k > 0 && s.Levels[k-1].W == p.W {
			continue // another pyramid, focal plane or path
		}
		s.Levels = append(s.Levels, p)
	}
	s.describe(first)
	return nil
}

// describe takes over what the header of the finest level says.
func (s *Slide) describe(in *instance) {
	if d := in.spacing; len(d) == 2 {
		s.MPPX, s.MPPY = d[1]*1000, d[0]*1000 // between columns is x
	} else if in.matrixW > 0 && in.matrixH > 0 {
		s.MPPX, s.MPPY = in.volumeW/float64(in.matrixW)*1000, in.volumeH/float64(in.matrixH)*1000
	}
	s.Objective, s.ICC = in.power, in.icc
	s.Planes, s.Paths = int(in.planes), int(in.paths)
	s.Scanner = strings.TrimSpace(in.manufacturer + " " + in.model)
}
