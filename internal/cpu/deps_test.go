package cpu_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWall: the networks and their graphs know no backend and no kernel.
func TestWall(t *testing.T) {
	for _, dir := range []string{"../graph", "../op", "../layer", "../../vit", "../../promptenc", "../../maskdec"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			require.NoError(t, err)
			for _, i := range f.Imports {
				path, err := strconv.Unquote(i.Path.Value)
				require.NoError(t, err)
				assert.NotContains(t, []string{"github.com/slidesam/sam/internal/kernel", "github.com/slidesam/sam/internal/cpu"}, path, name)
			}
		}
	}
}
