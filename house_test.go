package sam_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/slidesam/sam"

// floors are the packages whose place in the house is fixed, from the top
// down. A package uses none that stands in a line above its own, nor another of
// its own line.
var floors = [][]string{
	{"eval"},
	{""},
	{"internal/wholeslide", "internal/refine"},
	{"internal/histology", "internal/geojson", "internal/wsi", "internal/draw"},
	{"internal/tiff", "internal/mask"},
	{"internal/picture"},
	{"internal/resample"},
	{"internal/kernel", "internal/spatial", "internal/atomicfile"},
}

// TestFloors holds the direction of the imports.
func TestFloors(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: go list takes seconds")
	}
	name := func(p string) string { return strings.TrimSuffix(module+"/"+p, "/") }
	at := map[string]int{}
	for i, f := range floors {
		for _, p := range f {
			at[name(p)] = i
		}
	}
	for i, f := range floors {
		for _, p := range f {
			out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", name(p)).Output()
			require.NoError(t, err)
			for _, dep := range strings.Fields(string(out)) {
				if k, ok := at[dep]; ok && dep != name(p) {
					assert.Greater(t, k, i, "%s uses %s", name(p), dep)
				}
				assert.False(t, strings.HasPrefix(dep, module+"/examples"), "%s uses %s", name(p), dep)
			}
		}
	}
}

// TestFace holds the root to a face: few files, and no test that reaches
// through it to masks and whole slides.
func TestFace(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	n, lines := 0, 0
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		n, lines = n+1, lines+bytes.Count(b, []byte("\n"))
	}
	// 26 and 3,258 when the machinery moved out; devices, fine-tuning, instance
	// decoders, Cellpose-SAM, refining and precisions have faces here too.
	assert.Less(t, n, 36, "files")
	assert.Less(t, lines, 5130, "lines")
	shims, err := filepath.Glob("*_export_test.go")
	require.NoError(t, err)
	assert.Subset(t, []string{"everything_export_test.go"}, shims)
}

// TestLightImport holds what a program that imports package sam links: no
// server, no client, no templates, no command line, no remote slides.
func TestLightImport(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: go list takes seconds")
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module).Output()
	require.NoError(t, err)
	for _, dep := range strings.Fields(string(out)) {
		for _, heavy := range []string{
			"net/http", "html/template", "github.com/spf13/", "github.com/chromedp/", "gocloud.dev", "gonum.org/v1/plot",
			module + "/remote", module + "/eval", module + "/internal/serve", module + "/internal/cli", module + "/internal/synth",
		} {
			assert.False(t, dep == heavy || strings.HasPrefix(dep, heavy+"/") || strings.HasSuffix(heavy, "/") && strings.HasPrefix(dep, heavy), "package sam links %s", dep)
		}
	}
}
