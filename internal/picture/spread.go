package picture

import "github.com/slidesam/sam/internal/resample"

// Spread brings the values of each channel of p to 0 to 255, in place, and
// returns it.
//
// Source: util.py, _to_image (micro-sam 3acdcd72), in float32 and rounded down
// as there.
func Spread(p resample.RGB) resample.RGB {
	for c := range 3 {
		least, most := byte(255), byte(0)
		for i := c; i < len(p.Pix); i += 3 {
			least, most = min(least, p.Pix[i]), max(most, p.Pix[i])
		}
		var table [256]byte
		span := float32(most-least) + 1e-7
		for v := int(least); v <= int(most); v++ {
			table[v] = byte(float32(float32(byte(v)-least)/span) * 255)
		}
		for i := c; i < len(p.Pix); i += 3 {
			p.Pix[i] = table[p.Pix[i]]
		}
	}
	return p
}
