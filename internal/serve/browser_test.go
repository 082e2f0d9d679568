package serve_test

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/draw"
	"math"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/serve"
	"github.com/slidesam/sam/weights/bundled"
)

// browser is a page of the viewer in a real Chromium.
type browser struct {
	t     *testing.T
	ctx   context.Context
	shots string // folder for screenshots, empty: none

	mu       sync.Mutex
	faults   []string // what the console complained of
	requests []string
}

// openBrowser opens an address in the program that CHROME names. Without one,
// the test is skipped.
func openBrowser(t *testing.T, address string) *browser {
	chrome := os.Getenv("CHROME")
	if chrome == "" {
		t.Skip("CHROME is not set: it names the program of Chromium")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chrome), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 800),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	b := &browser{t: t, shots: os.Getenv("SAM_SCREENSHOTS")}
	b.ctx, stop = chromedp.NewContext(ctx, chromedp.WithListener(b.hear))
	t.Cleanup(stop)
	b.do(command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}), chromedp.Navigate(address))
	return b
}

// command is a command of the protocol as an action.
func command[P, R any](c cdp.Command[P, R], p P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, p)
		return err
	})
}

// hear collects what the page asks for and complains of.
func (b *browser) hear(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError || ev.Type == runtime.ConsoleAPICalledTypeWarning {
			for _, a := range ev.Args {
				b.faults = append(b.faults, string(a.Value)+a.Description)
			}
		}
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, ev.ExceptionDetails.Text)
		if x := ev.ExceptionDetails.Exception; x != nil {
			b.faults = append(b.faults, x.Description)
		}
	case *log.EventEntryAdded:
		b.faults = append(b.faults, ev.Entry.Text+" "+ev.Entry.URL)
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, ev.Request.URL)
	case *network.EventLoadingFailed:
		if !ev.Canceled {
			b.faults = append(b.faults, "load: "+ev.ErrorText)
		}
	}
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

// value is that of an expression in the page.
func value[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err, expression)
	return v
}

func (b *browser) number(expression string) float64 { return value[float64](b, expression) }

// evaluate runs a statement in the page.
func (b *browser) evaluate(statement string) { value[float64](b, statement+", 1") }

// wait waits until an expression is true.
func (b *browser) wait(expression string) {
	b.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		if value[bool](b, "!!("+expression+")") {
			return
		}
		if time.Now().After(deadline) {
			b.shot("failed")
			status := value[string](b, `document.getElementById("status").textContent`)
			b.mu.Lock()
			defer b.mu.Unlock()
			b.t.Fatalf("never true: %s; status %q, console %q", expression, status, b.faults)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// screen is where a point of the slide is on the screen.
func (b *browser) screen(x, y float64) (float64, float64) {
	p := value[[]float64](b, fmt.Sprintf(`(() => { const v = slidesam.view(), r = document.getElementById("overlay").getBoundingClientRect(); return [r.left + v.x + v.scale*%g, r.top + v.y + v.scale*%g]; })()`, x, y))
	return p[0], p[1]
}

func (b *browser) click(x, y float64, opts ...chromedp.MouseOption) {
	x, y = b.screen(x, y)
	b.do(chromedp.MouseClickXY(x, y, opts...))
}

func (b *browser) drag(x0, y0, x1, y1 float64) {
	x0, y0 = b.screen(x0, y0)
	x1, y1 = b.screen(x1, y1)
	b.do(chromedp.DragAndDropXY(x0, y0, x1, y1))
}

func (b *browser) key(keys string) { b.do(chromedp.KeyEvent(keys)) }

func (b *browser) shot(name string) {
	if b.shots == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	require.NoError(b.t, os.MkdirAll(b.shots, 0o755))
	require.NoError(b.t, os.WriteFile(filepath.Join(b.shots, name+".png"), png, 0o644))
}

// settled is that nothing is being asked for.
const settled = `slidesam.slide && slidesam.busy === 0`

// TestViewer does in a browser what a person does.
func TestViewer(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, serve.Config{Demo: demo(), Annotations: dir, Token: token})
	live := httptest.NewServer(s)
	defer live.Close()
	b := openBrowser(t, live.URL+"/t/"+token+"/")
	b.wait(settled + ` && slidesam.viewer.world.getItemAt(0)?.getFullyLoaded()`)
	b.evaluate(`slidesam.viewer.viewport.fitBounds(slidesam.viewer.world.getItemAt(0).imageToViewportRectangle(620, 180, 400, 280), true)`)
	b.wait(`slidesam.viewer.world.getItemAt(0).getFullyLoaded()`)
	b.shot("1-open")

	// A nucleus, then a correction, then another candidate.
	truth := bundled.Truth()
	label := truth.Nuclei[nucleusY*truth.W+nucleusX]
	nucleus, err := sam.NewMask(sam.Size{H: truth.H, W: truth.W}, func(x, y int) bool { return truth.Nuclei[y*truth.W+x] == label })
	require.NoError(t, err)
	b.click(nucleusX, nucleusY)
	b.wait(settled + ` && slidesam.scene.draft?.answer`)
	assert.Equal(t, 3.0, b.number(`slidesam.scene.draft.answer.candidates.length`))
	b.shot("2-click")
	first := b.number(`slidesam.scene.draft.shown().properties.measurements["Area px^2"]`)
	assert.InDelta(t, nucleus.Area(), first, 0.35*float64(nucleus.Area()))
	b.evaluate(`window.before = slidesam.scene.draft.answer.state`)
	b.click(nucleusX+45, nucleusY, chromedp.ButtonModifiers(kb.ModifierShift))
	b.wait(settled + ` && slidesam.scene.draft.answer.state !== before`)
	assert.Equal(t, 2.0, b.number(`slidesam.scene.draft.points.length`))
	assert.Equal(t, 0.0, b.number(`slidesam.scene.draft.points[1].label`))
	b.shot("3-corrected")
	chosen := b.number(`slidesam.scene.draft.chosen`)
	b.key("nnn")
	assert.Equal(t, chosen, b.number(`slidesam.scene.draft.chosen`))
	b.key("\r")
	b.wait(settled + ` && slidesam.scene.objects.size === 1 && !slidesam.scene.draft`)

	// A box round another one, of another class.
	bounds := nucleus.Bounds()
	b.key("3")
	b.drag(float64(bounds.Min.X), float64(bounds.Min.Y), float64(bounds.Max.X), float64(bounds.Max.Y))
	b.wait(settled + ` && slidesam.scene.draft?.answer`)
	b.shot("4-box")
	b.key("\r")
	b.wait(settled + ` && slidesam.scene.objects.size === 2`)

	// Undo, redo, select, simplify, brush, delete.
	b.do(chromedp.KeyEvent("z", chromedp.KeyModifiers(kb.ModifierCtrl)))
	b.wait(settled + ` && slidesam.scene.objects.size === 1`)
	b.do(chromedp.KeyEvent("y", chromedp.KeyModifiers(kb.ModifierCtrl)))
	b.wait(settled + ` && slidesam.scene.objects.size === 2`)
	b.click(nucleusX, nucleusY, chromedp.ButtonModifiers(kb.ModifierCtrl))
	assert.Equal(t, 1.0, b.number(`slidesam.scene.selected.size`))
	area := `slidesam.scene.objects.get([...slidesam.scene.selected][0]).area`
	before := b.number(area)
	b.key("b")
	b.drag(nucleusX, nucleusY, nucleusX+60, nucleusY)
	b.wait(settled + fmt.Sprintf(` && %s > %g`, area, before))
	b.shot("5-brush")
	b.key("l")
	b.wait(settled)
	b.key("s")
	b.do(chromedp.KeyEvent("z", chromedp.KeyModifiers(kb.ModifierCtrl)))
	b.wait(settled)
	b.do(chromedp.KeyEvent("z", chromedp.KeyModifiers(kb.ModifierCtrl)))
	b.wait(settled + fmt.Sprintf(` && Math.abs(slidesam.scene.objects.at(%d, %d).area - %g) < 1`, nucleusX, nucleusY, before))

	// All nuclei in a rectangle.
	b.key("r")
	b.drag(640, 200, 1000, 440)
	b.wait(settled + ` && slidesam.jobs.some((j) => j.state === "done") && slidesam.scene.objects.size > 10`)
	b.shot("6-nuclei")
	have := b.number(`slidesam.scene.objects.size`)

	// Compared with the truth of the picture, and the truth hidden again.
	b.evaluate(`slidesam.compare(new Blob([JSON.stringify([...slidesam.scene.objects.all()].slice(0, 5).map((o) => o.feature))]))`)
	b.wait(settled + ` && slidesam.comparison?.worst && document.getElementById("comparison")`)
	b.shot("9-compared")
	b.evaluate(`slidesam.endComparison()`)

	// It is on the disk, as QuPath opens it, and there after a reload.
	b.do(chromedp.Reload())
	b.wait(settled + fmt.Sprintf(` && slidesam.scene.objects.size === %g && slidesam.viewer.world.getItemAt(0)?.getFullyLoaded()`, have))
	b.shot("7-reloaded")
	require.Eventually(t, func() bool {
		files, err := filepath.Glob(filepath.Join(dir, "*.geojson"))
		if err != nil || len(files) != 1 {
			return false
		}
		content, err := os.ReadFile(files[0])
		var fc struct{ Features []json.RawMessage }
		return err == nil && json.Unmarshal(content, &fc) == nil && float64(len(fc.Features)) == have
	}, 10*time.Second, 20*time.Millisecond)
	for _, path := range []string{"annotations?download=true", "annotations.csv"} {
		b.evaluate(fmt.Sprintf("window.exported = 0, fetch(`v1/slides/${slidesam.slide.id}/%s`).then((r) => r.text()).then((s) => { window.exported = s.length; })", path))
		b.wait("exported > 500")
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	assert.Empty(t, b.faults, "nothing to complain of")
	home, err := url.Parse(live.URL)
	require.NoError(t, err)
	for _, r := range b.requests {
		u, err := url.Parse(r)
		require.NoError(t, err)
		assert.True(t, u.Host == home.Host || u.Scheme == "data" || u.Scheme == "blob" || strings.HasPrefix(r, "about:"), "leaves the machine: %s", r)
	}
}

// TestManyObjects opens a slide with 100,000 objects, moves about in it, and
// measures how long the frames take to draw.
func TestManyObjects(t *testing.T) {
	if testing.Short() {
		t.Skip("a hundred thousand objects")
	}
	side := 1 << 15
	slide, err := sam.NewSlide(blank{side}, bundled.MPP)
	require.NoError(t, err)
	s := newServer(t, serve.Config{Demo: slide, Annotations: t.TempDir()})
	c := newClient(t, s)
	var fs []*geojson.Feature
	for i := range 100_000 {
		x, y := float64(i%317)*100, float64(i/317)*100
		ring := orb.Ring{}
		for k := range 24 {
			a := 2 * math.Pi * float64(k) / 24
			ring = append(ring, orb.Point{x + 50 + 20*math.Cos(a), y + 50 + 20*math.Sin(a)})
		}
		fs = append(fs, feature(orb.Polygon{append(ring, ring[0])}, []string{"Tumor", "Stroma", "Immune cells"}[i%3]))
	}
	live := httptest.NewServer(s)
	defer live.Close()
	var e struct{ Revision int64 }
	require.NoError(t, ask(live.URL+c.slide+"/annotations", map[string]any{"add": fs}, &e))
	b := openBrowser(t, live.URL+"/")
	b.wait(settled + ` && slidesam.scene.objects.size === 100000`)
	b.evaluate(`window.worst = 0, (function watch() { worst = Math.max(worst, slidesam.frame); requestAnimationFrame(watch); })()`)
	for _, zoom := range []float64{1, 2, 4, 8, 16, 32, 64, 1} {
		b.evaluate(fmt.Sprintf(`slidesam.viewer.viewport.zoomTo(%g * slidesam.viewer.viewport.getHomeZoom())`, zoom))
		time.Sleep(600 * time.Millisecond)
	}
	b.shot("8-many")
	t.Logf("the worst frame took %.1f ms to draw", b.number(`worst`))
	assert.Less(t, b.number(`worst`), 100.0, "40 ms on two cores that ten others share, without a GPU")
}

// blank is a slide without anything on it.
type blank struct{ side int }

func (b blank) Levels() []sam.SlideLevel {
	var out []sam.SlideLevel
	for d := 1; b.side/d >= 256; d *= 2 {
		out = append(out, sam.SlideLevel{W: b.side / d, H: b.side / d, TileW: 256, TileH: 256, Downsample: float64(d)})
	}
	return out
}

func (b blank) ReadRegion(_ context.Context, _ int, _ image.Point, dst *image.RGBA) error {
	draw.Draw(dst, dst.Rect, image.White, image.Point{}, draw.Src)
	return nil
}
