package segment

import (
	"bytes"
	"context"
	"encoding/json"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/weights/bundled"
)

func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	var out strings.Builder
	require.NoError(t, run(context.Background(), []string{"-out", dir}, &out))
	assert.Contains(t, out.String(), "tumour nucleus")
	for i := range demo() {
		mask := decode(t, filepath.Join(dir, maskName(i)))
		assert.Equal(t, 1024, mask.Dx())
	}
	assert.Equal(t, 1024, decode(t, filepath.Join(dir, "overlay.png")).Dy())
	var c struct {
		Type     string
		Features []struct{ Geometry struct{ Type string } }
	}
	data, err := os.ReadFile(filepath.Join(dir, "masks.geojson"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &c))
	assert.Equal(t, "FeatureCollection", c.Type)
	assert.Len(t, c.Features, len(demo()))
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	assert.Len(t, left, len(demo())+2, "no temporary file is left: %v", left)
}

// TestDemoAgainstTruth compares the demo's masks with the nuclei that the
// picture was drawn with. A point that lands in a neighbour gives 0; the
// bundled model had 0.91 on average when this was written.
func TestDemoAgainstTruth(t *testing.T) {
	ctx := context.Background()
	m, err := sam.Bundled()
	require.NoError(t, err)
	e, err := m.Embed(ctx, bundled.Picture())
	require.NoError(t, err)
	objects, err := job{prompts: demo(), local: true}.segment(ctx, m, e)
	require.NoError(t, err)
	truth := bundled.Truth()
	sum := 0.0
	for i, o := range objects {
		var x, y float64
		if b := o.prompt.Box; b != nil {
			x, y = (b.X0+b.X1)/2, (b.Y0+b.Y1)/2
		} else {
			x, y = o.prompt.Points[0].X, o.prompt.Points[0].Y
		}
		id := truth.Nuclei[int(y)*truth.W+int(x)]
		require.NotZero(t, id, "demo prompt %d is on no nucleus", i)
		want, err := sam.NewMask(sam.Size{H: truth.H, W: truth.W}, func(x, y int) bool { return truth.Nuclei[y*truth.W+x] == id })
		require.NoError(t, err)
		t.Logf("%s: IoU %.2f, predicted %.2f", o.name, want.IoU(o.mask), o.iou)
		sum += want.IoU(o.mask)
	}
	assert.Greater(t, sum/float64(len(objects)), 0.7)
}

func decode(t *testing.T, path string) interface {
	Dx() int
	Dy() int
} {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	return img.Bounds()
}

// TestRealPictures segments nuclei on real pictures.
func TestRealPictures(t *testing.T) {
	data := os.Getenv("SAM_TESTDATA")
	if data == "" {
		t.Skip("SAM_TESTDATA is not set: no real pictures")
	}
	files, err := filepath.Glob(filepath.Join(data, "nuclei", "images", "*.jpg"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	dir := t.TempDir()
	require.NoError(t, run(context.Background(), []string{"-picture", files[0], "-point", "500,500", "-box", "400,400,450,440", "-out", dir}, io.Discard))
	assert.Equal(t, 1000, decode(t, filepath.Join(dir, "overlay.png")).Dx())
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "picture.png")
	require.NoError(t, os.WriteFile(text, []byte("no picture"), 0o600))
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-picture", text}, "no prompt: give -point x,y"},
		{[]string{"-picture", text, "-point", "1,2"}, "want a PNG, JPEG or TIFF file"},
		{[]string{"-picture", "none.png", "-point", "1,2"}, "none.png"},
		{[]string{"-point", "1"}, "want x,y"},
		{[]string{"-point", "1,b"}, `"b" is no number`},
		{[]string{"-box", "1,2,3"}, "want x0,y0,x1,y1"},
		{[]string{"-box", "5,5,5,9"}, "has no area"},
		{[]string{"-box", "9,9,5,5"}, "has no area"},
		{[]string{"-box", "1,2,NaN,4"}, "has no area"},
		{[]string{"slide.png"}, `unknown argument "slide.png"`},
		{[]string{"-prompts", "none.json"}, "none.json"},
		{[]string{"-model", text}, "sam: load "},
		{[]string{"-point", "5000,2"}, "outside the picture of 1024 x 1024 pixels"},
		{[]string{"-out", filepath.Join(file, "out"), "-point", "5,2"}, "file"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			args := tt.args
			if args[0] != "-out" {
				args = append([]string{"-out", filepath.Join(dir, "out")}, args...)
			}
			assert.ErrorContains(t, run(context.Background(), args, io.Discard), tt.want)
			assert.NoFileExists(t, filepath.Join(dir, "out", "overlay.png"))
		})
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := filepath.Join(t.TempDir(), "out")
	assert.ErrorIs(t, run(ctx, []string{"-out", dir}, io.Discard), context.Canceled)
	assert.NoDirExists(t, dir)
}

func TestParseLocal(t *testing.T) {
	j, err := parse(nil)
	require.NoError(t, err)
	assert.True(t, j.local)
	j, err = parse([]string{"-local=false"})
	require.NoError(t, err)
	assert.False(t, j.local)
}

func TestMirror(t *testing.T) {
	plain, err := new(job).Load()
	require.NoError(t, err)
	j, err := parse([]string{"-mirror"})
	require.NoError(t, err)
	m, err := j.Load()
	require.NoError(t, err)
	assert.Equal(t, plain.Mirrored().Fingerprint(), m.Fingerprint())
	assert.NotEqual(t, plain.Fingerprint(), m.Fingerprint())
}

func TestParsePrompts(t *testing.T) {
	ps, err := parsePrompts(strings.NewReader(`[{"name": "a", "points": [[1, 2, 1], [3, 4.5, 0]]}, {"box": [1, 2, 3, 4], "single": true}]`))
	require.NoError(t, err)
	require.Len(t, ps, 2)
	assert.Equal(t, 4.5, ps[0].sam().Points[1].Y)
	assert.Equal(t, 3.0, ps[1].sam().Box.X1)
	for in, want := range map[string]string{
		`[]`:                      "the list is empty",
		`{}`:                      "want a list like",
		`[{"name": "a"}]`:         "prompt 0: neither points nor a box",
		`[{"points": [[1,2,3]]}]`: "label 3 of point (1, 2)",
		`[{"points": [[1,2]]}]`:   "prompt 0: point of 2 numbers, want [x, y, label]",
		`[{"box": [1,2,3]}]`:      "prompt 0: box of 3 numbers, want [x0, y0, x1, y1]",
		`[{"box": [1,2,3,4,5]}]`:  "box of 5 numbers",
		`[{"pionts": [[1,2,1]]}]`: `unknown field "pionts"`,
		`[{"box": [1,2,3,"x"]}]`:  "want a list like",
		`[{"points": [[1,2,1]`:    "unexpected EOF",
		"\x00":                    "want a list like",
	} {
		_, err := parsePrompts(strings.NewReader(in))
		assert.ErrorContains(t, err, want, in)
	}
}

func FuzzParsePrompts(f *testing.F) {
	f.Add([]byte(`[{"name": "a", "points": [[1, 2, 1]], "box": [1, 2, 3, 4], "single": true}]`))
	f.Add([]byte(`[{"points": [[1e999, 2, 1]]}]`))
	f.Add([]byte(`[null, {}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ps, err := parsePrompts(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, p := range ps {
			s := p.sam()
			if len(s.Points) == 0 && s.Box == nil {
				t.Error("a prompt without points or a box passed")
			}
		}
	})
}

func TestRemark(t *testing.T) {
	mask := func(in func(x, y int) bool) *sam.Mask {
		m, err := sam.NewMask(sam.Size{H: 10, W: 10}, in)
		require.NoError(t, err)
		return m
	}
	left := mask(func(x, _ int) bool { return x < 5 })
	on := sam.Prompt{Points: []sam.Point{{X: 2, Y: 2, Label: sam.Foreground}}}
	for _, tt := range []struct {
		name  string
		o     object
		doubt float32
		want  string
	}{
		{"sure", object{prompt: on, mask: left, iou: 0.56}, 0.56, ""},
		{"doubtful", object{prompt: on, mask: left, iou: 0.55}, 0.56, "doubtful: predicted IoU under 0.56"},
		{"never measured", object{prompt: on, mask: left, iou: 0.1}, 0, ""},
		{"empty", object{prompt: on, mask: mask(func(int, int) bool { return false }), iou: 0.1}, 0.56, "empty: nothing was found"},
		{"everything", object{prompt: on, mask: mask(func(int, int) bool { return true }), iou: 0.1}, 0.56, "nearly the whole picture: nothing was told apart"},
		{"beside", object{prompt: sam.Prompt{Points: []sam.Point{{X: 7, Y: 2, Label: sam.Foreground}}}, mask: left, iou: 0.1}, 0.56, "the point 7,2 is on the wrong side"},
	} {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.want, remark(tt.o, tt.doubt)) })
	}
}

// TestDoubtIsTheBundledModels: nobody measured where other models fail.
func TestDoubtIsTheBundledModels(t *testing.T) {
	m, err := sam.Bundled()
	require.NoError(t, err)
	assert.Equal(t, float32(0.56), job{}.doubt(m))
	assert.Zero(t, job{Model: cli.Model{Path: "other.pth"}}.doubt(m))
}
