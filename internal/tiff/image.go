package tiff

import (
	"fmt"
	"strings"
	"sync"

	"github.com/slidesam/sam/internal/jpegtile"
)

// The compression schemes that are read.
const (
	compNone     = 1
	compLZW      = 5
	compJPEG     = 7
	compDeflate  = 8
	compPackBits = 32773
	compDeflateO = 32946 // Deflate under its first number
	compJ2KYCC   = 33003 // Aperio, YCbCr
	compJ2KLossy = 33004
	compJ2KRGB   = 33005 // Aperio, RGB
	compJ2K      = 34712
)

// compNames names what is refused, so that the error helps.
var compNames = map[uint64]string{
	2: "CCITT RLE", 3: "CCITT fax 3", 4: "CCITT fax 4", 6: "old-style JPEG", 22610: "JPEG XR (NDPI)", 34892: "lossy JPEG (DNG)",
	34887: "LERC", 34933: "PNG", 34934: "JPEG XR", 50002: "JPEG XL", 52546: "JPEG XL (DNG)",
}

// The photometric interpretations that are read.
const (
	photoWhiteIsZero = 0
	photoBlackIsZero = 1
	photoRGB         = 2
	photoPalette     = 3
	photoYCbCr       = 6
)

const (
	maxSide          = 1 << 30 // pixels on one side of a picture
	j2kShare         = 4       // part of the limit of pixels that JPEG 2000 may have: its decoder takes up to 50 bytes for each
	stripTarget      = 1 << 18 // pixels that uncompressed strips are cut into
	maxSegmentsTotal = 1 << 31
)

// Image is the raster of one directory, checked and ready to decode.
//
// It is cut into segments: the tiles of a tiled file, the strips of a
// stripped one. Long uncompressed strips are cut further. All segments are
// SegW x SegH except those at the right and bottom edges of a stripped
// picture; tiles reach over the edge, as the file has them.
//
// The Orientation field is not applied: slides are shown as stored.
type Image struct {
	W, H       int  // size in pixels
	SegW, SegH int  // size of a segment in pixels
	Cols, Rows int  // segments across and down
	Tiled      bool // false for strips

	f           *File
	comp        uint64
	photo       uint64
	planar      bool // one segment per sample
	spp         int  // samples per pixel
	bits        int
	predictor   uint64
	alpha       int // index of an alpha sample, -1 if none
	premul      bool
	fileRows    int // rows per strip in the file
	offs, sizes []uint64
	tables      *jpegtile.Tables
	palette     []byte // [256, 3]
	aperio      bool   // Aperio wrote the file
	reversed    bool   // the bits of each byte, lowest first

	halvesOnce sync.Once
	halves     int // see Reductions
}

// Image checks the directory's fields and returns its raster. The error
// wraps ErrUnsupported or ErrCorrupt. The result is kept; repeated calls
// are free.
func (d *Dir) Image() (*Image, error) {
	d.once.Do(func() {
		d.im, d.imErr = d.image()
		if d.imErr != nil {
			d.imErr = fmt.Errorf("tiff: directory %d: %w", d.Index, d.imErr)
		}
	})
	return d.im, d.imErr
}

func (d *Dir) image() (*Image, error) {
	im := &Image{f: d.f, alpha: -1}
	if err := im.readSize(d); err != nil {
		return nil, err
	}
	if err := im.readSamples(d); err != nil {
		return nil, err
	}
	if err := im.readSegments(d); err != nil {
		return nil, err
	}
	return im, im.readCompression(d)
}

// Gray reports whether a pixel is one sample of brightness.
func (im *Image) Gray() bool { return im.photo <= photoBlackIsZero && im.spp == 1 }

// SameSamples reports whether two pictures have pixels of one kind: both in
// colour or both gray, and of as many bits.
func (im *Image) SameSamples(o *Image) bool {
	return im.Gray() == o.Gray() && (im.photo == photoPalette) == (o.photo == photoPalette) && im.bits == o.bits
}

func (im *Image) readSize(d *Dir) error {
	for _, s := range []struct {
		tag Tag
		dst *int
		def uint64
	}{{ImageWidth, &im.W, 0}, {ImageLength, &im.H, 0}, {TileWidth, &im.SegW, 0}, {TileLength, &im.SegH, 0}, {RowsPerStrip, &im.fileRows, maxSide}} {
		v, err := d.Uint(s.tag, s.def)
		if err != nil {
			return err
		}
		if s.tag == RowsPerStrip {
			v = min(v, maxSide)
		}
		if v > maxSide {
			return fmt.Errorf("tag %d is %d, over %d: %w", s.tag, v, maxSide, ErrCorrupt)
		}
		*s.dst = int(v)
	}
	if im.W == 0 || im.H == 0 {
		return fmt.Errorf("size %d x %d: %w", im.W, im.H, ErrCorrupt)
	}
	im.Tiled = d.Has(TileOffsets) || d.Has(TileWidth)
	if im.Tiled && (im.SegW == 0 || im.SegH == 0) {
		return fmt.Errorf("tile size %d x %d: %w", im.SegW, im.SegH, ErrCorrupt)
	}
	if !im.Tiled {
		if im.fileRows == 0 {
			return fmt.Errorf("rows per strip is 0: %w", ErrCorrupt)
		}
		im.fileRows = min(im.fileRows, im.H)
		im.SegW, im.SegH = im.W, im.fileRows
	}
	return nil
}

func (im *Image) readSamples(d *Dir) error {
	spp, err := d.Uint(SamplesPerPixel, 1)
	if err != nil {
		return err
	}
	if spp == 0 || spp > 4 {
		return fmt.Errorf("%d samples per pixel, want 1 to 4: %w", spp, ErrUnsupported)
	}
	im.spp = int(spp)
	bits, err := d.Uints(BitsPerSample)
	if err != nil {
		return err
	}
	if len(bits) == 0 {
		bits = []uint64{1}
	}
	for _, b := range bits {
		if b != bits[0] {
			return fmt.Errorf("samples of %d bits each: %w", bits, ErrUnsupported)
		}
	}
	im.bits = int(min(bits[0], 1<<16))
	if im.bits != 8 && im.bits != 16 {
		return fmt.Errorf("samples of %d bits, want 8 or 16: %w", im.bits, ErrUnsupported)
	}
	formats, err := d.Uints(SampleFormat)
	if err != nil {
		return err
	}
	for _, v := range formats {
		if v == 3 {
			return fmt.Errorf("floating-point samples, want unsigned integers: %w", ErrUnsupported)
		}
		if v != 1 && v != 4 {
			return fmt.Errorf("sample format %d, want unsigned integers: %w", v, ErrUnsupported)
		}
	}
	planar, err := d.Uint(PlanarConfig, 1)
	if err != nil {
		return err
	}
	im.planar = planar == 2 && im.spp > 1
	if im.photo, err = d.Uint(Photometric, photoBlackIsZero); err != nil {
		return err
	}
	color := 1
	switch im.photo {
	case photoWhiteIsZero, photoBlackIsZero:
	case photoPalette:
		if err := im.readPalette(d); err != nil {
			return err
		}
	case photoRGB, photoYCbCr:
		color = 3
	default:
		return fmt.Errorf("photometric interpretation %d, want gray, RGB, palette or YCbCr: %w", im.photo, ErrUnsupported)
	}
	if im.spp < color {
		return fmt.Errorf("%d samples per pixel for photometric interpretation %d: %w", im.spp, im.photo, ErrCorrupt)
	}
	if im.spp > color {
		extra, err := d.Uints(ExtraSamples)
		if err != nil {
			return err
		}
		if len(extra) > 0 && (extra[0] == 1 || extra[0] == 2) {
			im.alpha, im.premul = color, extra[0] == 1
		}
	}
	ff, err := d.Uint(FillOrder, 1)
	if err != nil || ff > 2 { // 0 is written for 1
		return fmt.Errorf("fill order %d: %w", ff, ErrUnsupported)
	}
	im.reversed = ff == 2
	return nil
}

// readPalette reads the colour map, 3 x 256 values of 16 bits.
func (im *Image) readPalette(d *Dir) error {
	if im.bits != 8 {
		return fmt.Errorf("palette of %d bits: %w", im.bits, ErrUnsupported)
	}
	m, err := d.Uints(ColorMap)
	if err != nil {
		return err
	}
	if len(m) != 3*256 {
		return fmt.Errorf("colour map of %d values, want 768: %w", len(m), ErrCorrupt)
	}
	im.palette = make([]byte, 3*256)
	for i := range 256 {
		for c := range 3 {
			im.palette[3*i+c] = byte(m[256*c+i] >> 8)
		}
	}
	return nil
}

func (im *Image) readSegments(d *Dir) error {
	offTag, sizeTag := StripOffsets, StripByteCounts
	if im.Tiled {
		offTag, sizeTag = TileOffsets, TileByteCounts
	}
	im.Cols = (im.W-1)/im.SegW + 1
	im.Rows = (im.H-1)/im.SegH + 1
	want := int64(im.Cols) * int64(im.Rows)
	if im.planar {
		want *= int64(im.spp)
	}
	if want > maxSegmentsTotal {
		return fmt.Errorf("%d tiles or strips: %w", want, ErrUnsupported)
	}
	var err error
	if im.offs, err = d.Uints(offTag); err != nil {
		return err
	}
	if im.sizes, err = d.Uints(sizeTag); err != nil {
		return err
	}
	if int64(len(im.offs)) < want || int64(len(im.sizes)) < want {
		return fmt.Errorf("%d offsets and %d lengths for %d tiles or strips: %w", len(im.offs), len(im.sizes), want, ErrCorrupt)
	}
	return nil
}

func (im *Image) readCompression(d *Dir) error {
	var err error
	if im.comp, err = d.Uint(Compression, compNone); err != nil {
		return err
	}
	if im.predictor, err = d.Uint(Predictor, 1); err != nil {
		return err
	}
	limit := im.f.limits.Pixels
	switch im.comp {
	case compNone, compPackBits, compLZW, compDeflate, compDeflateO, compZstd, compLZMA:
		if im.photo == photoYCbCr {
			return fmt.Errorf("YCbCr samples without JPEG compression: %w", ErrUnsupported)
		}
	case compJPEG:
		if im.bits != 8 || im.photo == photoPalette || im.photo == photoWhiteIsZero {
			return fmt.Errorf("JPEG data of %d bits, photometric interpretation %d: %w", im.bits, im.photo, ErrUnsupported)
		}
		b, err := d.Bytes(JPEGTables)
		if err != nil {
			return err
		}
		if im.tables, err = jpegtile.ParseTables(b); err != nil {
			return fmt.Errorf("%w: %w", err, ErrCorrupt)
		}
	case compJ2KYCC, compJ2KRGB, compJ2KLossy, compJ2K:
		limit /= j2kShare
		im.aperio = strings.HasPrefix(d.f.dirs[0].Text(ImageDescription), "Aperio")
		if im.bits != 8 && im.planar || im.photo == photoPalette || im.photo == photoWhiteIsZero {
			return fmt.Errorf("JPEG 2000 data of %d bits, photometric interpretation %d, separate planes %v: %w", im.bits, im.photo, im.planar, ErrUnsupported)
		}
	case compWebP:
		limit /= 4 // the decoder holds the planes besides
		if im.bits != 8 || im.planar || im.photo != photoRGB {
			return fmt.Errorf("WebP data of %d bits, photometric interpretation %d, separate planes %v: %w", im.bits, im.photo, im.planar, ErrUnsupported)
		}
	default:
		if n := compNames[im.comp]; n != "" {
			return fmt.Errorf("compression %d (%s): %w", im.comp, n, ErrUnsupported)
		}
		return fmt.Errorf("compression %d: %w", im.comp, ErrUnsupported)
	}
	switch im.comp {
	case compLZW, compDeflate, compDeflateO, compZstd, compLZMA:
		if im.predictor == 3 {
			return fmt.Errorf("floating-point predictor: %w", ErrUnsupported)
		}
		if im.predictor != 1 && im.predictor != 2 {
			return fmt.Errorf("predictor %d: %w", im.predictor, ErrUnsupported)
		}
	default:
		im.predictor = 1 // the field has no meaning for the others
	}
	// Nothing is decoded to cut an uncompressed strip into shorter ones.
	if im.comp == compNone && !im.Tiled && im.SegH > 1 {
		im.SegH = max(1, min(im.SegH, stripTarget/im.W))
		// a whole number of pieces per strip, so that none crosses a border
		for im.fileRows%im.SegH != 0 && im.fileRows < im.H {
			im.SegH--
		}
		im.Rows = (im.H-1)/im.SegH + 1
	}
	if int64(im.SegW)*int64(im.SegH) > limit {
		return fmt.Errorf("tile or strip of %d x %d, over the limit of %d pixels (MaxPixels raises it): %w", im.SegW, im.SegH, limit, ErrUnsupported)
	}
	return nil
}
