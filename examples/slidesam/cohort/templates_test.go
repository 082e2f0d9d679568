package cohort

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/cohort"
	"github.com/slidesam/sam/internal/cohort/cohorttest"
)

// TestTemplates gives the demonstration's slides, some of them corrupt, to
// each scheduler's template, whose array kills one task in five and runs another
// twice: the bytes of the plain command. Slurm has all twenty, the others the
// first seven.
func TestTemplates(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the templates are shell scripts")
	}
	data := t.TempDir()
	sheet, err := Demo(t.Context(), data)
	require.NoError(t, err)
	b, err := os.ReadFile(sheet)
	require.NoError(t, err)
	lines := strings.SplitAfter(strings.ReplaceAll(string(b), "\nslide-", "\ndemo/slide-"), "\n")
	sheet = filepath.Join(data, "cohort.csv")
	flags := []string{"-model", cohorttest.TinyModel(t), "-iou", "-1", "-stability", "-1", "-device", "cpu", "-mpp", "1"}
	plain := func(t *testing.T, slides int, says string) map[string]string {
		require.NoError(t, os.WriteFile(sheet, []byte(strings.Join(lines[:1+slides], "")), 0o600))
		out := t.TempDir()
		run := exec.Command(os.Args[0])
		run.Args = append([]string{"slidesam", "cohort", "-sheet", sheet, "-out", out}, flags...)
		text, err := run.CombinedOutput()
		require.Equal(t, cli.ExitPartial, run.ProcessState.ExitCode(), "%v %s", err, text)
		assert.Contains(t, string(text), says)
		return sums(t, out)
	}
	want := plain(t, 7, "7 slides: 6 done, 1 failed")

	programs := t.TempDir()
	self, err := filepath.Abs(os.Args[0])
	require.NoError(t, err)
	for _, name := range []string{"slidesam", "sbatch", "qsub", "aws", "kubectl"} {
		require.NoError(t, os.Symlink(self, filepath.Join(programs, name)))
	}
	templates, err := filepath.Abs(filepath.Join("..", "..", "cohort"))
	require.NoError(t, err)
	for _, script := range []string{"sge.sh", "aws-batch.sh", "kubernetes.sh", "slurm.sh"} {
		t.Run(script, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
			defer stop()
			if script == "slurm.sh" && !testing.Short() {
				want = plain(t, demoSlides, "20 slides: 18 done, 2 failed")
			}
			out := filepath.Join(data, "results")
			require.NoError(t, os.RemoveAll(out))
			args := append([]string{filepath.Join(templates, script), sheet, out, "-part-tiles", "2"}, flags...)
			switch script {
			case "aws-batch.sh":
				args[1], args[2] = "/data/cohort.csv", "/data/results"
			case "kubernetes.sh":
				args = args[:1]
			}
			c := exec.CommandContext(ctx, "sh", args...)
			c.Env = append(os.Environ(), "PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"), "TASKS=6", "QUEUE=q",
				"STUB_STATE="+t.TempDir(), "STUB_DATA="+data, "STUB_FLAGS="+strings.Join(append(flags, "-part-tiles", "2"), " "))
			text, err := c.CombinedOutput()
			if script == "slurm.sh" || script == "sge.sh" { // the merge's exit code tells of the corrupt slides
				assert.Error(t, err)
			} else {
				require.NoError(t, err, string(text))
			}
			require.FileExists(t, filepath.Join(out, cohort.ReportFile), string(text))
			assert.FileExists(t, filepath.Join(out, cohort.UnitsFile))
			assert.Equal(t, want, sums(t, out))
		})
	}
}
