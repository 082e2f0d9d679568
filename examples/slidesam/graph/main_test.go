package graph

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awalterschulze/gographviz"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	var out strings.Builder
	require.NoError(t, run([]string{"-out", dir, "-weights"}, &out))
	for _, n := range []string{"image-encoder", "prompt-encoder", "mask-decoder"} {
		assert.Contains(t, out.String(), n+": ")
		svg, err := os.ReadFile(filepath.Join(dir, n+".svg"))
		require.NoError(t, err)
		wellFormed(t, string(svg))
		assert.Contains(t, string(svg), "linear")
		dot, err := os.ReadFile(filepath.Join(dir, n+".dot"))
		require.NoError(t, err)
		_, err = gographviz.ParseString(string(dot))
		assert.NoError(t, err, "Graphviz reads the file")
	}
}

func wellFormed(t *testing.T, s string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
	}
}

func TestBadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"unknown argument": {"sam.pth"},
		"want one of":      {"-network", "hat", "-out", t.TempDir()},
		"no/model.pth":     {"-model", "no/model.pth"},
	} {
		assert.ErrorContains(t, run(args, io.Discard), want)
	}
}
