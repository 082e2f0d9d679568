package wsi_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/slidesam/sam/internal/wsi"
)

func TestAddresses(t *testing.T) {
	for p, want := range map[string]string{
		"https://example.org/a/b.svs?Signature=secret/x#y": "b.svs",
		"s3://lab/series/":                   "series",
		"s3://lab/series/?region=eu":         "series",
		filepath.Join("a", "what?.svs"):      "what?.svs",
		"https://example.org/a/c.svs#secret": "c.svs",
	} {
		assert.Equal(t, want, wsi.Name(p))
	}
	assert.Equal(t, "s3://lab/in/a.svs?region=eu/x", wsi.Beside("s3://lab/in/sheet.csv?region=eu/x", "a.svs"))
	assert.Equal(t, "s3://lab/in/?region=eu", wsi.Beside("s3://lab/in/sheet.csv?region=eu", ""))
	assert.Equal(t, filepath.Join("in", "a.svs"), wsi.Beside(filepath.Join("in", "sheet.csv"), "a.svs"))
}
