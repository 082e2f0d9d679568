package wsi_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/wsi"
)

// TestNDPI compares built files with OpenSlide: lists of restart markers
// that are there, have upper halves or are missing, focal planes, chroma of
// half size.
func TestNDPI(t *testing.T) {
	for name, want := range readings(t, "ndpi.json") {
		t.Run(name, func(t *testing.T) {
			s, err := wsi.Open(filepath.Join("testdata", "formats", name), wsi.Options{})
			require.NoError(t, err)
			defer s.Close()
			assert.Equal(t, "ndpi", s.Meta().Format)
			assert.Equal(t, want.Objective == 20, strings.Contains(s.Meta().Description, "SerialNumber=7"))
			checkReading(t, s, want)
		})
	}
}
