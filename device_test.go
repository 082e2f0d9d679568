package sam_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
)

func TestOnCPU(t *testing.T) {
	m := tinyModel(t, 1)
	assert.Equal(t, sam.Device{Name: sam.CPU}, m.Device())
	c, err := m.On(sam.CPU, sam.FP32)
	require.NoError(t, err)
	assert.Equal(t, "cpu", c.Device().String())
	assert.Equal(t, m.Fingerprint(), c.Fingerprint())
	e, err := m.Embed(context.Background(), picture())
	require.NoError(t, err)
	for _, p := range prompts(lowRes(t, m, e))[:3] {
		want, err := m.Predict(context.Background(), e, p, sam.PredictOptions{})
		require.NoError(t, err)
		got, err := c.Predict(context.Background(), e, p, sam.PredictOptions{})
		require.NoError(t, err)
		equalPrediction(t, want, got)
	}
}

func TestOnFaults(t *testing.T) {
	m := tinyModel(t, 1)
	for _, tt := range []struct {
		device string
		p      sam.Precision
		says   string
	}{
		{sam.CPU, sam.BF16, "sam: on cpu in bf16: cuda: not available: the CPU computes in fp32, int8 and fp16weights"},
		{"gpu", sam.FP32, "no such name, want cpu, auto or cuda:0"},
		{"cuda:x", sam.FP32, "no such name"},
		{"cuda:-1", sam.FP32, "no such name"},
		{"cuda:99", sam.FP32, "cuda: not available"},
		{"", sam.TF32, "sam: on  in tf32"},
	} {
		t.Run(tt.device, func(t *testing.T) {
			c, err := m.On(tt.device, tt.p)
			require.ErrorIs(t, err, sam.ErrNoDevice)
			assert.ErrorContains(t, err, tt.says)
			assert.Nil(t, c)
		})
	}
}

// Auto never fails in FP32, and says what it has chosen and why.
func TestAuto(t *testing.T) {
	ds, err := sam.Devices()
	require.NotEmpty(t, ds)
	assert.Equal(t, sam.Device{Name: sam.CPU}, ds[0])
	c, onErr := tinyModel(t, 1).On(sam.Auto, sam.FP32)
	require.NoError(t, onErr)
	if err != nil {
		require.ErrorIs(t, err, sam.ErrNoDevice)
		assert.Len(t, ds, 1)
		assert.Equal(t, sam.Device{Name: sam.CPU, Why: err.Error()}, c.Device())
		assert.Contains(t, c.Device().String(), "cpu (cuda: not available: ")
		_, err = tinyModel(t, 1).On(sam.Auto, sam.TF32)
		assert.ErrorIs(t, err, sam.ErrNoDevice)
		return
	}
	assert.Equal(t, ds[1], c.Device())
}

// A build without the tag gpu is pure Go: no package outside the standard
// library uses cgo, and none is of gorgonia.org/cu.
func TestNoCgoWithoutTag(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}} {{len .CgoFiles}}{{end}}", "./...").Output()
	if err != nil {
		t.Skip("no go command: ", err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		path, files, _ := strings.Cut(line, " ")
		if path == "" {
			continue
		}
		assert.Equal(t, "0", files, "%s uses cgo", path)
		assert.False(t, strings.HasPrefix(path, "gorgonia.org/cu"), path)
	}
}
