package convert

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cli"
)

const trainer = "../../../weights/testdata/trainer.pt"

// TestRun goes round through every format: the fingerprint stays.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	src := trainer
	for _, name := range []string{"a.safetensors", "b.npz", "c.pth"} {
		dst := filepath.Join(dir, name)
		var out, bar bytes.Buffer
		require.NoError(t, run(t.Context(), []string{src, dst}, &out, &bar))
		assert.Equal(t, dst+": 124 tensors, 5102 values, fingerprint 56a55b49f498ab27530a03b54af28492\n", out.String())
		assert.Contains(t, bar.String(), "converting")
		src = dst
	}
}

func TestRunFloat16(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "a.safetensors")
	var out, bar bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-quiet", "-float16", trainer, dst}, &out, &bar))
	assert.Empty(t, bar.String())
	assert.Contains(t, out.String(), "124 tensors")
}

func TestRunFails(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	dst := filepath.Join(t.TempDir(), "a.npz")
	for _, tt := range []struct {
		name string
		ctx  context.Context
		args string
		want string
	}{
		{"format", t.Context(), trainer + " a.onnx", `format ".onnx" is unknown`},
		{"not a SAM", t.Context(), "../../../weights/testdata/resnet.pth " + dst, "no Segment Anything model"},
		{"absent", t.Context(), "absent.pth " + dst, "weights: open absent.pth: "},
		{"interrupted", cancelled, trainer + " " + dst, "context canceled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := run(tt.ctx, strings.Fields(tt.args), io.Discard, io.Discard)
			require.ErrorContains(t, err, tt.want)
			_, err = os.Stat(dst)
			require.ErrorIs(t, err, os.ErrNotExist)
		})
	}
	for _, args := range []string{"", "a", "a b c", "-unknown a b"} {
		var usage bytes.Buffer
		var bad *cli.UsageError
		require.ErrorAs(t, run(t.Context(), strings.Fields(args), io.Discard, &usage), &bad)
		assert.Contains(t, usage.String(), "usage: convert")
	}
	var usage bytes.Buffer
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &usage), flag.ErrHelp)
	assert.Contains(t, usage.String(), "usage: convert")
}
