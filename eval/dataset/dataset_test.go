package dataset_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/dataset"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// tree writes files below a new folder: content by name, pictures and text.
func tree(t testing.TB, files map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		f, err := os.Create(path)
		require.NoError(t, err)
		switch c := content.(type) {
		case string:
			_, err = f.WriteString(c)
		case []byte:
			_, err = f.Write(c)
		case image.Image:
			switch filepath.Ext(name) {
			case ".tif":
				err = tiff.Encode(f, c, &tiff.Options{Compression: tiff.Deflate, Predictor: true})
			case ".bmp":
				err = bmp.Encode(f, c)
			default:
				err = png.Encode(f, c)
			}
		}
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	return dir
}

func gray(w, h int, v ...uint8) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, w, h))
	copy(m.Pix, v)
	return m
}

func rgb(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = 255
	}
	return m
}

func load(t testing.TB, s *dataset.Set, i int) *eval.Picture {
	t.Helper()
	p, err := s.Load(context.Background(), i)
	require.NoError(t, err)
	return p
}

func mat(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return b
}

var instMap = []int32{1, 1, 0, 0, 1, 0, 0, 3, 0, 0, 3, 3}

func TestPairs(t *testing.T) {
	dir := tree(t, map[string]any{
		"images/TCGA-A6-6782-01A-x.png": rgb(4, 2), "masks/TCGA-A6-6782-01A-x.png": gray(4, 2, 255, 200, 0, 130, 0, 0, 0, 127),
		"images/b.png": rgb(2, 1), "masks/b.tif": gray(2, 1, 0, 1),
	})
	s, err := dataset.Pairs("mine", dir+"/images", dir+"/masks", dataset.MaskBinary, 0.5)
	require.NoError(t, err)
	require.Equal(t, 2, s.Len())
	assert.Equal(t, eval.Item{ID: "TCGA-A6-6782-01A-x", Group: "TCGA-A6-6782"}, s.Item(0))
	p := load(t, s, 0)
	assert.Equal(t, []int32{1, 1, 0, 2, 0, 0, 0, 0}, p.Truth.Pix)
	assert.Equal(t, 0.5, p.MPP)
	assert.Equal(t, []int32{0, 1}, load(t, s, 1).Truth.Pix, "a mask of 0 and 1")
	s, err = dataset.Pairs("mine", dir+"/images", dir+"/masks", dataset.MaskLabels, 0)
	require.NoError(t, err)
	assert.Equal(t, []int32{255, 200, 0, 130, 0, 0, 0, 127}, load(t, s, 0).Truth.Pix)
	assert.Equal(t, 1, s.First(1).Len())
	_, err = s.Load(context.Background(), 2)
	require.Error(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = s.Load(ctx, 0)
	require.ErrorIs(t, err, context.Canceled)
	_, err = dataset.Pairs("mine", dir+"/images", dir+"/masks", "odd", 0)
	require.Error(t, err)
}

func TestMoNuSeg(t *testing.T) {
	const notes = `<?xml version="1.0" encoding="ISO-8859-1"?>
<Annotations MicronsPerPixel="0.252"><Annotation Id="1" Name=""><Attributes><Attribute Name="Description" Id="0"/></Attributes>
<Regions><Region Id="1"><Vertices><Vertex X="0" Y="0" Z="0"/><Vertex X="3" Y="0"/><Vertex X="3" Y="2"/><Vertex X="0" Y="2"/></Vertices></Region>
<Region Id="2"><Vertices><Vertex X="2" Y="1"/><Vertex X="4" Y="1"/><Vertex X="4" Y="9.5"/><Vertex X="2" Y="9.5"/></Vertices></Region>
<Region Id="3"><Vertices><Vertex X="2" Y="1"/></Vertices></Region></Regions></Annotation></Annotations>`
	want := []int32{1, 1, 1, 0, 1, 1, 2, 2, 0, 0, 2, 2} // the first is not lost, the later wins
	for name, dir := range map[string]string{
		"train": tree(t, map[string]any{"Tissue Images/a.tif": rgb(4, 3), "Annotations/a.xml": notes}),
		"test":  tree(t, map[string]any{"a.tif": rgb(4, 3), "a.xml": notes}),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := dataset.MoNuSeg(dir)
			require.NoError(t, err)
			p := load(t, s, 0)
			assert.Equal(t, want, p.Truth.Pix)
			assert.Equal(t, 0.25, p.MPP)
		})
	}
}

func TestPanNuke(t *testing.T) {
	for name, files := range map[string]map[string]any{
		"flat":   {"images.npy": mat(t, "images.npy"), "masks.npy": mat(t, "masks.npy"), "types.npy": mat(t, "types.npy")},
		"folder": {"images/images.npy": mat(t, "images.npy"), "masks/masks.npy": mat(t, "masks.npy"), "images/types.npy": mat(t, "types.npy")},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := dataset.PanNuke(tree(t, files))
			require.NoError(t, err)
			require.Equal(t, 2, s.Len())
			p := load(t, s, 0)
			assert.Equal(t, []int32{1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2}, p.Truth.Pix)
			assert.Equal(t, map[int32]int{1: 0, 3: 1, 2: 4}, p.Class)
			assert.Equal(t, color.RGBA{R: 33, G: 34, B: 35, A: 255}, p.Image.At(3, 2))
			assert.Zero(t, load(t, s, 1).Truth.Mask().Area())
			assert.Len(t, s.Classes(), 5)
		})
	}
}

func TestCoNIC(t *testing.T) {
	s, err := dataset.CoNIC(tree(t, map[string]any{"images.npy": mat(t, "conic_images.npy"), "labels.npy": mat(t, "conic_labels.npy")}))
	require.NoError(t, err)
	p := load(t, s, 0)
	assert.Equal(t, instMap, p.Truth.Pix)
	assert.Equal(t, map[int32]int{1: 1, 3: 5}, p.Class)
	assert.Equal(t, 0.5, p.MPP)
}

// Files that SciPy wrote: packed and not, of several types, beside text, cells,
// structures and complex numbers.
func TestMatFiles(t *testing.T) {
	for _, kind := range []string{"double.mat", "uint16.mat", "int32.mat"} {
		t.Run(kind, func(t *testing.T) {
			s, err := dataset.CoNSeP(tree(t, map[string]any{"Images/test_1.png": rgb(4, 3), "Labels/test_1.mat": mat(t, kind)}))
			require.NoError(t, err)
			p := load(t, s, 0)
			assert.Equal(t, instMap, p.Truth.Pix)
			assert.Equal(t, map[int32]int{1: 1, 3: 3}, p.Class, "2 is inflammatory, 6 spindle-shaped")
			s, err = dataset.Lizard(tree(t, map[string]any{"Lizard_Images1/dpath_1.png": rgb(4, 3), "Lizard_Labels/Labels/dpath_1.mat": mat(t, kind)}))
			require.NoError(t, err)
			p = load(t, s, 0)
			assert.Equal(t, instMap, p.Truth.Pix)
			assert.Equal(t, map[int32]int{1: 1, 3: 5}, p.Class)
		})
	}
}

func TestFolders(t *testing.T) {
	labels := gray(4, 3)
	for i, v := range instMap {
		labels.Pix[i] = uint8(v)
	}
	deep := image.NewGray16(image.Rect(0, 0, 4, 3))
	for i, v := range instMap {
		deep.SetGray16(i%4, i/4, color.Gray16{Y: uint16(v) * 300})
	}
	alpha := image.NewNRGBA(image.Rect(0, 0, 4, 3)) // RGBA masks of 0 and 255
	for i, v := range instMap {
		c := color.NRGBA{A: 255}
		if v != 0 {
			c = color.NRGBA{R: 255, G: 255, B: 255, A: 255}
		}
		alpha.SetNRGBA(i%4, i/4, c)
	}
	for _, tt := range []struct {
		name  string
		files map[string]any
		open  func(dir string) (*dataset.Set, error)
		item  eval.Item
		mpp   float64
		truth []int32
	}{
		{"GlaS", map[string]any{"train_1.bmp": rgb(4, 3), "train_1_anno.bmp": labels, "Grade.csv": "name"}, dataset.GlaS,
			eval.Item{ID: "train_1", Task: "train"}, 0.62, instMap},
		{"TNBC", map[string]any{"Slide_01/01_1.png": rgb(4, 3), "GT_01/01_1.png": alpha}, dataset.TNBC,
			eval.Item{ID: "Slide_01/01_1", Group: "Slide_01"}, 0.25, []int32{1, 1, 0, 0, 1, 0, 0, 2, 0, 0, 2, 2}},
		{"NuInsSeg", map[string]any{"human bladder/tissue images/h_1.png": rgb(4, 3), "human bladder/label masks modify/h_1.tif": deep},
			func(dir string) (*dataset.Set, error) { return dataset.NuInsSeg(dir, true) },
			eval.Item{ID: "human bladder/h_1", Group: "human bladder", Task: "human bladder"}, 0.25, []int32{300, 300, 0, 0, 300, 0, 0, 900, 0, 0, 900, 900}},
		{"NEPTUNE", map[string]any{"5_3_ptc/HE/im_1_2.png": rgb(4, 3), "5_3_ptc/HE/im_1_2_mask_PTC_lumen.png": alpha, "other/x.png": rgb(1, 1)}, dataset.Neptune,
			eval.Item{ID: "5_3_ptc/HE/im_1_2", Task: "ptc"}, 0.25, []int32{1, 1, 0, 0, 1, 0, 0, 2, 0, 0, 2, 2}},
		{"NEPTUNE", map[string]any{"2_0_capsule/im_1_2.png": rgb(4, 3), "2_0_capsule/im_1_2_mask_capsule.png": alpha}, dataset.Neptune,
			eval.Item{ID: "2_0_capsule/im_1_2", Task: "capsule"}, 2, []int32{1, 1, 0, 0, 1, 0, 0, 2, 0, 0, 2, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := tt.open(tree(t, tt.files))
			require.NoError(t, err)
			assert.Equal(t, tt.name, s.Name())
			require.Equal(t, 1, s.Len())
			p := load(t, s, 0)
			assert.Equal(t, tt.item, p.Item)
			assert.Equal(t, tt.mpp, p.MPP)
			assert.Equal(t, tt.truth, p.Truth.Pix)
		})
	}
}

func TestQuPath(t *testing.T) {
	const square = `{"type":"Polygon","coordinates":[[[0,0],[4,0],[4,4],[0,4],[0,0]],[[1,1],[3,1],[3,3],[1,3],[1,1]]]}`
	feature := func(geometry, class, rest string) string {
		return fmt.Sprintf(`{"type":"Feature","id":"x","geometry":%s,"properties":{"objectType":"annotation","classification":{"name":%q,"color":[1,2,3]},"isLocked":false,"measurements":[]}%s}`, geometry, class, rest)
	}
	features := strings.Join([]string{
		feature(square, "Tumor", ""),
		feature(`{"type":"Point","coordinates":[1,1]}`, "Tumor", ""),
		feature(`{"type":"MultiPolygon","coordinates":[[[[1,1],[2,1],[2,2],[1,2],[1,1]]],[[[5,0],[6,0],[6,1],[5,1],[5,0]]]]}`, "Cell",
			`,"nucleusGeometry":{"type":"Polygon","coordinates":[[[2,2],[3,2],[3,3],[2,3],[2,2]]]}`),
	}, ",")
	for name, doc := range map[string]string{"collection": `{"type":"FeatureCollection","features":[` + features + `]}`, "array": "[" + features + "]"} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, map[string]any{"a/p.png": rgb(6, 4), "b/p.geojson": doc})
			s, err := dataset.QuPath("q", dir+"/a", dir+"/b", dataset.QuPathOptions{MPP: 0.25})
			require.NoError(t, err)
			p := load(t, s, 0)
			assert.Equal(t, []int32{
				1, 1, 1, 1, 0, 2,
				1, 2, 0, 1, 0, 0,
				1, 0, 0, 1, 0, 0,
				1, 1, 1, 1, 0, 0,
			}, p.Truth.Pix)
			assert.Nil(t, p.Class)
			s, err = dataset.QuPath("q", dir+"/a", dir+"/b", dataset.QuPathOptions{Classes: []string{"Other", "Cell"}, Nucleus: true})
			require.NoError(t, err)
			p = load(t, s, 0)
			assert.Equal(t, 1, p.Truth.Mask().Area())
			assert.Equal(t, int32(1), p.Truth.Pix[2*6+2])
			assert.Equal(t, map[int32]int{1: 1}, p.Class)
		})
	}
}

func TestCOCO(t *testing.T) {
	const doc = `{"images":[{"id":7,"file_name":"sub/p.png","width":4,"height":3}],
"categories":[{"id":9,"name":"gland"},{"id":2,"name":"nucleus"}],
"annotations":[{"id":1,"image_id":7,"category_id":9,"segmentation":[[0,0,2,0,2,2,0,2],[3,0,4,0,4,1,3,1]],"bbox":[0,0,4,2],"iscrowd":0},
{"id":2,"image_id":7,"category_id":2,"iscrowd":0,"segmentation":{"size":[3,4],"counts":[2,1,2,1,6]}},
{"id":3,"image_id":7,"category_id":2,"iscrowd":1,"segmentation":{"size":[3,4],"counts":[0,12]}}]}`
	dir := tree(t, map[string]any{"img/sub/p.png": rgb(4, 3), "a.json": doc})
	s, err := dataset.COCO("c", dir+"/a.json", dir+"/img", 0)
	require.NoError(t, err)
	assert.Equal(t, []string{"nucleus", "gland"}, s.Classes())
	p := load(t, s, 0)
	assert.Equal(t, []int32{1, 1, 0, 1, 1, 1, 0, 0, 2, 2, 0, 0}, p.Truth.Pix)
	assert.Equal(t, map[int32]int{1: 1, 2: 0}, p.Class)
}

func TestCamelyon16(t *testing.T) {
	data := os.Getenv("SAM_TESTDATA")
	if data == "" {
		t.Skip("SAM_TESTDATA is not set: no slide with a pixel size is read")
	}
	slide, err := os.ReadFile(filepath.Join(data, "slides", "cmu-1-small-region.svs")) // 2220 x 2967 at 0.499
	require.NoError(t, err)
	poly := func(group string, x0, y0, x1, y1 int) string {
		return fmt.Sprintf(`<Annotation Name="a" Type="Polygon" PartOfGroup=%q Color="#F4FA58"><Coordinates><Coordinate Order="1" X="%d" Y="%d"/><Coordinate Order="0" X="%d" Y="%d"/><Coordinate Order="3" X="%d" Y="%d"/><Coordinate Order="2" X="%d" Y="%d"/></Coordinates></Annotation>`,
			group, x1, y0, x0, y0, x0, y1, x1, y1)
	}
	notes := `<?xml version="1.0"?><ASAP_Annotations><Annotations>` + poly("_0", 0, 0, 1110, 1480) + poly("_2", 0, 0, 555, 740) + poly("None", 1200, 1500, 2000, 2000) +
		`</Annotations><AnnotationGroups/></ASAP_Annotations>`
	dir := tree(t, map[string]any{"s/tumor_001.svs": slide, "s/normal_001.svs": slide, "x/tumor_001.xml": notes})
	s, err := dataset.Camelyon16(dir+"/s", dir+"/x", 8)
	require.NoError(t, err)
	require.Equal(t, 2, s.Len())
	assert.Zero(t, load(t, s, 0).Truth.Mask().Area())
	p := load(t, s, 1)
	got := float64(p.Truth.Mask().Area()) / float64(p.Truth.H*p.Truth.W)
	assert.InDelta(t, 0.75*1110*1480/(2220*2967), got, 0.005) // a pixel's width around the outline
	assert.Equal(t, 8.0, p.MPP)
	require.NoError(t, os.Remove(dir+"/x/tumor_001.xml"))
	_, err = dataset.Camelyon16(dir+"/s", dir+"/x", 8)
	require.ErrorIs(t, err, dataset.ErrLayout)
}

// A wrong or half data set says what was expected where.
func TestHalfDataSets(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]any
		open  func(dir string) (*dataset.Set, error)
		says  []string
	}{
		{"no annotation", map[string]any{"a.tif": rgb(1, 1), "b.tif": rgb(1, 1), "a.xml": "<x/>"}, dataset.MoNuSeg, []string{"MoNuSeg", "no annotation (.xml) for b.tif"}},
		{"no picture", map[string]any{"a.tif": rgb(1, 1), "b.xml": "", "a.xml": "<x/>"}, dataset.MoNuSeg, []string{"no picture for annotation (.xml) b.xml"}},
		{"nothing", map[string]any{"x.txt": ""}, dataset.MoNuSeg, []string{"nothing in", "Tissue Images"}},
		{"no masks.npy", map[string]any{"images.npy": mat(t, "images.npy")}, dataset.PanNuke, []string{"masks.npy"}},
		{"other masks", map[string]any{"images.npy": mat(t, "images.npy"), "masks.npy": mat(t, "conic_labels.npy")}, dataset.PanNuke, []string{"masks.npy: shape [1 3 4 2], want [2 3 4 6]"}},
		{"cut off", map[string]any{"images.npy": mat(t, "images.npy")[:500], "masks.npy": mat(t, "masks.npy")}, dataset.PanNuke, []string{"images.npy", "does not fit in a file of 500 bytes"}},
		{"no labels", map[string]any{"Images/a.png": rgb(1, 1)}, dataset.CoNSeP, []string{"Labels"}},
		{"no .mat", map[string]any{"Lizard_Images1/a.png": rgb(1, 1)}, dataset.Lizard, []string{"no a.mat below"}},
		{"no anno", map[string]any{"train_1.bmp": rgb(1, 1)}, dataset.GlaS, []string{"train_1_anno.bmp"}},
		{"no GT", map[string]any{"Slide_01/a.png": rgb(1, 1)}, dataset.TNBC, []string{"GT_01"}},
		{"no mask", map[string]any{"0_1_dt/HE/im_1_1.png": rgb(1, 1)}, dataset.Neptune, []string{"no im_1_1_mask_*.png"}},
		{"no image", map[string]any{"0_1_dt/HE/im_1_1_mask_distal.png": rgb(1, 1)}, dataset.Neptune, []string{"no picture for"}},
		{"no picture named", map[string]any{"a.json": `{"images":[{"id":1,"file_name":"../p.png"}],"annotations":[]}`},
			func(dir string) (*dataset.Set, error) { return dataset.COCO("c", dir+"/a.json", dir+"/img", 0) }, []string{"p.png"}},
		{"missing folder", nil, func(dir string) (*dataset.Set, error) { return dataset.Neptune(dir + "/none") }, []string{"none"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.open(tree(t, tt.files))
			require.True(t, errors.Is(err, dataset.ErrLayout) || errors.Is(err, dataset.ErrFormat), "%v", err)
			for _, s := range tt.says {
				assert.ErrorContains(t, err, s)
			}
		})
	}
}

// Files that are there but broken are found when they are read.
func TestBrokenFiles(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]any
		open  func(dir string) (*dataset.Set, error)
		says  string
	}{
		{"xml cut off", map[string]any{"a.tif": rgb(1, 1), "a.xml": "<Annotations><Annotation>"}, dataset.MoNuSeg, "a.xml"},
		{"other xml", map[string]any{"a.tif": rgb(1, 1), "a.xml": "<ASAP_Annotations/>"}, dataset.MoNuSeg, "want <Annotations>"},
		{"vertex", map[string]any{"a.tif": rgb(1, 1), "a.xml": `<Annotations><Annotation><Regions><Region Id="5"><Vertices><Vertex X="NaN" Y="0"/><Vertex X="1" Y="0"/><Vertex X="1" Y="1"/></Vertices></Region></Regions></Annotation></Annotations>`}, dataset.MoNuSeg, "region 5: vertex 0"},
		{"picture", map[string]any{"a.tif": "II*\x00", "a.xml": "<Annotations/>"}, dataset.MoNuSeg, "a.tif"},
		{"mat", map[string]any{"Images/a.png": rgb(1, 1), "Labels/a.mat": "MATLAB 7.3 MAT-file" + strings.Repeat(" ", 200)}, dataset.CoNSeP, "want level 5: save it with -v7"},
		{"size", map[string]any{"Images/a.png": rgb(9, 9), "Labels/a.mat": mat(t, "double.mat")}, dataset.CoNSeP, "image [9, 9], truth [3, 4]"},
		{"colour", map[string]any{"train_1.bmp": rgb(1, 1), "train_1_anno.bmp": func() image.Image {
			m := rgb(1, 1)
			m.Pix[0] = 3
			return m
		}()}, dataset.GlaS, "is no instance number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := tt.open(tree(t, tt.files))
			require.NoError(t, err)
			_, err = s.Load(context.Background(), 0)
			require.ErrorContains(t, err, tt.says)
		})
	}
}

func ExamplePairs() {
	dir, err := os.MkdirTemp("", "pairs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	for _, sub := range []string{"images", "masks"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			panic(err)
		}
		f, err := os.Create(filepath.Join(dir, sub, "one.png"))
		if err != nil {
			panic(err)
		}
		if err := png.Encode(f, gray(3, 1, 255, 0, 255)); err != nil {
			panic(err)
		}
		f.Close()
	}
	set, err := dataset.Pairs("mine", filepath.Join(dir, "images"), filepath.Join(dir, "masks"), dataset.MaskBinary, 0.25)
	if err != nil {
		panic(err)
	}
	p, err := set.Load(context.Background(), 0)
	if err != nil {
		panic(err)
	}
	fmt.Println(p.ID, p.Truth.Pix)
	// Output: one [1 0 2]
}
