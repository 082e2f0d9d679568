package train

import (
	"maps"
	"slices"
	"strings"

	"github.com/slidesam/sam/weights"
)

// Apart returns the checkpoint from with trained tensors in place of its own
// and the adapters beside the weights that they adapt, which stay as they were,
// in micro-sam's names.
func Apart(from *weights.Checkpoint, tensors, adapters map[string]weights.TensorData) (*weights.Checkpoint, error) {
	all := maps.Clone(adapters)
	for _, name := range from.Names() {
		t, err := from.Tensor(name)
		if err != nil {
			return nil, err
		}
		d, tuned := tensors[name]
		at, qkv, isQKV := strings.Cut(name, ".attn.qkv.")
		_, adapted := adapters[at+".attn.qkv.w_a_linear_q.weight"]
		if !tuned || isQKV {
			v, err := t.Float32s()
			if err != nil {
				return nil, err
			}
			d = weights.TensorData{Shape: t.Shape, Data: slices.Clone(v)}
			t.Release()
		}
		if isQKV && adapted {
			name = at + ".attn.qkv.qkv_proj." + qkv
		}
		all[name] = d
	}
	return weights.FromTensors(all), nil
}
