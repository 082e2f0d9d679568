package weights_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

func TestOpenDecoder(t *testing.T) {
	const own = "base.block.1.weight out_conv.weight"
	prefix := func(p, names string) string { return p + strings.ReplaceAll(names, " ", " "+p) }
	for _, tt := range []struct{ name, in, want, err string }{
		{"its own file", own + " epoch", own, ""},
		{"beside a model", prefix("decoder_state.", own) + " model_state.sam.image_encoder.a model_state.sam.mask_decoder.b", own, ""},
		{"of a training", prefix("model_state.", own) + " model_state.encoder.neck.0.weight optimizer_state.a", own + " image_encoder.neck.0.weight", ""},
		{"a model alone", "image_encoder.a mask_decoder.b", "", "no instance decoder"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.safetensors")
			require.NoError(t, weights.FromTensors(named(tt.in)).Save(t.Context(), path, weights.ConvertOptions{}))
			c, err := weights.OpenDecoder(path)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				require.ErrorIs(t, err, weights.ErrFormat)
				return
			}
			require.NoError(t, err)
			defer func() { assert.NoError(t, c.Close()) }()
			assert.ElementsMatch(t, strings.Fields(tt.want), c.Names())
		})
	}
	_, err := weights.OpenDecoder("testdata/original.pth")
	assert.ErrorContains(t, err, "no instance decoder")
}
