package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// Fingerprint returns a hash of the names, shapes and float32 values of all
// tensors. It is the same for the same weights in every layout and file format
// that keeps float32, and on every machine; it is not cryptographic. Tensors
// that Bind ignores are left out.
//
// Every value is read, so that weights that Float32s refuses are an error.
// Pages of a mapped file are given back as it goes. The result is not kept.
func (c *Checkpoint) Fingerprint() ([16]byte, error) {
	sum := newHasher()
	for _, name := range c.names {
		if harmless[name] {
			continue
		}
		t := c.tensors[name]
		x, err := t.values()
		if err != nil {
			return [16]byte{}, fmt.Errorf("weights: fingerprint: %w", err)
		}
		h := newHasher()
		err = guarded(func() error {
			h.floats(x)
			return nil
		})
		t.Release()
		if err != nil {
			return [16]byte{}, fmt.Errorf("weights: fingerprint: read %s: %w", name, err)
		}
		for i := range len(name) {
			h.word(uint64(name[i]))
		}
		h.word(uint64(len(t.Shape)))
		for _, d := range t.Shape {
			h.word(uint64(d))
		}
		lo, hi := h.sum()
		sum.word(lo)
		sum.word(hi)
	}
	lo, hi := sum.sum()
	var out [16]byte
	binary.BigEndian.PutUint64(out[:8], hi)
	binary.BigEndian.PutUint64(out[8:], lo)
	return out, nil
}

// hasher is a hash of 64-bit words in four lanes, each a chain of the rounds
// of xxHash64 (Collet), which lose nothing of what went before.
type hasher struct {
	lane [4]uint64
	n    uint64 // words so far
}

const (
	prime1 = 0x9E3779B185EBCA87
	prime2 = 0xC2B2AE3D27D4EB4F
	prime3 = 0x165667B19E3779F9
)

func newHasher() *hasher {
	return &hasher{lane: [4]uint64{prime1, prime2, prime3, prime1 ^ prime2}}
}

func round(acc, w uint64) uint64 { return bits.RotateLeft64(acc+w*prime2, 31) * prime1 }

func (h *hasher) word(w uint64) {
	h.lane[h.n&3] = round(h.lane[h.n&3], w)
	h.n++
}

// floats adds the bits of x, two values to a word. It must come first.
func (h *hasher) floats(x []float32) {
	n := len(x)
	a, b, c, d := h.lane[0], h.lane[1], h.lane[2], h.lane[3]
	pair := func(lo, hi float32) uint64 {
		return uint64(math.Float32bits(lo)) | uint64(math.Float32bits(hi))<<32
	}
	for len(x) >= 8 {
		q := x[:8:8]
		a = round(a, pair(q[0], q[1]))
		b = round(b, pair(q[2], q[3]))
		c = round(c, pair(q[4], q[5]))
		d = round(d, pair(q[6], q[7]))
		x = x[8:]
	}
	h.lane = [4]uint64{a, b, c, d}
	for _, v := range x {
		h.word(uint64(math.Float32bits(v)))
	}
	h.word(uint64(n))
}

// sum returns 128 bits that depend on every bit of the four lanes.
func (h *hasher) sum() (lo, hi uint64) {
	lo, hi = h.n*prime3, h.n*prime1+prime2
	for i, l := range h.lane {
		lo = splitmix64(lo ^ l)
		hi = splitmix64(hi + bits.RotateLeft64(l, 17*i+9))
	}
	return splitmix64(lo ^ hi), splitmix64(hi + bits.RotateLeft64(lo, 32))
}
