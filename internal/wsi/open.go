package wsi

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// Open opens the slide at path. The error wraps ErrFormat if the file is of
// no format that is read, and names the format if it is a known one.
//
// Built with the tag openslide, on Linux and macOS, it asks the OpenSlide
// library for what is not read here.
//
// An address such as https://host/a.svs is read if RegisterRemote was called
// for its scheme.
func Open(path string, o Options) (*Slide, error) {
	if r, err := remoteOf(path); r != nil || err != nil {
		var s *Slide
		if err == nil {
			s, err = openRemote(r, path, o)
		}
		if err != nil {
			return nil, fmt.Errorf("wsi: open address: %w", err)
		}
		return s, nil
	}
	head, err := readHead(path)
	if err != nil {
		return nil, fmt.Errorf("wsi: open: %w", err)
	}
	s, err := open(path, head, o)
	if refused := (refusal{}); errors.Is(err, ErrFormat) && !errors.As(err, &refused) {
		s, err = viaOpenSlide(path, o, err)
	}
	if err != nil {
		return nil, fmt.Errorf("wsi: open %s: %w", path, err)
	}
	return s, nil
}

// open opens a slide of a format that this package reads.
func open(path string, head []byte, o Options) (*Slide, error) {
	if f := foreign(path, head); f != nil {
		return nil, f
	}
	var err error
	s := &Slide{path: path, opt: o, cache: newTileCache(o.CacheBytes), assoc: map[string]func() (image.Image, error){}}
	switch {
	case head == nil || strings.EqualFold(filepath.Ext(path), ".mrxs") || len(head) >= 132 && string(head[128:132]) == "DICM":
		err = s.openFiles(path)
	case bytes.HasPrefix(head, []byte("\x89PNG\r\n\x1a\n")):
		err = s.openPicture(path, "png", png.DecodeConfig, png.Decode)
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		err = s.openPicture(path, "jpeg", jpeg.DecodeConfig, decodeJPEG)
	default:
		err = s.openTIFF(path)
		if errors.Is(err, tiff.ErrNotTIFF) {
			err = fmt.Errorf("neither TIFF, PNG nor JPEG: %w", ErrFormat)
		}
	}
	if err == nil {
		err = s.checkDepth()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.overrideMPP(o)
	return s, nil
}

func readHead(path string) ([]byte, error) {
	switch st, err := os.Stat(path); {
	case err != nil:
		return nil, err
	case st.IsDir():
		return nil, nil
	case !st.Mode().IsRegular(): // a pipe would block for ever
		return nil, fmt.Errorf("%s is no regular file (%v): %w", path, st.Mode().Type(), ErrFormat)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, 512)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}

// refusal is the error for a file of a known format whose picture cannot be
// told. The OpenSlide library is not asked about it: it would show the first
// of several channels as gray.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// refuse returns a refusal that wraps ErrFormat.
func refuse(format string, args ...any) error {
	return refusal{fmt.Errorf(format+": %w", append(args, ErrFormat)...)}
}

// foreignFormat is a slide format that is recognised and not read.
type foreignFormat struct {
	name, how string
	openslide bool // OpenSlide reads it
}

func (f *foreignFormat) Error() string {
	return f.name + " is not read; convert it first: " + f.how
}

func (f *foreignFormat) Unwrap() error { return ErrFormat }

// The two ways that cover the known formats.
const (
	viaVips = "vips tiffsave IN OUT.tif --tile --pyramid --bigtiff --compression jpeg --Q 90 (libvips built with OpenSlide)"
	viaBF   = "bfconvert -tilex 512 -tiley 512 -pyramid-resolutions 5 -pyramid-scale 2 IN OUT.ome.tiff (Bio-Formats)"
)

// byExt names formats by the file's extension where the first bytes do not.
var byExt = map[string]foreignFormat{
	".vms": {"Hamamatsu VMS", viaVips, true}, ".vmu": {"Hamamatsu VMU", viaVips, true},
	".ndpis":   {"Hamamatsu NDPI set", viaVips, false},
	".svslide": {"Sakura SVSLIDE", viaVips, true}, ".czi": {"Zeiss CZI", viaBF, true}, ".vsi": {"Olympus VSI", viaBF, false},
	".lif": {"Leica LIF", viaBF, false}, ".nd2": {"Nikon ND2", viaBF, false}, ".isyntax": {"Philips iSyntax", "isyntax2raw and raw2ometiff (glencoesoftware)", false},
	".zvi": {"Zeiss ZVI", viaBF, false},
}

// foreign recognises formats that are not read; nil for the others. TIFF
// based ones whose tags tell are found in openTIFF.
func foreign(path string, head []byte) error {
	switch {
	case bytes.HasPrefix(head, []byte("ZISRAWFILE")):
		f := byExt[".czi"]
		return &f
	case bytes.HasPrefix(head, []byte("\xda\xce\xbe\x0a")):
		f := byExt[".nd2"]
		return &f
	case bytes.HasPrefix(head, []byte("SQLite format 3\x00")):
		f := byExt[".svslide"]
		return &f
	}
	if f, ok := byExt[strings.ToLower(filepath.Ext(path))]; ok {
		return &f
	}
	return nil
}

// openTIFF opens a TIFF by the first format that claims it.
func (s *Slide) openTIFF(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil {
		err = s.openReader(f, st.Size())
	}
	if err != nil {
		f.Close()
		return err
	}
	s.close = f.Close
	return nil
}

// openReader opens a slide of one file of size bytes.
func (s *Slide) openReader(r io.ReaderAt, size int64) error {
	if known, err := s.openNDPI(r, size); known {
		return err
	}
	f, err := tiff.NewWithin(r, size, tiff.Limits{Pixels: s.opt.MaxPixels, Bytes: s.opt.MaxBytes})
	if err != nil {
		return err
	}
	s.file = f
	return s.readTIFF()
}

func (s *Slide) readTIFF() error {
	d := s.file.Dirs()[0]
	s.meta.Description = plainText(d.Text(tiff.ImageDescription))
	for _, o := range s.file.Dirs() { // a thumbnail or a mask may come first
		if strings.HasPrefix(o.Text(tiff.ImageDescription), "Aperio") && !strings.Contains(s.meta.Description, "<") {
			s.meta.Description = plainText(o.Text(tiff.ImageDescription))
			break
		}
	}
	software := d.Text(tiff.Software)
	desc := s.meta.Description
	if strings.HasPrefix(software, "MedScan") {
		return &foreignFormat{"Trestle TIFF", viaVips, true}
	}
	icc, err := d.Bytes(tiff.ICCProfile)
	if err != nil {
		return err
	}
	s.meta.ICC = icc
	switch {
	case strings.Contains(desc, "<scn"):
		return s.openSCN()
	case strings.Contains(d.Text(tiff.XMP), "<iScan"):
		return s.openBIF()
	case isQPI(plainText(desc)):
		return s.openQPTIFF()
	case strings.HasPrefix(desc, "Aperio"):
		return s.openAperio()
	case strings.HasPrefix(software, "Philips") && strings.Contains(desc, "<DataObject"):
		return s.openPhilips()
	case strings.Contains(desc, "<OME"):
		return s.openOME()
	}
	return s.openGeneric()
}
