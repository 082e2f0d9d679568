package cohort

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/cohort/cohorttest"
)

// TestNextflow gives seven of the demonstration's slides, one of them corrupt, to
// the workflow for Nextflow: the bytes of the plain command.
func TestNextflow(t *testing.T) {
	if _, err := exec.LookPath("nextflow"); err != nil {
		t.Skip("no program nextflow: .ci/run nextflow runs this test with one")
	}
	data := t.TempDir()
	sheet, err := Demo(t.Context(), data)
	require.NoError(t, err)
	b, err := os.ReadFile(sheet)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(sheet, []byte(strings.Join(strings.SplitAfter(string(b), "\n")[:8], "")), 0o600))
	model, plain := cohorttest.TinyModel(t), filepath.Join(data, "plain")
	flags := []string{"-iou", "-1", "-stability", "-1", "-device", "cpu", "-mpp", "1"}
	code, text := call(t, nil, append([]string{"-sheet", sheet, "-out", plain, "-model", model}, flags...)...)
	require.Equal(t, cli.ExitPartial, code, text)

	programs := t.TempDir()
	self, err := filepath.Abs(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.Symlink(self, filepath.Join(programs, "slidesam")))
	workflow, err := filepath.Abs(filepath.Join("..", "..", "cohort", "nextflow"))
	require.NoError(t, err)
	ctx, stop := context.WithTimeout(t.Context(), 8*time.Minute)
	defer stop()
	run := func(args ...string) (string, error) {
		c := exec.CommandContext(ctx, "nextflow", append([]string{"run", workflow, "--outdir", "results"}, args...)...)
		c.Dir = data
		c.Env = append(os.Environ(), "PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"), "NXF_ANSI_LOG=false", "NXF_HOME="+filepath.Join(data, "home"))
		text, err := c.CombinedOutput()
		return string(text), err
	}
	text, err = run("--sheet", sheet, "--model", model, "--args", strings.Join(flags, " "))
	require.NoError(t, err, text)
	out := filepath.Join(data, "results")
	versions, err := os.ReadFile(filepath.Join(out, "pipeline_info", "versions.yml"))
	require.NoError(t, err)
	assert.Equal(t, "\"SLIDESAM_REPORT\":\n    slidesam: v1\n\"SLIDESAM_SLIDE\":\n    slidesam: v1\n", string(versions))
	require.NoError(t, os.RemoveAll(filepath.Join(out, "pipeline_info")))
	assert.Equal(t, sums(t, plain), sums(t, out), text)

	require.NoError(t, os.WriteFile(sheet, []byte("slide,id,mpp\nslide-01.png,it's,0.5\n"), 0o600))
	text, err = run("--sheet", sheet)
	assert.Error(t, err)
	assert.Contains(t, text, "want names of letters")
}
