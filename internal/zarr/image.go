// Package zarr reads OME-Zarr slides: multiscale images of versions 0.1 to
// 0.5, in Zarr version 2 or 3, chunks raw or coded by blosc, zstd, gzip,
// zlib, bz2 or lz4, sharded or not.
//
// One chunk of each channel is decoded at a time; a store may be any fs.FS.
//
//	s, err := zarr.Open(os.DirFS("slide.zarr"), ".")
//	seg, err := s.Levels[0].Tile(3, 5)
//
// Source: zarr-specs.readthedocs.io, ngff.openmicroscopy.org.
package zarr

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// Slide is an open multiscale image. It is safe for use by many goroutines.
type Slide struct {
	Levels     []*Level
	MPPX, MPPY float64 // micrometres per pixel of level 0, 0 if unknown
	Name       string
	dir        string
}

// Level is one resolution, cut into the chunks that it is stored in; they
// reach over the right and lower edge.
type Level struct {
	W, H         int
	TileW, TileH int
	Cols, Rows   int

	a       *Array
	x, y, c int // the axes; c is -1 if there is none
	colors  int // 1 or 3
}

// attributes are those of a group that count.
type attributes struct {
	Layout      int             `json:"bioformats2raw.layout"`
	Plate       json.RawMessage `json:"plate"`
	Multiscales []multiscale    `json:"multiscales"`
	Omero       struct {
		Channels []struct {
			Color string `json:"color"`
			Label string `json:"label"`
		} `json:"channels"`
	} `json:"omero"`
	OME *attributes `json:"ome"`
}

type multiscale struct {
	Name     string            `json:"name"`
	Axes     []json.RawMessage `json:"axes"`
	Datasets []struct {
		Path       string      `json:"path"`
		Transforms []transform `json:"coordinateTransformations"`
	} `json:"datasets"`
	Transforms []transform `json:"coordinateTransformations"`
}

type transform struct {
	Type  string    `json:"type"`
	Scale []float64 `json:"scale"`
}

// axis is an axis with its name alone (version 0.3) or its unit too.
type axis struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
}

// units turns the units of length that the specification lists and that
// slides use into micrometres.
var units = map[string]float64{"micrometer": 1, "micrometre": 1, "micron": 1, "um": 1, "µm": 1, "nanometer": 1e-3, "nm": 1e-3, "millimeter": 1e3, "mm": 1e3, "centimeter": 1e4, "meter": 1e6}

// IsZarr reports whether a folder is a Zarr group.
func IsZarr(fsys fs.FS, dir string) bool {
	for _, n := range []string{"zarr.json", ".zgroup", ".zattrs"} {
		if _, err := fs.Stat(fsys, path.Join(dir, n)); err == nil {
			return true
		}
	}
	return false
}

// Open opens the image in the folder dir. Of a folder of images that
// bioformats2raw wrote it is the first, "0".
func Open(fsys fs.FS, dir string) (*Slide, error) {
	s, err := open(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("zarr: open: %w", err)
	}
	return s, nil
}

func open(fsys fs.FS, dir string) (*Slide, error) {
	at, err := readAttributes(fsys, dir)
	if err != nil {
		return nil, err
	}
	if len(at.Plate) > 0 {
		return nil, fmt.Errorf("a plate of many images: name one of them: %w", tiff.ErrUnsupported)
	}
	if at.Layout > 0 && len(at.Multiscales) == 0 {
		dir = path.Join(dir, "0")
		if at, err = readAttributes(fsys, dir); err != nil {
			return nil, err
		}
	}
	if len(at.Multiscales) == 0 || len(at.Multiscales[0].Datasets) == 0 {
		return nil, fmt.Errorf("no multiscale image in the group: %w", tiff.ErrUnsupported)
	}
	m := at.Multiscales[0]
	s := &Slide{Name: m.Name, dir: dir}
	if len(m.Datasets) > 64 {
		return nil, fmt.Errorf("%d levels: %w", len(m.Datasets), tiff.ErrCorrupt)
	}
	for _, d := range m.Datasets {
		if !fs.ValidPath(d.Path) || d.Path == "." {
			return nil, fmt.Errorf("level at %q: %w", d.Path, tiff.ErrCorrupt)
		}
		a, err := openArray(fsys, path.Join(dir, d.Path))
		if err != nil {
			return nil, err
		}
		axes, err := readAxes(m.Axes, len(a.Shape))
		if err != nil {
			return nil, err
		}
		l, err := newLevel(a, axes)
		if err != nil {
			return nil, fmt.Errorf("level %s: %w", d.Path, err)
		}
		if len(s.Levels) == 0 {
			s.setMPP(axes, l, d.Transforms, m.Transforms)
		}
		s.Levels = append(s.Levels, l)
	}
	return s, checkColors(at, s.Levels[0])
}

// Files returns the names of the files that describe the image.
func (s *Slide) Files() []string {
	return []string{path.Join(s.dir, ".zattrs"), path.Join(s.dir, "zarr.json")}
}

// Others returns the names of the images beside this one, by their folders,
// where bioformats2raw wrote several and OME/METADATA.ome.xml names them.
func (s *Slide) Others(fsys fs.FS) map[string]string {
	out := map[string]string{}
	if path.Base(s.dir) != "0" {
		return out
	}
	root := path.Dir(s.dir)
	f, err := fsys.Open(path.Join(root, "OME", "METADATA.ome.xml"))
	if err != nil {
		return out
	}
	defer f.Close()
	var x struct {
		Images []struct {
			Name string `xml:"Name,attr"`
		} `xml:"Image"`
	}
	if xml.NewDecoder(io.LimitReader(f, maxJSON)).Decode(&x) != nil {
		return out // the image itself is read all the same
	}
	for i, im := range x.Images {
		if i > 0 && i < 64 {
			out[path.Join(root, strconv.Itoa(i))] = im.Name
		}
	}
	return out
}

// readAttributes reads the attributes of a group of either version.
func readAttributes(fsys fs.FS, dir string) (attributes, error) {
	var v3 struct {
		Attributes attributes `json:"attributes"`
	}
	err := readJSON(fsys, path.Join(dir, "zarr.json"), &v3)
	at := v3.Attributes
	if errors.Is(err, fs.ErrNotExist) {
		err = readJSON(fsys, path.Join(dir, ".zattrs"), &at)
	}
	if at.OME != nil {
		at = *at.OME
	}
	return at, err
}

// readAxes returns the axes; before version 0.3 they are t, c, z, y, x.
func readAxes(raw []json.RawMessage, n int) ([]axis, error) {
	var out []axis
	for _, r := range raw {
		var a axis
		if json.Unmarshal(r, &a.Name) != nil {
			if err := json.Unmarshal(r, &a); err != nil {
				return nil, fmt.Errorf("axis %s: %w: %w", r, err, tiff.ErrCorrupt)
			}
		}
		out = append(out, a)
	}
	if len(out) == 0 && n == 5 {
		out = []axis{{Name: "t"}, {Name: "c"}, {Name: "z"}, {Name: "y"}, {Name: "x"}}
	}
	if len(out) != n {
		return nil, fmt.Errorf("%d axes of %d: %w", len(out), n, tiff.ErrCorrupt)
	}
	return out, nil
}

// newLevel finds the plane of an array: one time, the first of its depths,
// one channel or three.
func newLevel(a *Array, axes []axis) (*Level, error) {
	l := &Level{a: a, x: -1, y: -1, c: -1, colors: 1}
	for i, ax := range axes {
		switch n := a.Shape[i]; strings.ToLower(ax.Name) {
		case "x":
			l.x, l.W = i, n
		case "y":
			l.y, l.H = i, n
		case "c":
			l.c, l.colors = i, n
		case "z": // the first depth
		default:
			if n > 1 {
				return nil, fmt.Errorf("%d planes along axis %q: %w", n, ax.Name, tiff.ErrUnsupported)
			}
		}
	}
	if l.x < 0 || l.y < 0 {
		return nil, fmt.Errorf("no axes x and y: %w", tiff.ErrUnsupported)
	}
	if l.colors != 1 && l.colors != 3 {
		return nil, fmt.Errorf("%d channels (fluorescence?), want RGB: %w", l.colors, tiff.ErrUnsupported)
	}
	l.TileW, l.TileH = a.Chunk[l.x], a.Chunk[l.y]
	if l.TileW > 1<<26/l.TileH {
		return nil, fmt.Errorf("chunks of %d x %d pixels, over %d: %w", l.TileW, l.TileH, 1<<26, tiff.ErrUnsupported)
	}
	l.Cols, l.Rows = (l.W-1)/l.TileW+1, (l.H-1)/l.TileH+1
	return l, nil
}

// checkColors refuses three channels that are shown in other colours than
// red, green and blue.
func checkColors(at attributes, l *Level) error {
	ch := at.Omero.Channels
	if l.colors != 3 || len(ch) != 3 {
		return nil
	}
	for i, want := range []string{"FF0000", "00FF00", "0000FF"} {
		if c := strings.ToUpper(strings.TrimPrefix(ch[i].Color, "#")); c != "" && c != want {
			return fmt.Errorf("channel %d (%q) is shown in colour %s: fluorescence is not read: %w", i, ch[i].Label, c, tiff.ErrUnsupported)
		}
	}
	return nil
}

// setMPP reads the pixel size from the scales of a level and of the image.
func (s *Slide) setMPP(axes []axis, l *Level, lists ...[]transform) {
	x, y, found := units[axes[l.x].Unit], units[axes[l.y].Unit], false
	for _, list := range lists {
		for _, t := range list {
			if t.Type == "scale" && len(t.Scale) == len(axes) {
				x, y, found = x*t.Scale[l.x], y*t.Scale[l.y], true
			}
		}
	}
	if found && x > 0 && y > 0 {
		s.MPPX, s.MPPY = x, y
	}
}

// Tile decodes a tile to RGBA.
func (l *Level) Tile(col, row int) (*tiff.Segment, error) {
	if col < 0 || row < 0 || col >= l.Cols || row >= l.Rows {
		return nil, fmt.Errorf("zarr: read tile (%d, %d): outside %d x %d", col, row, l.Cols, l.Rows)
	}
	a := l.a
	var out []byte // once the first chunk has shown that it is one
	step := make([]int, len(a.Chunk))
	size := 1
	for i := len(step) - 1; i >= 0; i-- {
		step[i] = size
		size *= a.Chunk[i]
	}
	at := make([]int, len(a.Chunk))
	at[l.x], at[l.y] = col, row
	for c := 0; c < l.colors; {
		here := 1 // channels in this chunk
		if l.c >= 0 {
			here = min(a.Chunk[l.c], l.colors-c)
			at[l.c] = c / a.Chunk[l.c]
		}
		b, err := a.chunk(at)
		if err != nil {
			return nil, fmt.Errorf("zarr: read tile (%d, %d): %w", col, row, err)
		}
		if out == nil {
			out = make([]byte, 4*l.TileW*l.TileH)
			for i := 3; i < len(out); i += 4 {
				out[i] = 255
			}
		}
		for k := range here {
			plane := 0
			if l.c >= 0 {
				plane = k * step[l.c]
			}
			l.put(out, b, c+k, plane, step)
		}
		c += here
	}
	return &tiff.Segment{W: l.TileW, H: l.TileH, Pix: out}, nil
}

// put writes a channel, which begins at plane of chunk b, into RGBA.
func (l *Level) put(out, b []byte, channel, plane int, step []int) {
	for y := range l.TileH {
		for x := range l.TileW {
			v := l.a.fill
			if b != nil {
				v = b[plane+y*step[l.y]+x*step[l.x]]
			}
			d := out[4*(y*l.TileW+x):]
			if l.colors == 1 {
				d[0], d[1], d[2] = v, v, v
			} else {
				d[channel] = v
			}
		}
	}
}
