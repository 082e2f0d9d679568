package eval_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/maskdec"
	"github.com/slidesam/sam/promptenc"
	"github.com/slidesam/sam/vit"
)

// seer is a model that reads the truth out of the picture's colours and finds
// what a prompt points at, whole. Blind makes it lose the left half of every
// object until it is clicked that often.
type seer struct {
	blind int
	mu    sync.Mutex
	seen  map[*sam.Embedding]eval.Labels
	asked int
	stop  func(asked int) error
}

func (s *seer) Fingerprint() [16]byte { return [16]byte{1, byte(s.blind)} }

func (s *seer) Embed(_ context.Context, img image.Image) (*sam.Embedding, error) {
	b := img.Bounds()
	l := eval.NewLabels(sam.Size{H: b.Dy(), W: b.Dx()})
	for y := range l.H {
		for x := range l.W {
			r, _, _, _ := img.At(x, y).RGBA()
			l.Pix[y*l.W+x] = int32(r >> 8)
		}
	}
	e := &sam.Embedding{}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[*sam.Embedding]eval.Labels{}
	}
	s.seen[e] = l
	return e, nil
}

func (s *seer) PredictBatch(ctx context.Context, e *sam.Embedding, ps []sam.Prompt, o sam.PredictOptions) ([]*sam.Prediction, error) {
	s.mu.Lock()
	l := s.seen[e]
	s.asked += len(ps)
	asked := s.asked
	s.mu.Unlock()
	if s.stop != nil {
		if err := s.stop(asked); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out []*sam.Prediction
	for _, p := range ps {
		ids := map[int32]bool{}
		for _, q := range p.Points {
			if q.Label == sam.Foreground {
				ids[l.Pix[int(q.Y)*l.W+int(q.X)]] = true
			}
		}
		if b := p.Box; b != nil {
			count := map[int32]int{}
			best := int32(0)
			for y := int(b.Y0); y < int(b.Y1); y++ {
				for x := int(b.X0); x < int(b.X1); x++ {
					if v := l.Pix[y*l.W+x]; v != 0 {
						if count[v]++; count[v] > count[best] {
							best = v
						}
					}
				}
			}
			ids[best] = true
		}
		delete(ids, 0)
		mid := map[int32]int{}
		for i, v := range l.Pix {
			if ids[v] {
				mid[v] = max(mid[v], i%l.W)
			}
		}
		half := len(p.Points) < s.blind
		m, err := sam.NewMask(sam.Size{H: l.H, W: l.W}, func(x, y int) bool {
			v := l.Pix[y*l.W+x]
			return ids[v] && (!half || x > mid[v]-3)
		})
		if err != nil {
			return nil, err
		}
		none, err := sam.NewMask(sam.Size{H: l.H, W: l.W}, func(x, y int) bool { return false })
		if err != nil {
			return nil, err
		}
		pr := &sam.Prediction{Masks: []*sam.Mask{m}, IoUPred: []float32{0.95}, LowRes: []sam.Logits{{H: 1, W: 1, Data: []float32{0}}}}
		if !o.SingleMask {
			pr.Masks, pr.IoUPred, pr.LowRes = []*sam.Mask{none, m, none}, []float32{0.2, 0.95, 0.3}, append(pr.LowRes, pr.LowRes[0], pr.LowRes[0])
		}
		out = append(out, pr)
	}
	return out, nil
}

// pictures is a data set in memory.
type pictures []*eval.Picture

func (p pictures) Name() string         { return "discs" }
func (p pictures) Len() int             { return len(p) }
func (p pictures) Item(i int) eval.Item { return p[i].Item }
func (p pictures) Load(_ context.Context, i int) (*eval.Picture, error) {
	q := *p[i]
	return &q, nil
}

// discs draws pictures whose colours are the truth.
func discs(n int) pictures {
	var out pictures
	for i := range n {
		truth, _ := nuclei(60, 4+i)
		p := &eval.Picture{Item: eval.Item{ID: fmt.Sprintf("picture/%d", i), Group: fmt.Sprint("patient ", i/2)}, Truth: truth, MPP: 0.25}
		img := image.NewRGBA(image.Rect(0, 0, truth.W, truth.H))
		for j, v := range truth.Pix {
			img.Set(j%truth.W, j/truth.W, color.RGBA{R: uint8(v), G: 128, B: 128, A: 255})
		}
		p.Image = img
		out = append(out, p)
	}
	return append(out, &eval.Picture{Item: eval.Item{ID: "nothing"}, Image: image.NewRGBA(image.Rect(0, 0, 9, 7)), Truth: eval.NewLabels(sam.Size{H: 7, W: 9}), MPP: 0.25})
}

func settings() []eval.Setting {
	return append(eval.PaperSettings(false, 1),
		eval.Setting{Name: "20 joint", Prompting: eval.PromptPoints, Positive: 10, Negative: 10, Joint: true},
		eval.Setting{Name: "clicks", Prompting: eval.PromptClicks, Clicks: 3},
		eval.Setting{Name: "clicks joint", Prompting: eval.PromptClicks, Clicks: 3, Joint: true},
		eval.Setting{Name: "grid", Prompting: eval.PromptGrid, Grid: 8},
	)
}

func document(t testing.TB, r *eval.Results) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, r.WriteJSON(&b))
	return b.String()
}

// A model that finds whatever is pointed at scores the ceiling, everywhere.
func TestRunPerfectModel(t *testing.T) {
	r, err := eval.Run(context.Background(), &seer{}, discs(5), eval.Options{Settings: settings(), Seed: 3})
	require.NoError(t, err)
	require.Len(t, r.Records, 6*len(settings()))
	dice, err := eval.MetricNamed("dice")
	require.NoError(t, err)
	for _, rec := range r.Records {
		if rec.Setting == "clicks joint" { // a first click can find one object only
			continue
		}
		assert.Equal(t, rec.OraclePixels, rec.Pixels, "%s %s", rec.ID, rec.Setting)
		if !strings.Contains(rec.Setting, "joint") {
			assert.Equal(t, rec.OracleCounts, rec.Counts, "%s %s", rec.ID, rec.Setting)
		}
		for _, p := range rec.Predicted {
			if rec.Setting != "grid" {
				assert.Equal(t, eval.Reliability{IoUPred: eval.Number(float32(0.95)), IoU: 1}, p)
			}
		}
	}
	for _, name := range []string{"total points", "total boxes", "clicks"} {
		for _, rec := range r.Select("", name) {
			if rec.ID != "nothing" {
				assert.Equal(t, 1.0, dice.Of(rec, eval.EmptyNaN), name)
			}
		}
	}
	one, _ := eval.Scores(r.Select("discs 40x", "1 point"), dice.Of, eval.EmptyNaN)
	require.Len(t, one, 6)
	assert.Less(t, one[0], 0.9)
	assert.Equal(t, []string{"discs 40x"}, r.Tasks())
	back, err := eval.ReadResults(strings.NewReader(document(t, r)))
	require.NoError(t, err)
	assert.Equal(t, document(t, r), document(t, back))
	_, err = eval.ReadResults(strings.NewReader(`{"Plan":{"Version":99}}`))
	require.Error(t, err)
}

// Corrections find the half that was missing.
func TestRunClicks(t *testing.T) {
	r, err := eval.Run(context.Background(), &seer{blind: 3}, discs(2), eval.Options{Settings: settings()[5:6]})
	require.NoError(t, err)
	n := 0
	for _, rec := range r.Records {
		for _, c := range rec.Clicks {
			n++
			last := c.IoU[len(c.IoU)-1]
			assert.Equal(t, eval.Number(1), last)
			assert.Less(t, float64(c.IoU[0]), 1.0)
			assert.Len(t, c.IoU, 3)
		}
	}
	assert.Greater(t, n, 6)
}

// The same bytes whatever the workers and the cores.
func TestRunIsDeterministic(t *testing.T) {
	want := ""
	for _, cores := range []int{1, 2, 8} {
		old := runtime.GOMAXPROCS(cores)
		r, err := eval.Run(context.Background(), &seer{}, discs(5), eval.Options{Settings: settings(), Seed: 9, Workers: cores, MPP: []float64{0.25, 0.5, 1}})
		runtime.GOMAXPROCS(old)
		require.NoError(t, err)
		if want == "" {
			want = document(t, r)
		}
		require.Equal(t, want, document(t, r), "%d cores", cores)
	}
}

// Stopped at any point and started again: the same bytes in the end, nothing
// measured twice.
func TestRunResumes(t *testing.T) {
	o := eval.Options{Settings: settings(), Seed: 5}
	data := discs(4)
	clean, err := eval.Run(context.Background(), &seer{}, data, o)
	require.NoError(t, err)
	want := document(t, clean)
	dead := errors.New("killed")
	for _, at := range []int{1, 40, 100, 250} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			o := o
			o.Dir = t.TempDir()
			m := &seer{stop: func(asked int) error {
				if asked >= at {
					return dead
				}
				return nil
			}}
			_, err := eval.Run(context.Background(), m, data, o)
			require.ErrorIs(t, err, dead)
			// a kill in the middle of writing leaves a temporary file
			half := filepath.Join(o.Dir, "pictures", ".00001-x.json.12345678.tmp")
			require.NoError(t, os.WriteFile(half, []byte("[{"), 0o600))
			long := time.Now().Add(-time.Hour)
			require.NoError(t, os.Chtimes(half, long, long))
			kept, err := filepath.Glob(filepath.Join(o.Dir, "pictures", "0*.json"))
			require.NoError(t, err)
			resumed := 0
			o.Progress = func(p eval.Progress) {
				if p.Resumed {
					resumed++
				}
			}
			r, err := eval.Run(context.Background(), &seer{}, data, o)
			require.NoError(t, err)
			assert.Equal(t, want, document(t, r))
			assert.Equal(t, len(kept), resumed)
			assert.NoFileExists(t, half)
			// all there: the model is not asked at all
			again, err := eval.Run(context.Background(), m, data, o)
			require.NoError(t, err)
			assert.Equal(t, want, document(t, again))

			other := o
			other.Seed++
			_, err = eval.Run(context.Background(), &seer{}, data, other)
			require.ErrorIs(t, err, eval.ErrOtherPlan)
			_, err = eval.Run(context.Background(), &seer{blind: 1}, data, o)
			require.ErrorIs(t, err, eval.ErrOtherPlan)

			files, err := filepath.Glob(filepath.Join(o.Dir, "pictures", "0*.json"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(files[0], []byte("[{"), 0o600))
			_, err = eval.Run(context.Background(), &seer{}, data, o)
			require.ErrorContains(t, err, "remove it to measure the picture again")
		})
	}
}

func TestRunCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	m := &seer{stop: func(asked int) error {
		if asked > 30 {
			cancel()
		}
		return nil
	}}
	_, err := eval.Run(ctx, m, discs(4), eval.Options{Settings: settings()})
	require.ErrorIs(t, err, context.Canceled)
	cancel()
	_, err = eval.Run(ctx, m, discs(1), eval.Options{Settings: settings()})
	require.ErrorIs(t, err, context.Canceled)
}

func TestRunRefuses(t *testing.T) {
	data := discs(1)
	run := func(d eval.Dataset, o eval.Options) error {
		_, err := eval.Run(context.Background(), &seer{}, d, o)
		return err
	}
	s := settings()
	require.ErrorContains(t, run(data, eval.Options{}), "no settings")
	require.ErrorContains(t, run(pictures{}, eval.Options{Settings: s}), "no pictures")
	require.ErrorContains(t, run(data, eval.Options{Settings: append(s, s[0])}), "two settings named")
	require.ErrorContains(t, run(append(data, data[0]), eval.Options{Settings: s}), "two pictures named")
	require.ErrorContains(t, run(data, eval.Options{Settings: s, Choice: "luck"}), "luck")
	require.ErrorContains(t, run(data, eval.Options{Settings: s, MPP: []float64{-1}}), "-1 micrometres")
	require.ErrorContains(t, run(data, eval.Options{Settings: []eval.Setting{{Name: "x"}}}), "prompting")
	wrong := *data[0]
	wrong.Truth = eval.NewLabels(sam.Size{H: 3, W: 3})
	require.ErrorIs(t, run(pictures{&wrong}, eval.Options{Settings: s}), eval.ErrSize)
	unknown := *data[0]
	unknown.MPP = 0
	require.ErrorContains(t, run(pictures{&unknown}, eval.Options{Settings: s, MPP: []float64{1}}), "not known")
}

func TestRescale(t *testing.T) {
	p := discs(3)[2]
	same, err := p.Rescale(0.25)
	require.NoError(t, err)
	assert.Same(t, p, same)
	known, err := sam.NewMask(sam.Size{H: p.Truth.H, W: p.Truth.W}, func(x, _ int) bool { return x < p.Truth.W/2 })
	require.NoError(t, err)
	q := *p
	q.Known = known
	small, err := q.Rescale(0.5)
	require.NoError(t, err)
	assert.Equal(t, known.Area()/4, small.Known.Area())
	q.Known, err = sam.NewMask(sam.Size{H: 2, W: 2}, func(int, int) bool { return true })
	require.NoError(t, err)
	assert.ErrorContains(t, q.Check(), "what is known is of 2 x 2")
	half, err := p.Rescale(0.5)
	require.NoError(t, err)
	assert.Equal(t, []int{30, 30}, []int{half.Truth.H, half.Truth.W})
	require.NoError(t, half.Check())
	assert.InDelta(t, float64(p.Truth.Mask().Area())/4, float64(half.Truth.Mask().Area()), 40)
	for _, mpp := range []float64{0, -1, 1e-9} {
		_, err = p.Rescale(mpp)
		require.Error(t, err)
	}
	tiny, err := p.Rescale(1000)
	require.NoError(t, err)
	assert.Equal(t, 1, tiny.Truth.H)
}

// tinyModel is a whole model of about 100,000 random weights.
func tinyModel(t testing.TB) *sam.Model {
	m, err := sam.NewRandom(sam.Config{
		Encoder: vit.Config{ImageSize: 128, Patch: 8, Width: 32, Depth: 2, Heads: 2, HeadDim: 16, MLP: 64, Window: 7, Global: []int{1}, Out: 32},
		Prompt:  promptenc.Config{ImageSize: 128, Grid: 16, Channels: 32, MaskChannels: 16},
		Decoder: maskdec.Config{Grid: 16, Channels: 32, Depth: 2, Heads: 8, SelfDim: 32, CrossDim: 16, MLP: 64, MaskTokens: 4,
			IoUHidden: 32, IoUDepth: 3, Up1: 8, Up2: 4, HyperHidden: 32, HyperDepth: 3},
	}, 1)
	require.NoError(t, err)
	return m
}

// counter is a real model that counts how often it embeds.
type counter struct {
	*sam.Model
	n int
}

func (c *counter) Embed(ctx context.Context, img image.Image) (*sam.Embedding, error) {
	c.n++
	return c.Model.Embed(ctx, img)
}

// Embeddings are kept from one experiment to the next, and change nothing.
func TestRunKeepsEmbeddings(t *testing.T) {
	m := &counter{Model: tinyModel(t)}
	o := eval.Options{Settings: settings()[:2]}
	plain, err := eval.Run(context.Background(), m, discs(2), o)
	require.NoError(t, err)
	require.Equal(t, 3, m.n)
	o.Embeddings = filepath.Join(t.TempDir(), "e")
	for _, want := range []int{6, 6, 6} {
		r, err := eval.Run(context.Background(), m, discs(2), o)
		require.NoError(t, err)
		require.Equal(t, document(t, plain), document(t, r))
		require.Equal(t, want, m.n)
	}
	files, err := filepath.Glob(filepath.Join(o.Embeddings, "*.embedding"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	require.NoError(t, os.WriteFile(files[0], []byte("broken"), 0o600))
	r, err := eval.Run(context.Background(), m, discs(2), o)
	require.NoError(t, err)
	require.Equal(t, document(t, plain), document(t, r))
	require.Equal(t, 7, m.n)
	// A file under another picture's name is embedded again.
	other, err := os.ReadFile(files[1])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(files[0], other, 0o600))
	r, err = eval.Run(context.Background(), m, discs(2), o)
	require.NoError(t, err)
	require.Equal(t, document(t, plain), document(t, r))
	require.Equal(t, 8, m.n)
	v := eval.NewViewer(m, discs(2), r.Plan)
	v.Embeddings = o.Embeddings
	shown, err := v.Show(context.Background(), "picture/1", o.Settings[1], 0.25)
	require.NoError(t, err)
	require.Equal(t, r.Records[3].Pixels, shown.Pixels)
	require.Equal(t, 8, m.n)
	_, err = v.Show(context.Background(), "picture/9", o.Settings[1], 0.25)
	require.ErrorContains(t, err, "is not in data set discs")
}

// TestMain lets TestRunKilled run this program as one that is killed.
func TestMain(m *testing.M) {
	dir := os.Getenv("EVAL_TEST_KILL_ME")
	if dir == "" {
		os.Exit(m.Run())
	}
	slow := &seer{stop: func(int) error { time.Sleep(300 * time.Microsecond); return nil }}
	if _, err := eval.Run(context.Background(), slow, discs(12), eval.Options{Settings: settings(), Seed: 8, Dir: dir, Workers: 2}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The program is killed, with no chance to clean up, again and again at other
// moments, until it gets through: the same bytes as in one go.
func TestRunKilled(t *testing.T) {
	o := eval.Options{Settings: settings(), Seed: 8}
	clean, err := eval.Run(context.Background(), &seer{}, discs(12), o)
	require.NoError(t, err)
	o.Dir = t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	kills := 0
	for patience := 60 * time.Millisecond; ; patience += 25 * time.Millisecond {
		c := exec.Command(self)
		c.Env = append(os.Environ(), "EVAL_TEST_KILL_ME="+o.Dir)
		c.Stderr = os.Stderr
		require.NoError(t, c.Start())
		timer := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
		err := c.Wait()
		timer.Stop()
		if err == nil {
			break
		}
		kills++
		require.Less(t, kills, 400)
	}
	t.Logf("killed %d times", kills)
	r, err := eval.Run(context.Background(), &seer{stop: func(int) error { return errors.New("measured again") }}, discs(12), o)
	require.NoError(t, err)
	require.Equal(t, document(t, clean), document(t, r))
}

// A real model with random weights goes through all settings, twice the same.
func TestRunRealModel(t *testing.T) {
	m := tinyModel(t)
	want := ""
	for _, workers := range []int{1, 2, 8} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers))
		for _, choice := range []eval.Choice{"", eval.ChoosePredicted, eval.ChooseSingle, eval.ChooseOracle} {
			r, err := eval.Run(context.Background(), m, discs(2), eval.Options{Settings: settings(), Workers: workers, Choice: choice})
			require.NoError(t, err)
			require.Len(t, r.Records, 3*len(settings()))
			if choice == "" {
				if want == "" {
					want = document(t, r)
				}
				require.Equal(t, want, document(t, r))
			}
		}
	}
}

// Random weights give masks in many pieces, of which Local keeps few.
func TestRunLocal(t *testing.T) {
	m := tinyModel(t)
	whole, err := eval.Run(context.Background(), m, discs(2), eval.Options{Settings: settings()})
	require.NoError(t, err)
	local, err := eval.Run(context.Background(), m, discs(2), eval.Options{Settings: settings(), Local: true})
	require.NoError(t, err)
	require.Len(t, local.Records, len(whole.Records))
	for _, name := range []string{"total boxes", "20 joint", "clicks"} { // boxes and points asked at once, and clicks
		of := func(r *eval.Results) string { return document(t, &eval.Results{Records: r.Select("", name)}) }
		require.NotEmpty(t, whole.Select("", name))
		assert.False(t, of(whole) == of(local), name)
	}
}

func ExampleRun() {
	r, err := eval.Run(context.Background(), &seer{}, discs(3), eval.Options{Settings: eval.PaperSettings(true, 1), Seed: 1})
	if err != nil {
		panic(err)
	}
	dice, err := eval.MetricNamed("dice")
	if err != nil {
		panic(err)
	}
	for _, s := range r.Plan.Settings {
		records := r.Select("", s.Name)
		score, groups := eval.Scores(records, dice.Of, eval.EmptyNaN)
		v, err := eval.Summarise(score, groups, eval.Bootstrap{Seed: 1})
		if err != nil {
			panic(err)
		}
		ceiling, groups := eval.Scores(records, dice.Oracle, eval.EmptyNaN)
		c, err := eval.Summarise(ceiling, groups, eval.Bootstrap{Seed: 1})
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s: %.3f of %.3f on %d pictures, %d undefined\n", s.Name, v.Mean, c.Mean, v.N, v.NaN)
	}
	// Output:
	// 1 point: 0.328 of 0.328 on 3 pictures, 1 undefined
	// 20 points: 0.955 of 0.955 on 3 pictures, 1 undefined
	// total points: 1.000 of 1.000 on 3 pictures, 1 undefined
	// total boxes: 1.000 of 1.000 on 3 pictures, 1 undefined
}
