package cli_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cli"
)

// TestLine: a shell reads back what was given.
func TestLine(t *testing.T) {
	args := []string{"-data", "labels=a b,c,0.25", "it's", "", "$HOME", "*", "plain-1.svs", "ä\n"}
	line := cli.Line("printf", append([]string{`%s|`}, args...)...)
	assert.True(t, strings.HasPrefix(line, "printf '%s|' -data 'labels=a b,c,0.25' "), line)
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell here")
	}
	out, err := exec.CommandContext(t.Context(), sh, "-c", line).Output()
	require.NoError(t, err)
	assert.Equal(t, strings.Join(args, "|")+"|", string(out))
}
