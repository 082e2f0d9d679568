package sam_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/tensortest"
	"github.com/slidesam/sam/weights"
)

// adaptersFile is the description of adapters.npz.
type adaptersFile struct {
	Config golden.Config
	Size   golden.Size
	Seed   uint64
	Point  [2]float64
	Cases  []adaptersCase
	Torch  json.RawMessage
}

type adaptersCase struct {
	Name    string
	Weights []string
	Shapes  [][]int
	// Own is which tensor each one of the file is that CellSeg1 itself saves.
	Own map[string]string
}

// adapted returns the weights of one case: factors lie around 1.
func (f *adaptersFile) adapted(t *testing.T, i int) map[string]weights.TensorData {
	t.Helper()
	var specs []weights.Spec
	for k, name := range f.Cases[i].Weights {
		specs = append(specs, weights.Spec{Name: name, Shape: f.Cases[i].Shapes[k]})
	}
	all := tensors(t, specs, f.Seed, under(""))
	for name, d := range all {
		if strings.HasSuffix(name, ".scale") || strings.HasSuffix(name, ".alpha") {
			for k, v := range d.Data {
				d.Data[k] = 1 + 2*v
			}
		}
	}
	return all
}

func adaptersReference(t *testing.T) (*golden.File, *adaptersFile) {
	t.Helper()
	f, err := golden.Load("adapters")
	require.NoError(t, err)
	var meta adaptersFile
	require.NoError(t, f.Meta(&meta))
	return f, &meta
}

// likeReference compares a model's answers with those of a case.
func likeReference(t *testing.T, f *golden.File, meta *adaptersFile, name string, m *sam.Model) {
	t.Helper()
	e, err := m.Embed(t.Context(), golden.Picture(meta.Size, meta.Seed))
	require.NoError(t, err)
	data, _ := e.Tensor()
	want, err := f.Float32s(name + "/embedding")
	require.NoError(t, err)
	got, err := want.Pick(data)
	require.NoError(t, err)
	d := tensortest.RelL2(want.Data, got)
	t.Logf("embedding: relative L2 %.1e", d)
	// As without adapters; a sum of rounded products for one of merged weights.
	assert.Less(t, d, embeddingRelL2)
	p, err := m.Predict(t.Context(), e, sam.Prompt{Points: []sam.Point{{X: meta.Point[0], Y: meta.Point[1], Label: sam.Foreground}}}, sam.PredictOptions{})
	require.NoError(t, err)
	low, err := f.Float32s(name + "/lowres")
	require.NoError(t, err)
	picked, err := low.Pick(flat(p.LowRes))
	require.NoError(t, err)
	tensortest.Close(t, low.Data, picked, logitAbs, 0)
	iou, err := f.Float32s(name + "/iou")
	require.NoError(t, err)
	tensortest.Close(t, iou.Data, p.IoUPred, logitAbs, 0)
}

// TestAdapters loads files of adapted models and compares with the code that
// trains them.
func TestAdapters(t *testing.T) {
	f, meta := adaptersReference(t)
	require.Len(t, meta.Cases, 6)
	for i, c := range meta.Cases {
		t.Run(c.Name, func(t *testing.T) {
			all := meta.adapted(t, i)
			path := saved(t, all)
			ck, err := weights.Open(path)
			require.NoError(t, err)
			want := weights.Adapters
			if c.Name == "lora" {
				want = weights.LoRA
			}
			assert.Equal(t, want, ck.Layout())
			require.NoError(t, ck.Close())
			m, err := sam.Load(path)
			require.NoError(t, err)
			e := m.Config().Encoder
			assert.Equal(t, map[string][]int{"adaptformer": {0, 1, 2}, "adaptformer_late": {1, 2}}[c.Name], e.Adapted)
			likeReference(t, f, meta, c.Name, m)
			// The converted file is the same model.
			ck, err = weights.Open(path)
			require.NoError(t, err)
			plain := t.TempDir() + "/plain.safetensors"
			require.NoError(t, ck.Save(t.Context(), plain, weights.ConvertOptions{}))
			require.NoError(t, ck.Close())
			again, err := sam.Load(plain)
			require.NoError(t, err)
			assert.Equal(t, m.Fingerprint(), again.Fingerprint())
		})
	}
}

// TestCellSeg1File merges the file that CellSeg1 itself saves into the model
// that was adapted.
func TestCellSeg1File(t *testing.T) {
	f, meta := adaptersReference(t)
	i := slices.IndexFunc(meta.Cases, func(c adaptersCase) bool { return c.Name == "cellseg1" })
	all := meta.adapted(t, i)
	own := map[string]weights.TensorData{}
	for name, from := range meta.Cases[i].Own {
		own[strings.TrimPrefix(name, "sam.")] = all[from]
	}
	require.Contains(t, own, "fati_vb")
	plain := map[string]weights.TensorData{}
	for name, d := range all {
		name = strings.NewReplacer("sam.", "", ".qkv.qkv.", ".qkv.", "_proj.proj.", "_proj.").Replace(name)
		if strings.HasPrefix(name, "mask_decoder.") && !strings.Contains(name, "transformer") {
			d.Data = make([]float32, len(d.Data)) // the file has them as they were trained
		}
		if !strings.Contains(name, ".linear_") && !strings.Contains(name, ".w_a.") && !strings.Contains(name, ".w_b.") && !strings.HasPrefix(name, "fa_ti_") {
			plain[name] = d
		}
	}
	base, err := weights.Open(saved(t, plain))
	require.NoError(t, err)
	merged, err := weights.OpenCellSeg1(base, saved(t, own), meta.Config.ImgSize)
	require.NoError(t, err)
	path := t.TempDir() + "/merged.safetensors"
	require.NoError(t, merged.Save(t.Context(), path, weights.ConvertOptions{}))
	require.NoError(t, merged.Close())
	m, err := sam.Load(path)
	require.NoError(t, err)
	likeReference(t, f, meta, "cellseg1", m)

	// For smaller pictures it is another model, which works.
	merged, err = weights.OpenCellSeg1(base, saved(t, own), 48)
	require.NoError(t, err)
	require.NoError(t, merged.Save(t.Context(), path, weights.ConvertOptions{}))
	require.NoError(t, merged.Close())
	require.NoError(t, base.Close())
	m, err = sam.Load(path)
	require.NoError(t, err)
	assert.Equal(t, 48, m.Config().Encoder.ImageSize)
	_, err = m.Embed(t.Context(), picture())
	require.NoError(t, err)
}
