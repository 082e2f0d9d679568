package wsi_test

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/tiff/tifftest"
	"github.com/slidesam/sam/internal/wsi"
)

// plain is a tiled page of one value.
func plain(w, h, spp int, v byte) tifftest.Page {
	b := make([]byte, w*h*spp)
	for i := range b {
		b[i] = v
	}
	return tifftest.Tiled(b, w, h, spp, 64, 64)
}

// with sets a field of a page.
func with(p tifftest.Page, t tiff.Tag, f tifftest.Field) tifftest.Page {
	p.Fields[t] = f
	return p
}

func described(p tifftest.Page, s string) tifftest.Page {
	return with(p, tiff.ImageDescription, tifftest.Text(s))
}

func saved(t *testing.T, name string, pages ...tifftest.Page) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(p, tifftest.Builder{Order: binary.LittleEndian}.File(pages...), 0o600))
	return p
}

func slideOf(t *testing.T, pages ...tifftest.Page) *wsi.Slide {
	t.Helper()
	s, err := wsi.Open(saved(t, "a.tif", pages...), wsi.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// first is the pixel at the corner of level 0.
func first(t *testing.T, s *wsi.Slide) color.RGBA {
	t.Helper()
	dst := image.NewRGBA(image.Rect(0, 0, 1, 1))
	require.NoError(t, s.ReadRegion(ctx, 0, image.Point{}, dst))
	return dst.RGBAAt(0, 0)
}

func sizes(s *wsi.Slide) (out []image.Point) {
	for _, l := range s.Levels() {
		out = append(out, image.Pt(l.W, l.H))
	}
	return out
}

// TestWhichPage: the largest picture in colour is the slide, whatever its
// place; masks and other kinds of pages are no levels.
func TestWhichPage(t *testing.T) {
	mask := tiff.NewSubfileType
	for _, tt := range []struct {
		name  string
		pages []tifftest.Page
		want  []image.Point
		red   byte
	}{
		{"smallest first", []tifftest.Page{plain(80, 64, 3, 1), plain(160, 128, 3, 2), plain(320, 256, 3, 3)}, []image.Point{{320, 256}, {160, 128}, {80, 64}}, 3},
		{"macro first", []tifftest.Page{plain(60, 100, 3, 1), plain(320, 256, 3, 3), plain(160, 128, 3, 2)}, []image.Point{{320, 256}, {160, 128}}, 3},
		{"gray mask first", []tifftest.Page{plain(320, 256, 1, 1), plain(320, 256, 3, 3), plain(160, 128, 3, 2)}, []image.Point{{320, 256}, {160, 128}}, 3},
		{"gray mask among levels", []tifftest.Page{plain(320, 256, 3, 3), plain(160, 128, 1, 2), plain(80, 64, 3, 1)}, []image.Point{{320, 256}, {80, 64}}, 3},
		{"marked mask", []tifftest.Page{plain(320, 256, 3, 3), with(plain(160, 128, 3, 9), mask, tifftest.Long(4)), plain(80, 64, 3, 1)}, []image.Point{{320, 256}, {80, 64}}, 3},
		{"stack", []tifftest.Page{plain(320, 256, 3, 3), plain(320, 256, 3, 4), plain(320, 256, 3, 5), plain(160, 128, 3, 1), plain(160, 128, 3, 2)}, []image.Point{{320, 256}, {160, 128}}, 3},
		{"gray slide, colour thumbnail", []tifftest.Page{plain(40, 32, 3, 1), plain(640, 512, 1, 3)}, []image.Point{{640, 512}}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := slideOf(t, tt.pages...)
			assert.Equal(t, tt.want, sizes(s))
			assert.Equal(t, tt.red, first(t, s).R)
		})
	}
}

// TestComposites: three gray planes are one picture in colour, or refused.
func TestComposites(t *testing.T) {
	planes := func(desc string, n int) (out []tifftest.Page) {
		for c := range n {
			out = append(out, plain(70, 50, 1, byte(10*(c+1))))
		}
		out[0] = described(out[0], desc)
		return out
	}
	ome := func(c, z int, channels string) string {
		return fmt.Sprintf(`<OME><Image Name="a"><Pixels DimensionOrder="XYCZT" SizeC="%d" SizeZ="%d" SizeT="1">%s<TiffData IFD="0"/></Pixels></Image></OME>`, c, z, channels)
	}
	const rgb = `<Channel Name="R"/><Channel Name="G"/><Channel Name="B"/>`
	for _, tt := range []struct {
		name, desc string
		n          int
	}{
		{"ImageJ", "ImageJ=1.53t\nimages=3\nchannels=3\nmode=composite\n", 3},
		{"ImageJ of depths", "ImageJ=1.53t\nimages=6\nchannels=3\nslices=2\nhyperstack=true\nmode=composite\n", 6},
		{"OME", ome(3, 1, rgb), 3},
		{"OME of depths", ome(3, 2, rgb), 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, color.RGBA{10, 20, 30, 255}, first(t, slideOf(t, planes(tt.desc, tt.n)...)))
		})
	}
	for _, tt := range []struct {
		name, desc string
		n          int
	}{
		{"ImageJ of two", "ImageJ=1.53t\nimages=2\nchannels=2\nmode=composite\n", 2},
		{"ImageJ, one directory", "ImageJ=1.53t\nimages=3\nchannels=3\nmode=composite\n", 1},
		{"OME of stains", ome(3, 1, `<Channel Name="DAPI"/><Channel Name="FITC"/><Channel Name="TRITC"/>`), 3},
		{"OME of four", ome(4, 1, ""), 4},
		{"nothing said", `{"shape": [3, 50, 70]}`, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wsi.Open(saved(t, "a.tif", planes(tt.desc, tt.n)...), wsi.Options{})
			assert.ErrorIs(t, err, wsi.ErrFormat)
		})
	}
}

// TestOMESets: an image of the XML that lies in another file is not read from
// this one, and the pixel size is that of the image shown.
func TestOMESets(t *testing.T) {
	image1 := func(name, file, mpp string, ifd int) string {
		return fmt.Sprintf(`<Image Name=%q><Pixels SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX=%q PhysicalSizeY=%q><TiffData IFD="%d"><UUID FileName=%q>urn:uuid:%s</UUID></TiffData></Pixels></Image>`, name, mpp, mpp, ifd, file, file)
	}
	xml := "<OME>" + image1("a", "a.ome.tif", "0.25", 0) + image1("b", "b.ome.tif", "0.5", 0) + "</OME>"
	s, err := wsi.Open(saved(t, "b.ome.tif", described(plain(64, 64, 3, 7), xml)), wsi.Options{})
	require.NoError(t, err)
	defer s.Close()
	assert.Equal(t, 0.5, s.Meta().MPPX)
	_, err = wsi.Open(saved(t, "c.ome.tif", described(plain(64, 64, 3, 7), xml)), wsi.Options{})
	assert.ErrorContains(t, err, "a.ome.tif")

	// A gray label image of the same size, first in the file.
	xml = `<OME><Image Name="nuclei"><Pixels SizeC="1" PhysicalSizeX="1" PhysicalSizeY="1"><TiffData IFD="0"/></Pixels></Image>` +
		`<Image Name="tissue"><Pixels SizeC="3" PhysicalSizeX="0,25" PhysicalSizeY="0,25"><TiffData IFD="1"/></Pixels></Image></OME>`
	both := slideOf(t, described(plain(64, 64, 1, 1), xml), plain(64, 64, 3, 7))
	assert.Equal(t, byte(7), first(t, both).R)
	assert.Equal(t, 0.25, both.Meta().MPPX)
}

// TestMetadata: pixel sizes and magnifications as people write them.
func TestMetadata(t *testing.T) {
	ome := func(decl, size, unit string) string {
		return decl + fmt.Sprintf(`<OME><Image><Pixels SizeC="3" PhysicalSizeX=%q PhysicalSizeXUnit=%q PhysicalSizeY=%q PhysicalSizeYUnit=%q><TiffData IFD="0"/></Pixels></Image></OME>`, size, "UNIT", size, "UNIT")
	}
	unit := func(s, u string) string {
		var out string
		for i := 0; i < len(s); i++ {
			if len(s)-i >= 4 && s[i:i+4] == "UNIT" {
				out += u
				i += 3
			} else {
				out += s[i : i+1]
			}
		}
		return out
	}
	wide := func(s string) string {
		b := []byte("\xff\xfe")
		for _, u := range utf16.Encode([]rune(s)) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		return string(b)
	}
	page := func() tifftest.Page { return plain(64, 64, 3, 9) }
	for _, tt := range []struct {
		name      string
		p         tifftest.Page
		mpp, objv float64
	}{
		{"aperio", described(page(), "Aperio\r\n64x64|AppMag = 20|MPP = 0.5"), 0.5, 20},
		{"aperio comma", described(page(), "Aperio\r\n64x64|AppMag = 20,0|MPP = 0,5000"), 0.5, 20},
		{"aperio without blanks", described(page(), "Aperio\r\n64x64|AppMag=40x|MPP=0,25"), 0.25, 40},
		{"ome utf-8", described(page(), unit(ome("", "0.25", ""), "µm")), 0.25, 0},
		{"ome comma", described(page(), unit(ome("", "0,25", ""), "µm")), 0.25, 0},
		{"ome latin-1 undeclared", described(page(), unit(ome("", "0.25", ""), "\xb5m")), 0.25, 0},
		{"ome latin-1 declared utf-8", described(page(), unit(ome(`<?xml version="1.0" encoding="UTF-8"?>`, "0.25", ""), "\xb5m")), 0.25, 0},
		{"ome latin-1 declared", described(page(), unit(ome(`<?xml version="1.0" encoding="ISO-8859-1"?>`, "0.25", ""), "\xb5m")), 0.25, 0},
		{"ome utf-8 declared windows-1252", described(page(), unit(ome(`<?xml version="1.0" encoding="windows-1252"?>`, "0.25", ""), "µm")), 0.25, 0},
		{"ome utf-16", described(page(), wide(unit(ome(`<?xml version="1.0" encoding="UTF-16"?>`, "0.25", ""), "µm"))), 0.25, 0},
		{"ome entity", described(page(), unit(ome("", "0.25", ""), "&#181;m")), 0.25, 0},
		{"ome nm", described(page(), unit(ome("", "250", ""), "nm")), 0.25, 0},
		{"ome unknown unit", described(page(), unit(ome("", "0.25", ""), "\ufffdm")), 0, 0},
		{"ome no number", described(page(), unit(ome("", "n/a", ""), "µm")), 0, 0},
		{"ImageJ um", ratio(described(page(), "ImageJ=1.11a\nimages=1\nunit=um\n"), 4, 1, 1), 0.25, 0},
		{"ImageJ micron", ratio(described(page(), "ImageJ=1.11a\nunit=micron\n"), 4, 1, 1), 0.25, 0},
		{"ImageJ escaped micro sign", ratio(described(page(), "ImageJ=1.11a\nunit=\\u00B5m\n"), 4, 1, 1), 0.25, 0},
		{"ImageJ latin-1 micro sign", ratio(described(page(), "ImageJ=1.11a\nunit=\xb5m\n"), 4, 1, 1), 0.25, 0},
		{"ImageJ mm", ratio(described(page(), "ImageJ=1.11a\nunit=mm\n"), 4000, 1, 1), 0.25, 0},
		{"ImageJ pixels", ratio(described(page(), "ImageJ=1.11a\nunit=pixel\n"), 4, 1, 1), 0, 0},
		{"tags", ratio(page(), 40000, 1, 3), 0.25, 0},
		{"printer", ratio(page(), 72, 1, 2), 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := slideOf(t, tt.p).Meta()
			assert.InDelta(t, tt.mpp, m.MPPX, 1e-9)
			assert.InDelta(t, tt.mpp, m.MPPY, 1e-9)
			assert.Equal(t, tt.objv, m.Objective)
		})
	}
	philips := func(s string) tifftest.Page {
		p := with(page(), tiff.Software, tifftest.Text("Philips DP v1.0"))
		return described(p, s)
	}
	const spacing = `<DataObject ObjectType="DPUfsImport"><Attribute Name="DICOM_MANUFACTURER">%s</Attribute><Attribute Name="DICOM_PIXEL_SPACING">"0,00025" "0,00025"</Attribute></DataObject>`
	for _, s := range []string{fmt.Sprintf(spacing, "a"), fmt.Sprintf(spacing, "M\xfcller"), wide(fmt.Sprintf(spacing, "Müller"))} {
		assert.InDelta(t, 0.25, slideOf(t, philips(s)).Meta().MPPX, 1e-9)
	}
}

func ratio(p tifftest.Page, n, d, unit uint64) tifftest.Page {
	p.Fields[tiff.XResolution], p.Fields[tiff.YResolution] = tifftest.Ratio(n, d), tifftest.Ratio(n, d)
	p.Fields[tiff.ResolutionUnit] = tifftest.Short(unit)
	return p
}

// TestGT450: label and macro without a description.
func TestGT450(t *testing.T) {
	sub := func(w, h int, typ uint64) tifftest.Page {
		return with(tifftest.Stripped(make([]byte, 3*w*h), w, h, 3), tiff.NewSubfileType, tifftest.Long(typ))
	}
	slide := described(plain(320, 256, 3, 9), "Aperio\r\n|MPP = 0.25")
	s := slideOf(t, slide, sub(80, 64, 0), sub(60, 60, 1), sub(160, 60, 9))
	assert.ElementsMatch(t, []string{"thumbnail", "label", "macro"}, s.AssociatedNames())
	for name, size := range map[string]image.Point{"thumbnail": {80, 64}, "label": {60, 60}, "macro": {160, 60}} {
		pic, err := s.Associated(name)
		require.NoError(t, err)
		assert.Equal(t, size, pic.Bounds().Size(), name)
	}
}

// TestMissingTiles: a tile of length 0 on a coarse level comes from the next
// finer one, through two levels; on level 0 it is an error, and counted if
// bad tiles are skipped.
func TestMissingTiles(t *testing.T) {
	pages := func() []tifftest.Page {
		return []tifftest.Page{described(plain(256, 256, 3, 90), "Aperio\r\n|MPP = 0.25"), plain(128, 128, 3, 90), plain(64, 64, 3, 90)}
	}
	p := pages()
	p[1].Segs[3], p[2].Segs[0] = nil, nil
	s := slideOf(t, p...)
	for level, l := range s.Levels() {
		dst := image.NewRGBA(image.Rect(0, 0, l.W, l.H))
		require.NoError(t, s.ReadRegion(ctx, level, image.Point{}, dst))
		for i, v := range dst.Pix {
			require.Equal(t, []byte{90, 90, 90, 255}[i%4], v, "level %d", level)
		}
	}
	p = pages()
	p[0].Segs[5] = nil
	dst := image.NewRGBA(image.Rect(0, 0, 256, 256))
	require.ErrorIs(t, slideOf(t, p...).ReadRegion(ctx, 0, image.Point{}, dst), tiff.ErrMissing)
	skip, err := wsi.Open(saved(t, "a.tif", p...), wsi.Options{SkipBadTiles: true})
	require.NoError(t, err)
	defer skip.Close()
	for range 2 {
		require.NoError(t, skip.ReadRegion(ctx, 0, image.Point{}, dst))
	}
	require.Len(t, skip.Skipped(), 1)
	assert.Equal(t, image.Rect(64, 64, 128, 128), skip.Skipped()[0].Rect)
}

// TestLenient: what libtiff reads is read, with a warning.
func TestLenient(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    tifftest.Page
		want string
	}{
		{"fill order 0", with(plain(64, 64, 3, 9), tiff.FillOrder, tifftest.Short(0)), "fill order"},
		{"signed width", with(plain(64, 64, 3, 9), tiff.ImageWidth, tifftest.Field{Type: 9, Values: []uint64{64}}), "signed"},
		{"signed short height", with(plain(64, 64, 3, 9), tiff.ImageLength, tifftest.Field{Type: 8, Values: []uint64{64}}), "signed"},
		{"SubIFD 0", with(plain(64, 64, 3, 9), tiff.SubIFDs, tifftest.Long(0)), "SubIFD"},
		{"SubIFDs past the end", with(plain(64, 64, 3, 9), tiff.SubIFDs, tifftest.Long(1<<30, 0)), "SubIFD"},
		{"SubIFD of no directory", with(plain(64, 64, 3, 9), tiff.SubIFDs, tifftest.Long(100)), "SubIFD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := slideOf(t, tt.p)
			assert.Equal(t, color.RGBA{9, 9, 9, 255}, first(t, s))
			require.NotEmpty(t, s.Warnings())
			assert.Contains(t, s.Warnings()[0], tt.want)
		})
	}
	turned := with(plain(64, 64, 3, 0x81|0x02), tiff.FillOrder, tifftest.Short(2))
	assert.Equal(t, color.RGBA{0xc1, 0xc1, 0xc1, 255}, first(t, slideOf(t, turned)))
}
