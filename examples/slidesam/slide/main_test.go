package slide

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval/dataset"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/draw"
	"github.com/slidesam/sam/internal/synth"
	"github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

func noEnv(string) string { return "" }

// TestDemo runs the demonstration on a corner of its slide, twice: the second
// time finds everything done and writes the same.
func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	args := []string{"-out", dir, "-region", "0,0,240,200", "-mpp", "0.5", "-iou", "-1", "-stability", "-1", "-json", "-all"}
	var first []byte
	for i := range 2 {
		var out, log bytes.Buffer
		require.NoError(t, run(context.Background(), args, noEnv, &out, &log))
		assert.Contains(t, out.String(), "nuclei:")
		for _, n := range []string{sam.GeoJSONFile, sam.CSVFile, sam.LabelsFile, sam.OverlayFile, pageFile} {
			st, err := os.Stat(filepath.Join(dir, n))
			require.NoError(t, err)
			assert.NotZero(t, st.Size(), n)
		}
		_, size, err := embed(filepath.Join(dir, sam.OverlayFile))
		require.NoError(t, err)
		assert.Equal(t, image.Pt(240, 200), size, "the overlay is of the region")
		b, err := os.ReadFile(filepath.Join(dir, sam.GeoJSONFile))
		require.NoError(t, err)
		assert.True(t, json.Valid(b))
		if i == 0 {
			first = b
		} else {
			assert.Equal(t, first, b)
		}
		line, _, _ := strings.Cut(log.String(), "\n")
		assert.True(t, json.Valid([]byte(line)), "log: %s", line)
	}
}

// TestCloseUp draws the field with the most objects of a finished run.
func TestCloseUp(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	j, err := parse(strings.Fields("-region 640,640,240,200 -iou -1 -stability -1 -all"), noEnv, &bytes.Buffer{})
	require.NoError(t, err)
	m, err := j.Load()
	require.NoError(t, err)
	slide := image.NewRGBA(image.Rect(0, 0, 3200, 3000))
	for i := range slide.Pix {
		slide.Pix[i] = 240
	}
	field, _ := synth.New(5, synth.Options{Solid: true}).Region(9000, 9000, 240, 200, 0.25)
	for y := range 200 {
		copy(slide.Pix[slide.PixOffset(640, 640+y):], field.Pix[field.PixOffset(0, y):][:4*240])
	}
	for i := 3; i < len(slide.Pix); i += 4 {
		slide.Pix[i] = 255
	}
	s := sam.SlideFromImage(slide, 0.25)
	res, err := segment(ctx, m, s, dir, j, slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)))
	require.NoError(t, err)
	require.Positive(t, res.Objects)
	require.NoError(t, writePage(ctx, dir, page{Title: "a", Slide: s, Result: res}))
	b, err := os.ReadFile(filepath.Join(dir, pageFile))
	require.NoError(t, err)
	for _, want := range []string{"200 µm", "50 µm", "The field with the most objects, at x = 0, y = 0, 900 × 900 pixels."} {
		assert.True(t, strings.Contains(string(b), want), want)
	}

	f, err := os.Open(filepath.Join(dir, closeUpFile))
	require.NoError(t, err)
	defer f.Close()
	pic, err := png.Decode(f)
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, closeUpSide, closeUpSide), pic.Bounds())
	inside, outside := 0, 0
	where := image.Rect(640, 640, 880, 840) // the region
	for y := range closeUpSide {
		for x := range closeUpSide {
			if color.NRGBAModel.Convert(pic.At(x, y)) == draw.Color(0) {
				if image.Pt(x, y).In(where.Inset(-60)) {
					inside++
				} else {
					outside++
				}
			}
		}
	}
	assert.Greater(t, inside, 100)
	assert.Zero(t, outside)
}

func TestScaleBar(t *testing.T) {
	for _, tt := range []struct {
		um    float64
		want  string
		share float64
	}{{256, "50 µm", 100 * 50. / 256}, {1024, "200 µm", 100 * 200. / 1024}, {25_000, "5 mm", 20}, {0, "", 0}} {
		s, share := scaleBar(tt.um)
		assert.Equal(t, tt.want, s)
		assert.InDelta(t, tt.share, share, 1e-9)
	}
}

func TestSheet(t *testing.T) {
	dir := t.TempDir()
	pic, _ := synth.New(5, synth.Options{Solid: true}).Region(9000, 9000, 72, 60, 0.5)
	for _, n := range []string{"a.png", "b.png"} {
		f, err := os.Create(filepath.Join(dir, n))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, pic))
		require.NoError(t, f.Close())
	}
	sheet := filepath.Join(dir, "slides.csv")
	require.NoError(t, os.WriteFile(sheet, []byte("slide,out\na.png,\nmissing.png,\nb.png,"+filepath.Join(dir, "other")+"\n"), 0o600))
	var out, log bytes.Buffer
	args := []string{"-sheet", sheet, "-out", filepath.Join(dir, "res"), "-slide-mpp", "0.5", "-iou", "-1", "-stability", "-1", "-all"}
	err := run(context.Background(), args, noEnv, &out, &log)
	require.ErrorIs(t, err, os.ErrNotExist, "one slide is missing, the others are done")
	assert.EqualError(t, err, "1 of 3 slides failed, see above", "the log has said which and why")
	assert.Equal(t, 1, strings.Count(log.String(), "missing.png: no such file"))
	assert.FileExists(t, filepath.Join(dir, "res", "a", pageFile))
	assert.FileExists(t, filepath.Join(dir, "other", sam.GeoJSONFile))
	assert.Equal(t, 2, strings.Count(out.String(), "objects in"))
}

func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		args, want string
	}{
		{"-region 1,2,3", "want x,y,w,h"}, {"-region 1,2,0,3", "is empty"}, {"-shard 3/3", "want i/n"}, {"-prompts boxes", "want nuclei, grid, ais, apg or cellpose"},
		{"-prompts a.geojson", "slidesam refine -annotations a.geojson"}, {"-prompts ais -stability 0.5", "-stability does not go with -prompts ais"}, {"-prompts apg -model a -iou 0.5", "-iou does not go with -prompts apg"},
		{"-prompts ais -iou 1.2", "want at most 1"}, {"-prompts cellpose", "needs -model: a Cellpose-SAM"}, {"-prompts cellpose -model a -decoder b", "goes with -prompts ais or apg"}, {"-prompts apg -model a -mirror", "-mirror does not go with"}, {"-decoder a", "goes with -prompts ais or apg"},
		{"-mpp 0.5,2 -prompts ais,grid -model a", "for all scales or none"}, {"-mpp 0.5,2 -prompts grid,apg -model a", "for all scales or none"},
		{"-merge -shard 0/2", "leave -shard out"}, {"-slide a -sheet b", "want one"}, {"a.svs", "-slide"}, {"-mpp 0.5,x", "-mpp"}, {"-mpp 0.5,2 -class a,b,c", "one for each"},
		{"-min-area -1", "0 or more"}, {"-min-area 1.5", "want pixels"}, {"-max-area xum2", "square micrometres"}, {"-mpp abc", "is not micrometres per pixel"}, {"-tile 1", "want 64"}, {"-halo -1", "want 0 to a quarter"},
		{"-tile 256 -halo 80", "want 0 to a quarter"}, {"-slide=", "-slide is empty"}, {"-decoder= -prompts ais", "-decoder is empty"}, {"-layers -1", "want 0 or more"}, {"-shard auto", "no variable"},
	} {
		_, err := parse(strings.Fields(tt.args), noEnv, &bytes.Buffer{})
		assert.ErrorContains(t, err, tt.want, tt.args)
		var usage *cli.UsageError
		assert.ErrorAs(t, run(context.Background(), strings.Fields(tt.args), noEnv, &bytes.Buffer{}, &bytes.Buffer{}), &usage)
	}
	_, err := parse([]string{"-h"}, noEnv, &bytes.Buffer{})
	assert.ErrorIs(t, err, flag.ErrHelp)
	j, err := parse(strings.Fields("-region 1,2,3,4 -shard 1/4"), noEnv, &bytes.Buffer{})
	require.NoError(t, err)
	assert.Equal(t, image.Rect(1, 2, 4, 6), j.region)
	assert.Equal(t, []int{1, 4}, []int{j.shard, j.shards})
	assert.Equal(t, []scale{{prompts: "nuclei", class: "auto"}}, j.scales)
	plain, err := j.Load()
	require.NoError(t, err)
	j, err = parse([]string{"-mirror"}, noEnv, &bytes.Buffer{})
	require.NoError(t, err)
	m, err := j.Load()
	require.NoError(t, err)
	assert.Equal(t, plain.Mirrored().Fingerprint(), m.Fingerprint())
	assert.NotEqual(t, plain.Fingerprint(), m.Fingerprint())
	j, err = parse(strings.Fields("-mpp 0.5,2 -prompts nuclei,grid -min-area 0,50 -max-area 900,40um2 -class nucleus,gland"), noEnv, &bytes.Buffer{})
	require.NoError(t, err)
	assert.Equal(t, []scale{{0.5, "nuclei", area{}, area{n: 900}, "nucleus"}, {2, "grid", area{n: 50}, area{40, true}, "gland"}}, j.scales)
	o := j.options(sam.SlideFromImage(image.NewRGBA(image.Rect(0, 0, 9, 9)), 0.25), m.Defaults())
	require.Len(t, o.Scales, 2)
	assert.NotNil(t, o.Scales[0].Find)
	assert.Equal(t, []int{32, 50}, []int{o.Scales[0].MinArea, o.Scales[1].MinArea}, "8 square micrometres, as given")
	assert.Equal(t, []int{900, 10}, []int{o.Scales[0].MaxArea, o.Scales[1].MaxArea}, "40 square micrometres are 10 pixels of 4")
	assert.Nil(t, o.Scales[1].Find)
	for prompts, want := range map[string]string{"nuclei": "Nucleus", "ais": "Nucleus", "cellpose": "Cell", "grid": ""} {
		assert.Equal(t, want, scale{prompts: prompts, class: "auto"}.classOr())
		assert.Equal(t, "a", scale{prompts: prompts, class: "a"}.classOr())
	}

	// Without -mpp a model works at its own resolution, and areas go by that.
	j, err = parse(nil, noEnv, &bytes.Buffer{})
	require.NoError(t, err)
	half := sam.SlideFromImage(image.NewRGBA(image.Rect(0, 0, 9, 9)), 0.5)
	for _, tt := range []struct {
		d    sam.Defaults
		mpp  float64
		area int
	}{{m.Defaults(), 0.25, 128}, {sam.Defaults{}, 0, 32}} {
		o = j.options(half, tt.d)
		assert.Equal(t, tt.mpp, o.Scales[0].MPP)
		assert.Equal(t, tt.area, o.Scales[0].MinArea)
	}
}

func TestArrayJobs(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		i, n int
		bad  bool
	}{
		{map[string]string{"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"}, 2, 4, false},
		{map[string]string{"SGE_TASK_ID": "3", "SGE_TASK_FIRST": "1", "SGE_TASK_LAST": "6"}, 2, 6, false},
		{map[string]string{"SGE_TASK_ID": "undefined", "AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "3"}, 0, 3, false},
		{map[string]string{"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "3"}, 2, 3, false},
		{map[string]string{"JOB_COMPLETION_INDEX": "2"}, 0, 0, true},
		{map[string]string{"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "4"}, 0, 0, true},
	} {
		i, n, err := ParseShard("auto", func(k string) string { return tt.env[k] })
		if tt.bad {
			assert.Error(t, err)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, []int{tt.i, tt.n}, []int{i, n})
	}
}

// TestReadOutlines draws the objects of one scale, in its own pixels.
func TestReadOutlines(t *testing.T) {
	path := filepath.Join(t.TempDir(), sam.GeoJSONFile)
	feature := func(mpp, x0, y0, x1, y1 float64) string {
		return fmt.Sprintf(`{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[%g,%g],[%g,%g],[%g,%g],[%g,%g],[%g,%g]]]},`+
			`"properties":{"measurements":{%q:%g}}}`, x0, y0, x1, y0, x1, y1, x0, y1, x0, y0, sam.MeasureScale, mpp)
	}
	require.NoError(t, os.WriteFile(path, []byte(`{"type":"FeatureCollection","features":[`+
		feature(0.5, 2, 0, 6, 4)+","+feature(1, 0, 0, 8, 8)+","+feature(0.5, 0, 4, 2, 6)+`]}`), 0o600))
	l, err := readOutlines(path, 4, 3, 0.5, 0.5)
	require.NoError(t, err)
	assert.Equal(t, []int32{
		0, 1, 1, 0,
		0, 1, 1, 0,
		3, 0, 0, 0,
	}, l.Pix)
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	_, err = readOutlines(path, 4, 3, 0.5, 0.5)
	assert.ErrorContains(t, err, path)
}

// TestSheets reads sheets as spreadsheets write them.
func TestSheets(t *testing.T) {
	for name, text := range map[string]string{
		"plain": "slide,out\na.svs,x\nb.svs,\n", "mark": "\xef\xbb\xbfslide,out\r\na.svs,x\r\nb.svs,\r\n",
		"semicolons": "\xef\xbb\xbfslide;out\r\na.svs;x\r\nb.svs;\r\n", "tabs": "slide\tout\na.svs\tx\nb.svs\t\n",
		"quoted": "\xef\xbb\xbf\"slide\",\"out\"\n\"a.svs\",\"x\"\n\"b.svs\",\"\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "sheet.csv")
			require.NoError(t, os.WriteFile(p, []byte(text), 0o600))
			got, err := readSheet(p, "out")
			require.NoError(t, err)
			dir := filepath.Dir(p)
			assert.Equal(t, []sample{{filepath.Join(dir, "a.svs"), filepath.Join("out", "x")}, {filepath.Join(dir, "b.svs"), filepath.Join("out", "b")}}, got)
		})
	}
}

// TestInstances runs both ways of an instance decoder, of random weights beside
// the bundled model, on a corner of the synthetic slide.
func TestInstances(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes seconds")
	}
	ck, err := bundled.Checkpoint()
	require.NoError(t, err)
	defer ck.Close()
	m, err := sam.Bundled()
	require.NoError(t, err)
	e := m.Config().Encoder
	c := instance.Config{Grid: e.Grid(), Embed: e.Out, Features: [4]int{16, 8, 4, 2}, Out: 3}
	all := map[string]weights.TensorData{}
	add := func(prefix string, from *weights.Checkpoint) {
		for _, name := range from.Names() {
			x, err := from.Tensor(name)
			require.NoError(t, err)
			v, err := x.Float32s()
			require.NoError(t, err)
			all[prefix+name] = weights.TensorData{Shape: x.Shape, Data: v}
		}
	}
	add("model_state.sam.", ck)
	add("decoder_state.", weights.Random(instance.Specs(c), 3))
	path := filepath.Join(t.TempDir(), "both.safetensors")
	require.NoError(t, weights.FromTensors(all).Save(t.Context(), path, weights.ConvertOptions{}))
	for _, prompts := range []string{"ais", "apg"} {
		dir := t.TempDir()
		var out bytes.Buffer
		args := strings.Fields("-region 0,0,240,200 -mpp 0.5 -all -synthetic 512 -prompts " + prompts)
		require.NoError(t, run(t.Context(), append(args, "-model", path, "-out", dir), noEnv, &out, &bytes.Buffer{}))
		st, err := os.Stat(filepath.Join(dir, sam.GeoJSONFile))
		require.NoError(t, err)
		assert.NotZero(t, st.Size())
		assert.Contains(t, out.String(), "objects in 1 tiles")
	}
}

// TestBundledInstances finds the nuclei of the synthetic slide without a prompt
// and without any flag but one, at the bundled model's resolution.
func TestBundledInstances(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes seconds")
	}
	dir := t.TempDir()
	var out bytes.Buffer
	args := strings.Fields("-region 0,0,400,400 -all -synthetic 512 -prompts ais -out " + dir)
	require.NoError(t, run(t.Context(), args, noEnv, &out, &bytes.Buffer{}))
	var found struct {
		Features []struct {
			Properties struct {
				Measurements map[string]float64 `json:"measurements"`
			} `json:"properties"`
		} `json:"features"`
	}
	b, err := os.ReadFile(filepath.Join(dir, sam.GeoJSONFile))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &found))
	assert.Greater(t, len(found.Features), 10, out.String())
	for _, f := range found.Features {
		assert.Equal(t, 0.25, f.Properties.Measurements[sam.MeasureScale])
		assert.GreaterOrEqual(t, f.Properties.Measurements["Area µm^2"], float64(leastNucleus))
	}

	j, err := parse(strings.Fields("-prompts ais"), noEnv, &bytes.Buffer{})
	require.NoError(t, err)
	_, err = j.load()
	require.NoError(t, err)
	half := sam.SlideFromImage(image.NewRGBA(image.Rect(0, 0, 9, 9)), 0.5)
	assert.Equal(t, 0.25, j.options(half, j.defaults).Scales[0].MPP)
}

// TestCellposeOnSlide runs a small Cellpose-SAM with random weights.
func TestCellposeOnSlide(t *testing.T) {
	c := vit.Config{ImageSize: 64, Patch: 8, Width: 16, Depth: 1, Heads: 1, HeadDim: 16, MLP: 16, Global: []int{0}, Out: 8}
	specs := append(weights.Specs(&struct {
		E *vit.Params `weight:"encoder"`
	}{vit.NewParams(c)}),
		weights.Spec{Name: "out.weight", Shape: []int{192, 8, 1, 1}}, weights.Spec{Name: "out.bias", Shape: []int{192}},
		weights.Spec{Name: "W2", Shape: []int{192, 3, 8, 8}})
	path := filepath.Join(t.TempDir(), "cpsam.safetensors")
	require.NoError(t, weights.Random(specs, 5).Save(t.Context(), path, weights.ConvertOptions{}))
	dir := t.TempDir()
	var out, log bytes.Buffer
	args := strings.Fields("-region 0,0,240,200 -mpp 0.5 -all -synthetic 512 -prompts cellpose")
	require.NoError(t, run(t.Context(), append(args, "-model", path, "-out", dir), noEnv, &out, &log))
	assert.FileExists(t, filepath.Join(dir, sam.GeoJSONFile))
	assert.Contains(t, out.String(), "objects in 1 tiles")
	assert.NotContains(t, out.String(), "prompts gave", "there are none")
	assert.Contains(t, log.String(), "CC-BY-NC")
	assert.Regexp(t, `tissue becomes 0 to 1" red="\[[1-9]`, log.String(), "the slide's levels, not each tile's own")
}

// TestMerge joins shards without their flags, which the folder knows, and with
// others, which is an error.
func TestMerge(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes seconds")
	}
	dir := t.TempDir()
	pic, _ := synth.New(5, synth.Options{Solid: true}).Region(9000, 9000, 150, 70, 0.5)
	slide := filepath.Join(dir, "a.png")
	f, err := os.Create(slide)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, pic))
	require.NoError(t, f.Close())
	out := filepath.Join(dir, "out")
	where := []string{"-slide", slide, "-out", out}
	how := strings.Fields("-slide-mpp 0.5 -mpp 0.5 -tile 128 -iou -1 -stability -1 -all -class a -local=false")
	for _, shard := range []string{"0/2", "1/2"} {
		require.NoError(t, run(t.Context(), append(append([]string{"-shard", shard}, where...), how...), noEnv, &bytes.Buffer{}, &bytes.Buffer{}))
	}
	require.NoError(t, run(t.Context(), append([]string{"-merge", "-coco"}, where...), noEnv, &bytes.Buffer{}, &bytes.Buffer{}))
	set, err := dataset.COCO("c", filepath.Join(out, cocoFile), dir, 0.5)
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, set.Classes())
	pic2, err := set.Load(t.Context(), 0)
	require.NoError(t, err)
	assert.Positive(t, pic2.Truth.Mask().Area())
	b, err := os.ReadFile(filepath.Join(out, sam.GeoJSONFile))
	require.NoError(t, err)
	assert.Contains(t, string(b), `"classification":{"name":"a"}`)
	err = run(t.Context(), append([]string{"-merge", "-iou", "0.5"}, where...), noEnv, &bytes.Buffer{}, &bytes.Buffer{})
	assert.ErrorIs(t, err, sam.ErrOtherRun)
	require.NoError(t, os.WriteFile(filepath.Join(out, flagsFile), []byte(`{"nothing":"1"}`), 0o600))
	err = run(t.Context(), append([]string{"-merge"}, where...), noEnv, &bytes.Buffer{}, &bytes.Buffer{})
	assert.ErrorContains(t, err, "flags.json: -nothing")
}

// TestRegionsAreDoubted: what the bundled model is not for is said, of a grid
// of points and of coarse scales, and of no other model.
func TestRegionsAreDoubted(t *testing.T) {
	for _, tt := range []struct {
		args string
		want bool
	}{
		{"-slide s.svs", false}, {"-slide s.svs -prompts grid", true}, {"-slide s.svs -mpp 0.25,2 -prompts nuclei,grid", true},
		{"-slide s.svs -mpp 2", true}, {"-slide s.svs -prompts grid -model other.pth", false},
	} {
		j, err := parse(strings.Fields(tt.args), noEnv, &bytes.Buffer{})
		require.NoError(t, err)
		assert.Equal(t, tt.want, j.limits() != "", tt.args)
	}
}
