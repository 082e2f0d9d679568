package kernel

// Unpack sets dst [n, k] to the weight whose packed form, from Pack and Data
// in this process, is data.
func Unpack(dst, data []float32, n, k int) {
	p := PackedOf(data, n, k)
	p.unpack(dst)
}

func (p *Packed) unpack(dst []float32) {
	im, n, k := p.im, p.N, p.K
	need("unpack: dst", len(dst), n*k)
	for k0 := 0; k0 < k; k0 += p.kc {
		kc := min(p.kc, k-k0)
		for j := 0; j < n; j += im.nr {
			w := im.panelWidth(n - j)
			im.transpose(dst[j*k+k0:], k, p.panel(k0, kc, j, w), w, kc, min(w, n-j))
		}
	}
}
