package dataset

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slidesam/sam"
	"github.com/stretchr/testify/require"
)

// These tests are inside the package: they feed the parsers bytes rather than
// files. Whatever comes, a parser must return, and what it accepts must be
// usable.

func seeds(f *testing.F, names ...string) {
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join("testdata", n))
		require.NoError(f, err)
		f.Add(b)
	}
}

func FuzzMat(f *testing.F) {
	seeds(f, "double.mat", "uint16.mat", "int32.mat")
	f.Add(append(bytes.Repeat([]byte{0}, 126), "IM\x0e\x00\x00\x00\xff\xff\xff\x3f"...)) // claims a gigabyte
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMat(bytes.NewReader(b), "inst_map", "type_map", "id", "class")
		if err != nil {
			return
		}
		for _, a := range m {
			n := 1
			for _, d := range a.dims {
				n *= d
			}
			require.Len(t, a.data, n)
		}
	})
}

func FuzzNpy(f *testing.F) {
	seeds(f, "images.npy", "masks.npy", "conic_labels.npy", "types.npy")
	f.Add([]byte("\x93NUMPY\x010v\x000'descr': 0<f8000'fortran_order': False00'shape': 0000}\n" + strings.Repeat("0", 62)))
	f.Add([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := readArrayHeader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		w, err := a.width()
		require.NoError(t, err)
		n := int64(w)
		for _, d := range a.shape {
			n *= int64(d)
		}
		require.LessOrEqual(t, a.at+n, int64(len(b)))
	})
}

func usable(t *testing.T, list []outline) {
	l, err := paintAll(8, 8, list)
	if err == nil {
		require.NoError(t, l.Check())
	}
}

func FuzzAperio(f *testing.F) {
	f.Add([]byte(`<Annotations><Annotation Name="n"><Attributes><Attribute Name="Epithelial"/></Attributes><Regions><Region Id="1" NegativeROA="0"><Vertices><Vertex X="1" Y="1"/><Vertex X="5.5" Y="1"/><Vertex X="5" Y="7"/></Vertices></Region></Regions></Annotation></Annotations>`))
	f.Add([]byte(`<Annotations><Annotation><Regions><Region><Vertices><Vertex X="1e300" Y="-1e300"/><Vertex/><Vertex/></Vertices>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := parseAperio(bytes.NewReader(b)); err == nil {
			usable(t, list)
		}
	})
}

func FuzzASAP(f *testing.F) {
	f.Add([]byte(`<ASAP_Annotations><Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="_0"><Coordinates><Coordinate Order="0" X="1" Y="1"/><Coordinate Order="2" X="5" Y="6"/><Coordinate Order="1" X="5" Y="1"/></Coordinates></Annotation></Annotations></ASAP_Annotations>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := parseASAP(bytes.NewReader(b)); err == nil {
			usable(t, list)
		}
	})
}

func FuzzQuPath(f *testing.F) {
	f.Add([]byte(`{"type":"FeatureCollection","features":[{"type":"Feature","id":"a","geometry":{"type":"Polygon","coordinates":[[[0,0],[4,0],[4,4],[0,0]],[[1,1],[2,1],[2,2],[1,1]]]},"properties":{"classification":{"name":"Tumor"}}}]}`))
	f.Add([]byte(`[{"type":"Feature","geometry":{"type":"MultiPolygon","coordinates":[[[[0,0],[4,0],[4,4]]]]},"nucleusGeometry":{"type":"GeometryCollection","geometries":[]}}]`))
	f.Add([]byte(`[{"type":"Feature","geometry":{"type":"Point","coordinates":[]}}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, o := range []QuPathOptions{{}, {Nucleus: true, Classes: []string{"Tumor"}}} {
			if list, err := parseQuPath(bytes.NewReader(b), o); err == nil {
				usable(t, list)
			}
		}
	})
}

func FuzzCOCO(f *testing.F) {
	f.Add([]byte(`{"images":[{"id":1,"file_name":"a.png","width":8,"height":8}],"categories":[{"id":3,"name":"x"}],"annotations":[{"id":1,"image_id":1,"category_id":3,"segmentation":[[0,0,4,0,4,4]]},{"id":2,"image_id":1,"segmentation":{"size":[8,8],"counts":[3,61]}},{"id":3,"image_id":1,"segmentation":{"size":[8,8],"counts":"3m1"}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		doc, err := parseCOCO(b)
		if err != nil {
			return
		}
		for _, a := range doc.Annotations {
			m, err := cocoMask(json.RawMessage(a.Segmentation), sam.Size{H: 8, W: 8})
			if err == nil {
				require.LessOrEqual(t, m.Area(), 64)
			}
		}
	})
}

// Label pictures go through the decoders of other modules.
func FuzzLabelPicture(f *testing.F) {
	f.Add([]byte("\x89PNG\r\n\x1a\n"))
	f.Add([]byte("BM\x3a\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00\xff\xff\xff\x7f\xff\xff\xff\x7f\x01\x00\x18\x00"))
	f.Add([]byte("II*\x00\x08\x00\x00\x00\x00\x00"))
	f.Add([]byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"))
	path := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, b []byte) {
		require.NoError(t, os.WriteFile(path, b, 0o600))
		img, err := readPicture(path)
		if err != nil || img.Bounds().Dx()*img.Bounds().Dy() > 1<<16 {
			return
		}
		if l, err := labelsOf(img); err == nil {
			require.NoError(t, l.Check())
		}
		require.NoError(t, maskOf(img).Check())
	})
}
