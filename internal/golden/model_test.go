package golden_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/tensortest"
	"github.com/slidesam/sam/weights"
)

// modelNames returns the names of all reference models.
func modelNames() []string {
	var names []string
	for _, n := range golden.List() {
		if strings.HasPrefix(n, "small_") || strings.HasPrefix(n, "full_") {
			names = append(names, n)
		}
	}
	return names
}

func TestModels(t *testing.T) {
	names := modelNames()
	require.NotEmpty(t, names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			m, err := golden.LoadModel(name)
			require.NoError(t, err)
			assert.Equal(t, name, m.Name)
			c, grid := m.Config, m.Config.Grid()
			pe, err := m.DensePE()
			require.NoError(t, err)
			assert.Equal(t, []int{c.Prompt, grid, grid}, pe.Shape)
			require.NotEmpty(t, m.Pictures)
			for k, p := range m.Pictures {
				assert.Equal(t, c.ImgSize, max(p.Input.H, p.Input.W))
				stages := map[string][]int{"embedding": {c.Prompt, grid, grid}}
				if k == 0 {
					stages["patch"] = []int{grid, grid, c.Width}
					if len(c.Globals) > 0 {
						stages["global_block"] = stages["patch"]
					}
					if len(c.Globals) < c.Depth {
						stages["window_block"] = stages["patch"]
					}
				}
				for stage, shape := range stages {
					require.True(t, p.Has(stage), stage)
					s, err := p.Stage(stage)
					require.NoError(t, err)
					assert.Equal(t, shape, s.Shape)
				}
				for _, q := range p.Prompts {
					t.Run(fmt.Sprintf("%dx%d/%s", p.Size.H, p.Size.W, q.Name), func(t *testing.T) {
						checkPrompt(t, c, p, q, k == 0)
					})
				}
			}
		})
	}
}

// checkPrompt checks the shapes of all stages of a prompt, and that masks,
// logits and areas agree.
func checkPrompt(t *testing.T, c golden.Config, p *golden.Run, q *golden.Prompt, all bool) {
	grid := c.Grid()
	stages := map[string][]int{"lowres": {4, 4 * grid, 4 * grid}, "iou": {4}, "logits": {4, p.Size.H, p.Size.W}}
	if all {
		n := len(q.Points)
		if q.Box != nil {
			n += 2
		} else if n > 0 {
			n++ // the padding point
		}
		stages["sparse"] = []int{n, c.Prompt}
		stages["tokens"] = []int{5 + n, c.Prompt}
		stages["image_tokens"] = []int{grid * grid, c.Prompt}
		stages["upscaled"] = []int{c.Prompt / 8, 4 * grid, 4 * grid}
		if q.MaskSeed != nil || q.Feed != "" {
			stages["dense"] = []int{c.Prompt, grid, grid}
		}
	}
	for stage, shape := range stages {
		s, err := q.Stage(stage)
		require.NoError(t, err)
		assert.Equal(t, shape, s.Shape, stage)
	}
	m, err := q.Masks()
	require.NoError(t, err)
	assert.Equal(t, []int{4, p.Size.H, p.Size.W}, []int{m.N, m.H, m.W})
	logits, err := q.Stage("logits")
	require.NoError(t, err)
	for i := range 4 {
		stored := m.Stored(i)
		area := 0
		for _, v := range stored {
			if v {
				area++
			}
		}
		if m.RowStep == 1 {
			assert.Equal(t, q.Area[i], area)
		}
	}
	for k, v := range logits.Data {
		at := k * logits.Stride
		i, y, x := at/(m.H*m.W), at/m.W%m.H, at%m.W
		if y%m.RowStep == 0 {
			assert.Equal(t, v > 0, m.Stored(i)[y/m.RowStep*m.W+x])
		}
	}
}

func TestHuggingFace(t *testing.T) {
	m, err := golden.LoadModel("hf_small")
	require.NoError(t, err)
	assert.Contains(t, m.What, "SamModel")
	assert.NotEmpty(t, m.Differences)
	for _, p := range m.Pictures {
		own, err := p.Stage("embedding")
		require.NoError(t, err)
		shipped, err := p.Stage("shipped_embedding")
		require.NoError(t, err)
		// One grey level here and there, by another resize.
		assert.Less(t, tensortest.RelL2(own.Data, shipped.Data), 2e-3)
		for _, q := range p.Prompts {
			t.Run(fmt.Sprintf("%dx%d/%s", p.Size.H, p.Size.W, q.Name), func(t *testing.T) {
				checkPrompt(t, m.Config, p, q, false)
				for _, stage := range []string{"lowres", "iou"} {
					own, err := q.Stage(stage)
					require.NoError(t, err)
					shipped, err := q.Stage("shipped_" + stage)
					require.NoError(t, err)
					assert.Less(t, tensortest.RelL2(own.Data, shipped.Data), 5e-3, stage)
				}
				masks, err := q.ShippedMasks()
				require.NoError(t, err)
				assert.Equal(t, 4, masks.N)
			})
		}
	}
	// The checkpoint opens in Hugging Face's layout.
	data, err := golden.HFCheckpoint()
	require.NoError(t, err)
	assert.Less(t, len(data), 256<<10)
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	c, err := weights.Open(path)
	require.NoError(t, err)
	defer c.Close()
	assert.Equal(t, weights.HuggingFace, c.Layout())
	// Its weights are the counter-based ones of the model's seed.
	for _, name := range c.Names() {
		shape, ok := c.Shape(name)
		require.True(t, ok)
		got, err := c.Tensor(name)
		require.NoError(t, err)
		want, err := weights.Random([]weights.Spec{{Name: name, Shape: shape}}, m.Seed).Tensor(name)
		require.NoError(t, err)
		g, err := got.Float32s()
		require.NoError(t, err)
		w, err := want.Float32s()
		require.NoError(t, err)
		assert.Equal(t, w, g, name)
	}
}

func TestCasesCoverTheParity(t *testing.T) {
	mixes := map[string]bool{}
	var up, down, same, landscape, portrait, tiny, wide bool
	for _, name := range modelNames() {
		m, err := golden.LoadModel(name)
		require.NoError(t, err)
		for _, p := range m.Pictures {
			in, s := max(p.Input.H, p.Input.W), max(p.Size.H, p.Size.W)
			up, down, same = up || in > s, down || in < s, same || in == s
			landscape, portrait = landscape || p.Size.W > p.Size.H, portrait || p.Size.W < p.Size.H
			tiny, wide = tiny || s == 1, wide || p.Size.H == 1 && s > 1
			for _, q := range p.Prompts {
				mixes[fmt.Sprintf("points=%t box=%t mask=%t", len(q.Points) > 0, q.Box != nil, q.MaskSeed != nil || q.Feed != "")] = true
			}
		}
	}
	assert.Len(t, mixes, 8) // every mix of points, box and mask, none included
	for _, seen := range []bool{up, down, same, landscape, portrait, tiny, wide} {
		assert.True(t, seen)
	}
}

func ExampleLoadModel() {
	m, err := golden.LoadModel("small_a")
	if err != nil {
		panic(err)
	}
	p := m.Pictures[0]
	e, err := p.Stage("embedding")
	if err != nil {
		panic(err)
	}
	fmt.Println(m.Config.Width, p.Size, p.Input, e.Shape, len(p.Prompts))
	// Output: 32 {60 90} {43 64} [32 8 8] 12
}
