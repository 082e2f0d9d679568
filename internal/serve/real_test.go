package serve_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/serve"
)

// realSlides is the folder of real slides, which cannot be written to.
func realSlides(t *testing.T) string {
	dir := os.Getenv("SAM_TESTDATA")
	if dir == "" {
		t.Skip("SAM_TESTDATA is not set: it names a folder of real slides")
	}
	return filepath.Join(dir, "slides")
}

// TestRealSlides asks for every slide of a folder, some of which are damaged:
// each gives its pictures or a reason.
func TestRealSlides(t *testing.T) {
	c := newClient(t, newServer(t, serve.Config{Slides: []string{realSlides(t)}, Annotations: t.TempDir()}))
	var list []struct{ ID, Name string }
	c.get("/v1/slides", &list)
	require.NotEmpty(t, list)
	for _, l := range list {
		path := "/v1/slides/" + l.ID
		status := c.do("GET", path, nil, nil)
		assert.Contains(t, []int{200, 422}, status, l.Name)
		if status == 200 {
			assert.Contains(t, []int{200, 422}, c.do("GET", path+"/thumbnail", nil, nil), l.Name)
		}
		if strings.HasPrefix(l.Name, "cmu-1") {
			var d struct {
				Width, Height int
				MPP           float64
				Associated    []string
			}
			c.get(path, &d)
			assert.Equal(t, []any{2220, 2967, 0.499}, []any{d.Width, d.Height, d.MPP})
			for _, name := range d.Associated {
				want := 200
				if name == "label" || name == "macro" {
					want = 403
				}
				assert.Equal(t, want, c.do("GET", path+"/associated/"+name, nil, nil), name)
				assert.Equal(t, 200, c.do("GET", path+"/associated/"+name+"?reveal=true", nil, nil), name)
			}
		}
	}
}

// TestRealSlideInABrowser clicks on real tissue.
func TestRealSlideInABrowser(t *testing.T) {
	dir := realSlides(t)
	live := httptest.NewServer(newServer(t, serve.Config{Slides: []string{filepath.Join(dir, "cmu-1-small-region.svs")}, Annotations: t.TempDir()}))
	defer live.Close()
	b := openBrowser(t, live.URL)
	b.wait(settled + ` && slidesam.viewer.world.getItemAt(0)?.getFullyLoaded()`)
	b.shot("real-1")
	b.evaluate(`slidesam.viewer.viewport.fitBounds(slidesam.viewer.world.getItemAt(0).imageToViewportRectangle(900, 1100, 400, 260), true)`)
	b.wait(`slidesam.viewer.world.getItemAt(0).getFullyLoaded()`)
	b.key("r")
	b.drag(920, 1120, 1280, 1340)
	b.wait(settled + ` && slidesam.jobs.some((j) => j.state === "done")`)
	b.shot("real-2")
	assert.Greater(t, b.number(`slidesam.scene.objects.size`), 3.0)
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.Empty(t, b.faults)
}
