package sam_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/weights"
)

// peak is the process's largest resident memory so far, in bytes.
func peak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("no VmHWM in /proc/self/status")
}

// usage is what a process of its own used, in bytes.
type usage struct{ Start, Load, Embed, Weights int64 }

// TestMemoryChild is the process that TestMemory measures.
func TestMemoryChild(t *testing.T) {
	path := os.Getenv("SAM_MEMORY_CHILD")
	if path == "" {
		t.Skip("runs as a child of TestMemory")
	}
	var u usage
	var err error
	u.Start, err = peak()
	require.NoError(t, err)
	m, err := sam.Load(path)
	require.NoError(t, err)
	u.Weights = m.Bytes()
	u.Load, err = peak()
	require.NoError(t, err)
	_, err = m.Embed(context.Background(), golden.Picture(golden.Size{H: 768, W: 1024}, 1))
	require.NoError(t, err)
	u.Embed, err = peak()
	require.NoError(t, err)
	out, err := json.Marshal(u)
	require.NoError(t, err)
	fmt.Println("\nusage", string(out))
}

// TestMemory loads a ViT-B of full size in a process of its own and embeds a
// picture, as the kernel counts its memory.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("full-size models are left out of -short runs")
	}
	path := filepath.Join(t.TempDir(), "vit_b.pth")
	require.NoError(t, weights.Random(sam.Specs(sam.ViTB()), 1).Save(context.Background(), path, weights.ConvertOptions{}))
	cmd := exec.Command(os.Args[0], "-test.run", "^TestMemoryChild$", "-test.v")
	cmd.Env = append(os.Environ(), "SAM_MEMORY_CHILD="+path)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	_, line, ok := strings.Cut(string(out), "\nusage ")
	require.True(t, ok, string(out))
	line, _, _ = strings.Cut(line, "\n")
	var u usage
	require.NoError(t, json.Unmarshal([]byte(line), &u))
	const mb = 1e6
	t.Logf("weights %.0f MB; process %.0f MB, after Load %.0f MB, after Embed %.0f MB",
		float64(u.Weights)/mb, float64(u.Start)/mb, float64(u.Load)/mb, float64(u.Embed)/mb)
	assert.Less(t, float64(u.Load-u.Start-u.Weights), 60*mb, "Load beyond the weights")
	assert.Less(t, float64(u.Embed), 900*mb, "one Embed")
}
