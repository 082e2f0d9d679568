package kernel

// PackedLen is the number of values of an [n, k] weight once it is packed.
func PackedLen(n, k int) int { return active.padded(n) * k }

// Data is the packed matrix as one array of PackedLen(N, K) values, for
// graphs that carry weights as tensors. The caller must not change it.
func (p *Packed) Data() []float32 { return p.data }

// PackedOf returns the packed matrix [n, k] over data, which came from Data
// in this process. It allocates nothing.
func PackedOf(data []float32, n, k int) Packed {
	need("packed", len(data), PackedLen(n, k))
	return Packed{N: n, K: k, im: active, width: active.padded(n), kc: blockK(k), data: data}
}
