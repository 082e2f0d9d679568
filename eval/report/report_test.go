package report_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/report"
)

// squares is a data set of pictures with squares, and a model that answers a
// point with its square, shrunk by a pixel on two sides.
type squares struct {
	name string
	n    int
	mu   sync.Mutex
	seen map[*sam.Embedding]image.Image
}

func (s *squares) Name() string { return s.name }
func (s *squares) Len() int     { return s.n }
func (s *squares) Item(i int) eval.Item {
	return eval.Item{ID: fmt.Sprintf("p%d", i), Group: fmt.Sprint(i / 2)}
}
func (s *squares) Fingerprint() [16]byte { return [16]byte{7} }

func (s *squares) Load(_ context.Context, i int) (*eval.Picture, error) {
	const side = 40
	p := &eval.Picture{Item: s.Item(i), Truth: eval.NewLabels(sam.Size{H: side, W: side}), MPP: 0.25}
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			id := int32(0)
			if x%10 < 4+i%4 && y%10 < 5 {
				id = int32(y/10*4 + x/10 + 1)
			}
			p.Truth.Pix[y*side+x] = id
			img.Set(x, y, color.RGBA{R: uint8(id), G: 180, B: 200, A: 255})
		}
	}
	p.Image = img
	return p, nil
}

func (s *squares) Embed(_ context.Context, img image.Image) (*sam.Embedding, error) {
	e := &sam.Embedding{}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[*sam.Embedding]image.Image{}
	}
	s.seen[e] = img
	return e, nil
}

func (s *squares) PredictBatch(_ context.Context, e *sam.Embedding, ps []sam.Prompt, _ sam.PredictOptions) ([]*sam.Prediction, error) {
	s.mu.Lock()
	img := s.seen[e]
	s.mu.Unlock()
	id := func(x, y int) uint8 {
		if !(image.Pt(x, y).In(img.Bounds())) {
			return 0
		}
		r, _, _, _ := img.At(x, y).RGBA()
		return uint8(r >> 8)
	}
	var out []*sam.Prediction
	for _, p := range ps {
		want := map[uint8]bool{}
		for _, q := range p.Points {
			if q.Label == sam.Foreground {
				want[id(int(q.X), int(q.Y))] = true
			}
		}
		if p.Box != nil {
			want[id(int(p.Box.X0), int(p.Box.Y0))] = true
		}
		loss := 1
		if len(p.Points) > 2 {
			loss = 0
		}
		m, err := sam.NewMask(sam.Size{H: img.Bounds().Dy(), W: img.Bounds().Dx()}, func(x, y int) bool {
			v := id(x, y)
			return v != 0 && want[v] && id(x+loss, y) == v && id(x, y+loss) == v
		})
		if err != nil {
			return nil, err
		}
		out = append(out, &sam.Prediction{Masks: []*sam.Mask{m}, IoUPred: []float32{0.8}})
	}
	return out, nil
}

func experiment(t testing.TB) []report.Source {
	t.Helper()
	var out []report.Source
	for _, name := range []string{"MoNuSeg", "others & co"} {
		s := &squares{name: name, n: 8}
		r, err := eval.Run(context.Background(), s, s, eval.Options{Seed: 1, Settings: append(eval.PaperSettings(false, 0),
			eval.Setting{Name: "clicks", Prompting: eval.PromptClicks, Clicks: 4})})
		require.NoError(t, err)
		out = append(out, report.Source{Results: r, Data: s, Model: s})
	}
	return out
}

func results(s []report.Source) (out []*eval.Results) {
	for _, x := range s {
		out = append(out, x.Results)
	}
	return out
}

func TestTable(t *testing.T) {
	rs := results(experiment(t))
	rs[1].Plan.Local = true
	tab, err := report.NewTable(rs, report.Options{Model: "tiny | model_1"})
	require.NoError(t, err)
	assert.Equal(t, []string{"MoNuSeg 40x", "others & co 40x"}, tab.Columns)
	notes := strings.Join(tab.Notes, "\n")
	assert.Contains(t, notes, "masks chosen: auto; ")
	assert.Contains(t, notes, "masks chosen: auto, of each what its prompt is on; ")
	assert.Equal(t, []string{"nuclei 40x", ""}, tab.Paper)
	require.Len(t, tab.Rows, 5)
	boxes := tab.Rows[3].Cells[0]
	assert.Equal(t, 8, boxes.N)
	assert.Equal(t, 4, boxes.Groups)
	assert.Equal(t, 1.0, boxes.Ceiling.Mean)
	assert.InDelta(t, 0.77, boxes.Mean, 0.05)
	assert.Less(t, tab.Rows[0].Cells[0].Ceiling.Mean, 0.2, "one of sixteen squares")
	assert.LessOrEqual(t, boxes.Low, boxes.Mean)
	assert.Len(t, tab.Comparisons, 20)
	for _, c := range tab.Comparisons {
		assert.GreaterOrEqual(t, c.Adjusted, c.P)
	}

	var md, tex bytes.Buffer
	require.NoError(t, tab.WriteMarkdown(&md))
	require.NoError(t, tab.WriteLaTeX(&tex))
	for _, want := range []string{
		"| paper: SOTA | none | 81.77 (secondary) | - |",
		"| paper: SAM | 1 point | 1.95 (recalled) | - |",
		"| paper: SAM | 20 points | 41.65 (secondary) | - |",
		"| paper: SAM | total boxes | 88.30 (recalled) | - |",
		`| tiny \| model_1 | total boxes | `,
		"ceiling 100.00, n 8",
		"No cell could be read in the paper itself",
	} {
		assert.Contains(t, md.String(), want)
	}
	for _, want := range []string{`\textit{1.95}\textsuperscript{\dag}`, `81.77\textsuperscript{*}`, `others \& co 40x`, `model\_1`, `\bottomrule`} {
		assert.Contains(t, tex.String(), want)
	}
	// another metric is not beside the paper's Dice
	tab, err = report.NewTable(results(experiment(t)), report.Options{Metric: "hd95"})
	require.NoError(t, err)
	md.Reset()
	require.NoError(t, tab.WriteMarkdown(&md))
	assert.NotContains(t, md.String(), "recalled)")
	_, err = report.NewTable(nil, report.Options{Metric: "luck"})
	require.Error(t, err)
	s := experiment(t)
	_, err = report.NewTable(append(results(s), results(s)...), report.Options{})
	require.ErrorContains(t, err, "in two results")
}

// The paper's figures carry the status that the notes give them: three cells
// from a secondary source, none verified, 35 recalled.
func TestPaperStatus(t *testing.T) {
	count := map[report.Status]int{}
	for _, r := range report.PaperTable {
		for col, c := range r.Cells {
			assert.Contains(t, report.PaperColumns, col)
			count[c.Status]++
		}
	}
	assert.Equal(t, map[report.Status]int{report.Secondary: 3, report.Recalled: 35}, count)
	assert.Equal(t, report.PaperCell{Dice: 74.98, Status: report.Secondary}, report.PaperTable[2].Cells["tumour 0.5x"])
	for task, want := range map[string]string{"tumour 0.5x": "tumour 0.5x", "ptc 40x": "PTC 40x", "PanNuke 20x": "nuclei 40x", "gland 20x": ""} {
		assert.Equal(t, want, report.PaperColumn(task), task)
	}
}

func TestCSV(t *testing.T) {
	s := experiment(t)
	s[0].Results.Records[0].HD95 = eval.Number(math.Inf(1))
	s[0].Results.Records[0].NSD = eval.Number(math.NaN())
	var b bytes.Buffer
	require.NoError(t, report.WriteCSV(&b, results(s), eval.EmptyNaN))
	rows, err := csv.NewReader(&b).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+2*8*5)
	col := func(name string) int {
		for i, h := range rows[0] {
			if h == name {
				return i
			}
		}
		t.Fatalf("no column %s", name)
		return 0
	}
	assert.Equal(t, "inf", rows[1][col("hd95")])
	assert.Equal(t, "", rows[1][col("nsd")])
	assert.Equal(t, "0.25", rows[1][col("mpp")])
	assert.Equal(t, "1 point", rows[1][col("setting")])
	assert.Equal(t, "1", rows[4][col("ceiling dice")])
}

func TestSave(t *testing.T) {
	s := experiment(t)
	dir := filepath.Join(t.TempDir(), "a", "b")
	names, err := report.Save(context.Background(), dir, s, report.Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{
		"results-MoNuSeg.json", "results-others___co.json", "pictures.csv", "table.md", "table.tex",
		"distribution-MoNuSeg_40x.png", "clicks-MoNuSeg_40x.png", "reliability-MoNuSeg_40x.png",
		"distribution-MoNuSeg_40x.svg", "clicks-MoNuSeg_40x.svg", "reliability-MoNuSeg_40x.svg",
		"distribution-others___co_40x.png", "clicks-others___co_40x.png", "reliability-others___co_40x.png",
		"distribution-others___co_40x.svg", "clicks-others___co_40x.svg", "reliability-others___co_40x.svg",
		"gallery.html",
	}, names)
	again := t.TempDir()
	_, err = report.Save(context.Background(), again, s, report.Options{})
	require.NoError(t, err)
	for _, n := range names {
		a, err := os.ReadFile(filepath.Join(dir, n))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(again, n))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(a, b), "%s differs between two runs", n)
		switch filepath.Ext(n) {
		case ".png":
			img, err := png.Decode(bytes.NewReader(a))
			require.NoError(t, err)
			assert.Greater(t, img.Bounds().Dx(), 300)
		case ".svg":
			d := xml.NewDecoder(bytes.NewReader(a))
			for {
				if _, err := d.Token(); err != nil {
					require.ErrorIs(t, err, io.EOF, n)
					break
				}
			}
		case ".html":
			assert.Equal(t, 2*5*3, strings.Count(string(a), "<figure>"))
			assert.NotContains(t, string(a), "http")
			assert.NotContains(t, string(a), "ZgotmplZ")
		}
	}
	r, err := os.Open(filepath.Join(dir, "results-MoNuSeg.json"))
	require.NoError(t, err)
	defer r.Close()
	_, err = eval.ReadResults(r)
	require.NoError(t, err)
	s[0].Data = &squares{name: "x", n: 1}
	_, err = report.Save(context.Background(), again, s, report.Options{})
	require.ErrorContains(t, err, "is not in data set")
}

func TestPicks(t *testing.T) {
	s := experiment(t)
	m, err := eval.MetricNamed("dice")
	require.NoError(t, err)
	p := report.Picks(s[0].Results, "MoNuSeg 40x", "total boxes", m, eval.EmptyNaN)
	require.Len(t, p, 3)
	assert.Equal(t, []string{"best", "median", "worst"}, []string{p[0].Rank, p[1].Rank, p[2].Rank})
	assert.Greater(t, p[0].Score, p[1].Score)
	assert.Greater(t, p[1].Score, p[2].Score)
	assert.Empty(t, report.Picks(s[0].Results, "none", "", m, eval.EmptyNaN))
}

func TestPlotsOfNothing(t *testing.T) {
	r := &eval.Results{Plan: eval.Plan{Dataset: "x"}}
	_, err := report.ClickCurves(r, "x", eval.Bootstrap{})
	require.ErrorIs(t, err, report.ErrNothing)
	_, err = report.Reliability(r, "x")
	require.True(t, errors.Is(err, report.ErrNothing))
	_, err = report.Distribution(r, "x", "dice", eval.EmptyNaN)
	require.ErrorIs(t, err, report.ErrNothing)
	_, err = report.Distribution(r, "x", "luck", eval.EmptyNaN)
	require.Error(t, err)
	p, err := report.Reliability(experiment(t)[0].Results, "MoNuSeg 40x")
	require.NoError(t, err)
	require.Error(t, p.Encode(io.Discard, "gif"))
}

// TestLeaks warns where masks cover all that is to be found and much besides.
func TestLeaks(t *testing.T) {
	record := func(id string, prompts int, px eval.PixelCounts) eval.Record {
		return eval.Record{Item: eval.Item{ID: id}, Setting: "boxes", Prompts: prompts, Pixels: px}
	}
	r := &eval.Results{Plan: eval.Plan{Dataset: "d", Settings: []eval.Setting{{Name: "boxes"}}}, Records: []eval.Record{
		record("leaks", 9, eval.PixelCounts{TP: 100, FP: 300}), record("misses", 9, eval.PixelCounts{TP: 50, FP: 300, FN: 50}),
		record("fits", 9, eval.PixelCounts{TP: 100, FP: 10}), record("one", 1, eval.PixelCounts{TP: 100, FP: 300}), record("nothing", 9, eval.PixelCounts{}),
	}}
	tab, err := report.NewTable([]*eval.Results{r}, report.Options{})
	require.NoError(t, err)
	assert.Contains(t, strings.Join(tab.Notes, "\n"), "Warning: d, boxes: on 1 of 5 pictures masks leak")
	r.Records = r.Records[1:]
	tab, err = report.NewTable([]*eval.Results{r}, report.Options{})
	require.NoError(t, err)
	assert.NotContains(t, strings.Join(tab.Notes, "\n"), "Warning")
}

func ExampleNewTable() {
	s := &squares{name: "MoNuSeg", n: 4}
	r, err := eval.Run(context.Background(), s, s, eval.Options{Settings: eval.PaperSettings(true, 0)[3:], Seed: 1})
	if err != nil {
		panic(err)
	}
	t, err := report.NewTable([]*eval.Results{r}, report.Options{})
	if err != nil {
		panic(err)
	}
	var b strings.Builder
	if err := t.WriteMarkdown(&b); err != nil {
		panic(err)
	}
	for _, line := range strings.Split(b.String(), "\n")[:8] {
		fmt.Println(line)
	}
	// Output:
	// | method | prompts | MoNuSeg 40x |
	// |---|---|---|
	// | paper: SOTA | none | 81.77 (secondary) |
	// | paper: SAM | 1 point | 1.95 (recalled) |
	// | paper: SAM | 20 points | 41.65 (secondary) |
	// | paper: SAM | total points | 69.50 (recalled) |
	// | paper: SAM | total boxes | 88.30 (recalled) |
	// | this model | total boxes | 78.60 [76.52, 80.68], ceiling 100.00, n 4 |
}
