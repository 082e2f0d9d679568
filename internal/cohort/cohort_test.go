package cohort_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cohort"
	"github.com/slidesam/sam/internal/draw"
	"github.com/slidesam/sam/internal/sheet"
	"github.com/slidesam/sam/internal/wholeslide"
)

// searcher finds made-up objects, as many as the slide's name says.
type searcher struct {
	t     *testing.T
	fail  map[string]error
	calls []string
	tiles int // of each slide
}

func (s *searcher) Plan(_ context.Context, p cohort.Part) (*cohort.Found, error) {
	return &cohort.Found{Tiles: s.tiles}, s.fail[p.ID]
}

func (s *searcher) Search(_ context.Context, p cohort.Part) (*cohort.Found, error) {
	s.calls = append(s.calls, fmt.Sprintf("%s %d/%d", p.ID, p.Part, p.Parts))
	if err := s.fail[p.ID]; err != nil {
		return nil, err
	}
	if p.Parts > 1 {
		require.NoError(s.t, os.MkdirAll(p.Dir, 0o777))
		return &cohort.Found{Tiles: s.tiles, Searched: 1, Seconds: 1}, os.WriteFile(filepath.Join(p.Dir, fmt.Sprint("part", p.Part)), nil, 0o600)
	}
	return s.write(p)
}

func (s *searcher) Merge(_ context.Context, p cohort.Part) (*cohort.Found, error) {
	parts, err := filepath.Glob(filepath.Join(p.Dir, "part*"))
	require.NoError(s.t, err)
	if len(parts) < 3 {
		return nil, fmt.Errorf("%w: %d of 3", cohort.ErrUnfinished, len(parts))
	}
	return s.write(p)
}

func (s *searcher) write(p cohort.Part) (*cohort.Found, error) {
	n := 0
	_, err := fmt.Sscanf(filepath.Base(p.Path), "%d", &n)
	require.NoError(s.t, err)
	require.NoError(s.t, os.MkdirAll(p.Dir, 0o777))
	var b strings.Builder
	b.WriteString("id,class,mpp,area_um2\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,%s,0.5,%d\n", i+1, []string{"Nucleus", "Gland"}[i%2], 10*(i+1))
	}
	require.NoError(s.t, os.WriteFile(filepath.Join(p.Dir, wholeslide.CSVFile), []byte(b.String()), 0o600))
	c, err := draw.New(image.NewNRGBA(image.Rect(0, 0, 400, 300)))
	require.NoError(s.t, err)
	f, err := os.Create(filepath.Join(p.Dir, wholeslide.OverlayFile))
	require.NoError(s.t, err)
	require.NoError(s.t, png.Encode(f, c.Image()))
	require.NoError(s.t, f.Close())
	return &cohort.Found{W: 400, H: 300, MPP: 0.5, Format: "test", Tissue: 2, Tiles: s.tiles, Searched: s.tiles, Seconds: 2, Objects: n}, nil
}

// begin writes a sheet of slides, named by how many objects they have.
func begin(t *testing.T, s *searcher, dir string, names ...string) *cohort.Cohort {
	path := filepath.Join(t.TempDir(), "sheet.csv")
	text := "Slide,id,mpp,Group,objects\n"
	for i, n := range names {
		text += fmt.Sprintf("%s.svs,s%d,0.25,%s,<b>%d\n", n, i, []string{"a", "b"}[i%2], i)
	}
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	slides, err := cohort.ReadSheet(t.Context(), path)
	require.NoError(t, err)
	c, err := cohort.Open(dir, slides, []byte(`{"f":1}`), s)
	require.NoError(t, err)
	return c
}

func searchAll(t *testing.T, c *cohort.Cohort, units []cohort.Unit) (failed int) {
	for _, u := range units {
		err := c.Search(t.Context(), u)
		var f *cohort.FailedError
		if errors.As(err, &f) {
			failed++
			continue
		}
		require.NoError(t, err)
	}
	return failed
}

func content(t *testing.T, dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return string(b)
}

// TestCohort: a slide that fails is a line of the table and stops nothing; the
// next run does it alone.
func TestCohort(t *testing.T) {
	dir := t.TempDir()
	s := &searcher{t: t, tiles: 1, fail: map[string]error{"s1": errors.New("broken, \"so\"\nit is")}}
	c := begin(t, s, dir, "4", "2", "0")
	assert.Equal(t, 1, searchAll(t, c, c.Whole()))
	for i := range 3 {
		err := c.Merge(t.Context(), i, 1)
		if i == 1 {
			require.ErrorContains(t, err, "broken")
		} else {
			require.NoError(t, err)
		}
	}
	sum, err := c.Report()
	require.NoError(t, err)
	assert.Equal(t, cohort.Summary{Slides: 3, Done: 2, Failed: 1, Objects: 4}, sum)
	want := `id,slide,status,reason,mpp,width,height,tissue_mm2,tiles,missing_tiles,Group,sheet_objects,` +
		`objects,area_mm2,share,per_mm2,mean_um2,median_um2,` +
		`Gland_0.5_objects,Gland_0.5_area_mm2,Gland_0.5_share,Gland_0.5_per_mm2,Gland_0.5_mean_um2,Gland_0.5_median_um2,` +
		`Nucleus_0.5_objects,Nucleus_0.5_area_mm2,Nucleus_0.5_share,Nucleus_0.5_per_mm2,Nucleus_0.5_mean_um2,Nucleus_0.5_median_um2
s0,4.svs,done,,0.5,400,300,2,1,0,a,<b>0,4,0.0001,5e-05,2,25,25,2,6e-05,3e-05,1,30,30,2,4e-05,2e-05,1,20,20
s1,2.svs,failed,"broken, ""so"" it is",,,,,,,b,<b>1,,,,,,,,,,,,,,,,,,
s2,0.svs,done,,0.5,400,300,2,1,0,a,<b>2,0,0,0,0,,,0,0,0,0,,,0,0,0,0,,
`
	assert.Equal(t, want, content(t, dir, cohort.TableFile))
	page := content(t, dir, cohort.ReportFile)
	assert.Contains(t, page, "broken, &#34;so&#34; it is")
	assert.Contains(t, page, "slides/s0/index.html")
	assert.Equal(t, 3, strings.Count(page, "data:image/svg"))
	assert.Equal(t, "id,part,parts,tiles,seconds\ns0,0,1,1,2.000\ns2,0,1,1,2.000\n", content(t, dir, cohort.TimesFile))

	s.calls, s.fail = nil, nil
	c = begin(t, s, dir, "4", "2", "0")
	assert.FileExists(t, filepath.Join(dir, "slides", "s1", "failed.json"))
	assert.Zero(t, searchAll(t, c, c.Whole()))
	assert.NoFileExists(t, filepath.Join(dir, "slides", "s1", "failed.json"))
	assert.Equal(t, []string{"s1 0/1"}, s.calls)
	sum, err = c.Report()
	require.NoError(t, err)
	assert.Equal(t, cohort.Summary{Slides: 3, Done: 3, Objects: 6}, sum)

	// A sheet that grew, and one whose slide is another file.
	s.calls = nil
	c = begin(t, s, dir, "5", "2", "0", "1")
	assert.Zero(t, searchAll(t, c, c.Whole()))
	assert.Equal(t, []string{"s0 0/1", "s3 0/1"}, s.calls)
	_, err = cohort.Open(dir, nil, []byte(`{"f":2}`), s)
	require.ErrorIs(t, err, cohort.ErrOther)
}

// TestParts cuts slides into parts, does them in any order and some twice, and
// gives the table of slides done whole.
func TestParts(t *testing.T) {
	whole := t.TempDir()
	s := &searcher{t: t, tiles: 7, fail: map[string]error{"s1": errors.New("broken")}}
	names := []string{"4", "2", "9", "1"}
	c := begin(t, s, whole, names...)
	searchAll(t, c, c.Whole())
	_, err := c.Report()
	require.NoError(t, err)

	dir := t.TempDir()
	c = begin(t, s, dir, names...)
	told := 0
	units, err := c.Plan(t.Context(), 3, func(int, cohort.Slide, error) { told++ })
	require.NoError(t, err)
	assert.Equal(t, 4, told)
	assert.Equal(t, []cohort.Unit{{0, 0, 3, 3}, {0, 1, 3, 2}, {0, 2, 3, 2}, {1, 0, 1, 0}}, units[:4])
	read, err := c.Units()
	require.NoError(t, err)
	assert.Equal(t, units, read)
	rng := rand.New(rand.NewPCG(1, 2))
	for n, k := range append(rng.Perm(4), 1, 2, 0) {
		if n == 2 {
			sum, err := c.Report()
			require.NoError(t, err)
			assert.NotZero(t, sum.Unfinished)
			require.ErrorIs(t, c.Merge(t.Context(), 2, 3), cohort.ErrUnfinished)
		}
		searchAll(t, c, cohort.Share(units, k, 4))
	}
	for range 2 {
		for i := range names {
			parts := 3
			if i == 1 {
				parts = 1
			}
			if err := c.Merge(t.Context(), i, parts); i == 1 {
				require.ErrorContains(t, err, "broken")
			} else {
				require.NoError(t, err)
			}
		}
	}
	sum, err := c.Report()
	require.NoError(t, err)
	assert.Equal(t, cohort.Summary{Slides: 4, Done: 3, Failed: 1, Objects: 14}, sum)
	for _, n := range []string{cohort.TableFile, cohort.ParquetFile, cohort.ReportFile} {
		assert.Equal(t, content(t, whole, n), content(t, dir, n), n)
	}
	c = begin(t, s, dir, "4", "2")
	_, err = c.Units()
	require.ErrorContains(t, err, "plan again")
}

// TestFailureYields: an attempt that fails late does not undo what another did.
func TestFailureYields(t *testing.T) {
	dir := t.TempDir()
	good := &searcher{t: t, tiles: 1}
	c := begin(t, good, dir, "4")
	late := &meanwhile{searcher: &searcher{t: t, fail: map[string]error{"s0": errors.New("broken")}}, do: func() { searchAll(t, c, c.Whole()) }}
	other := begin(t, nil, dir, "4")
	other, err := cohort.Open(dir, other.Slides, []byte(`{"f":1}`), late)
	require.NoError(t, err)
	assert.Equal(t, 1, searchAll(t, other, other.Whole()))
	sum, err := c.Report()
	require.NoError(t, err)
	assert.Equal(t, 1, sum.Done)
}

// TestChangedFile: a slide whose file has another length is done again.
func TestChangedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "3.svs")
	s := &searcher{t: t, tiles: 1}
	c, err := cohort.Open(t.TempDir(), []cohort.Slide{{ID: "a", Path: path}}, nil, s)
	require.NoError(t, err)
	for i, b := range []string{"one", "one", "another"} {
		require.NoError(t, os.WriteFile(path, []byte(b), 0o600))
		searchAll(t, c, c.Whole())
		assert.Len(t, s.calls, []int{1, 1, 2}[i])
	}
}

// meanwhile lets another process work before it fails.
type meanwhile struct {
	*searcher
	do func()
}

func (m *meanwhile) Search(ctx context.Context, p cohort.Part) (*cohort.Found, error) {
	m.do()
	return m.searcher.Search(ctx, p)
}

// TestParquet reads the Parquet file and finds what the CSV file says.
func TestParquet(t *testing.T) {
	dir := t.TempDir()
	c := begin(t, &searcher{t: t, tiles: 1, fail: map[string]error{"s2": errors.New("broken")}}, dir, "4", "2", "3", "0")
	searchAll(t, c, c.Whole())
	_, err := c.Report()
	require.NoError(t, err)
	head, rows, err := sheet.Read(filepath.Join(dir, cohort.TableFile))
	require.NoError(t, err)
	b := content(t, dir, cohort.ParquetFile)
	f, err := parquet.OpenFile(strings.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	r := parquet.NewReader(f)
	got := make([]parquet.Row, len(rows)+1)
	n, _ := r.ReadRows(got)
	require.Equal(t, len(rows), n)
	names := f.Schema().Columns()
	require.Len(t, names, len(head))
	for i, row := range got[:n] {
		for k, v := range row {
			want := rows[i][sheet.Column(head, names[k][0])]
			if v.IsNull() {
				assert.Empty(t, want, names[k])
			} else if v.Kind() == parquet.Double {
				assert.Equal(t, want, fmt.Sprint(v.Double()))
			} else {
				assert.Equal(t, want, v.String(), names[k])
			}
		}
	}
}

// TestOutliers: slides far from their group's others are named.
func TestOutliers(t *testing.T) {
	dir := t.TempDir()
	names := []string{"10", "50", "11", "51", "12", "52", "13", "12", "9", "49", "12", "48"} // one of group b is like group a
	c := begin(t, &searcher{t: t, tiles: 1}, dir, names...)
	searchAll(t, c, c.Whole())
	_, err := c.Report()
	require.NoError(t, err)
	_, after, ok := strings.Cut(content(t, dir, cohort.ReportFile), "<h2>Outliers</h2>")
	require.True(t, ok)
	table, _, _ := strings.Cut(after, "</table>")
	assert.Contains(t, table, `<a href="slides/s7/index.html">s7</a>`)
	assert.NotContains(t, table, ">s6<")
	assert.NotContains(t, table, ">s5<")
}

func TestSheets(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no slide", "file\na\n", "no column slide"}, {"nothing", "slide\n", "no slides"}, {"empty", "slide,id\n,b\n", "line 2 has no slide"},
		{"twice", "slide\na/x.svs\nb/X.svs\n", "lines 2 and 3 have the id X"}, {"mpp", "slide,mpp\na,0,\n", "wrong number of fields"},
		{"mpp 0", "slide,mpp\na,0\n", `mpp "0"`}, {"mpp NaN", "slide,mpp\na,NaN\n", `mpp "NaN"`}, {"id", "slide,id\na,../b\n", "cannot name a folder"},
		{"dots", "slide,id\na,..\n", "cannot name a folder"}, {"column twice", "slide,x,X\na,b,c\n", `column 3 is named "X"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "s.csv")
			require.NoError(t, os.WriteFile(p, []byte(tt.text), 0o600))
			_, err := cohort.ReadSheet(t.Context(), p)
			assert.ErrorContains(t, err, tt.want)
		})
	}
	p := filepath.Join(t.TempDir(), "s.csv")
	require.NoError(t, os.WriteFile(p, []byte("\xef\xbb\xbfSLIDE;Mpp;site\r\nx/a.svs;0.5;Bern\r\nhttps://h/b.svs;;\r\n/c.zarr/;;\r\n"), 0o600))
	got, err := cohort.ReadSheet(t.Context(), p)
	require.NoError(t, err)
	assert.Equal(t, []cohort.Slide{
		{ID: "a", Path: filepath.Join(filepath.Dir(p), "x", "a.svs"), MPP: 0.5, More: []cohort.Field{{Name: "site", Value: "Bern"}}},
		{ID: "b", Path: "https://h/b.svs", More: []cohort.Field{{Name: "site"}}},
		{ID: "c", Path: "/c.zarr/", More: []cohort.Field{{Name: "site"}}},
	}, got)
}
