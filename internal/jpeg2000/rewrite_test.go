package jpeg2000_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/jpeg2000"
)

// What OpenJPEG does not write is made of what it does.

// TestOverlap: packets that two progressions name come once, with the first.
func TestOverlap(t *testing.T) {
	n := 0
	for _, c := range readCases(t, filepath.Join("testdata", "small")) {
		b, err := os.ReadFile(filepath.Join("testdata", "small", c.Name+".j2k"))
		require.NoError(t, err)
		if !bytes.Contains(c.Params, []byte(`"poc"`)) {
			continue
		}
		poc := bytes.Index(b, []byte{0xff, 0x5f})
		n++
		want, err := jpeg2000.Decode(b, jpeg2000.Options{})
		require.NoError(t, err)
		second := poc + 4 + 7
		require.Positive(t, b[second], "the first resolution of the second progression")
		b[second] = 0
		got, err := jpeg2000.Decode(b, jpeg2000.Options{})
		require.NoError(t, err, c.Name)
		assert.True(t, assert.ObjectsAreEqual(want, got), c.Name)
	}
	assert.Positive(t, n)
}

// packets splits the packets of a tile-part, which have markers before them and
// after their headers.
func packets(t *testing.T, b []byte) (heads, bodies [][]byte) {
	for len(b) > 0 {
		require.Equal(t, []byte{0xff, 0x91, 0, 4}, b[:4])
		end := len(b)
		if i := bytes.Index(b[6:], []byte{0xff, 0x91, 0, 4}); i >= 0 {
			end = 6 + i
		}
		eph := bytes.Index(b[:end], []byte{0xff, 0x92})
		require.Positive(t, eph)
		heads = append(heads, b[6:eph+2])
		bodies = append(bodies, append(bytes.Clone(b[:6]), b[eph+2:end]...))
		b = b[end:]
	}
	return heads, bodies
}

// TestPackedHeaders: packet headers apart from the packets, in the main header or
// in that of the tile-part, in one segment or cut into several.
func TestPackedHeaders(t *testing.T) {
	n := 0
	for _, c := range readCases(t, filepath.Join("testdata", "small")) {
		b, err := os.ReadFile(filepath.Join("testdata", "small", c.Name+".j2k"))
		require.NoError(t, err)
		if bytes.Count(b, []byte{0xff, 0x90, 0, 10}) != 1 || !bytes.Contains(b, []byte{0xff, 0x91, 0, 4}) || !bytes.Contains(b, []byte{0xff, 0x92}) {
			continue
		}
		n++
		want, err := jpeg2000.Decode(b, jpeg2000.Options{})
		require.NoError(t, err)
		sot, from := tilePart(t, b)
		heads, bodies := packets(t, b[from:len(b)-2])
		all, body := bytes.Join(heads, nil), bytes.Join(bodies, nil)
		segment := func(m byte, i int, v []byte) []byte {
			return append(append([]byte{0xff, m}, byte((len(v)+3)>>8), byte(len(v)+3), byte(i)), v...)
		}
		cut := func(m byte, v []byte) []byte {
			k := len(v) / 3
			return append(append(segment(m, 0, v[:k]), segment(m, 1, v[k:k])...), segment(m, 2, v[k:])...)
		}
		length := func(v []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(v))), v...) }
		for name, file := range map[string][2][]byte{ // main header, that of the tile-part
			"tile-part": {nil, segment(0x61, 0, all)}, "tile-part, cut": {nil, cut(0x61, all)},
			"main": {segment(0x60, 0, length(all)), nil}, "main, cut": {cut(0x60, length(all)), nil},
		} {
			out := append(bytes.Clone(b[:sot]), file[0]...)
			at := len(out)
			out = append(append(out, b[sot:from-2]...), file[1]...)
			out = append(append(out, 0xff, 0x93), body...)
			binary.BigEndian.PutUint32(out[at+6:], uint32(len(out)-at))
			out = append(out, 0xff, 0xd9)
			got, err := jpeg2000.Decode(out, jpeg2000.Options{})
			require.NoError(t, err, "%s %s", c.Name, name)
			assert.True(t, assert.ObjectsAreEqual(want, got), "%s %s", c.Name, name)
		}
	}
	assert.Positive(t, n)
}

// TestSubsampled: samples of coarser components are repeated. The components of
// the codestreams get no sign.
func TestSubsampled(t *testing.T) {
	n := 0
	for _, c := range readCases(t, filepath.Join("testdata", "small")) {
		b, err := os.ReadFile(filepath.Join("testdata", "small", c.Name+".j2k"))
		require.NoError(t, err)
		head, err := jpeg2000.ReadHeader(b)
		require.NoError(t, err)
		if c.Bits != 8 || len(head.Components) < 3 || head.Components[1].DX == 1 || !bytes.Equal(b[16:24], make([]byte, 8)) {
			continue
		}
		n++
		for i := range head.Components {
			b[42+3*i] &= 0x7f
		}
		p, err := jpeg2000.Decode(b, jpeg2000.Options{})
		require.NoError(t, err)
		pix, w, h, err := jpeg2000.DecodeRGBA(b, jpeg2000.Options{})
		require.NoError(t, err)
		require.Equal(t, [2]int{c.W, c.H}, [2]int{w, h})
		for i := range w * h {
			for k := range 3 {
				q := p.Planes[k]
				require.Equal(t, q.Pix[i/w/q.DY*q.W+i%w/q.DX], int32(pix[4*i+k]), "%s (%d, %d) %d", c.Name, i%w, i/w, k)
			}
		}
	}
	assert.Greater(t, n, 1)
}

// TestComponentStyles: what is said of one component beats what is said of all,
// wherever it stands.
func TestComponentStyles(t *testing.T) {
	b := products()
	want, err := jpeg2000.Decode(b, jpeg2000.Options{})
	require.NoError(t, err)
	sot, _ := tilePart(t, b)
	cod, qcd := bytes.Index(b, []byte{0xff, 0x52}), bytes.Index(b, []byte{0xff, 0x5c})
	codN, qcdN := int(b[cod+3]), int(b[qcd+3])
	var own []byte
	for c := range byte(3) {
		own = append(own, 0xff, 0x53, 0, byte(codN-3), c, b[cod+4]&1) // COC
		own = append(own, b[cod+9:cod+2+codN]...)
		own = append(own, 0xff, 0x5d, 0, byte(qcdN+1), c) // QCC
		own = append(own, b[qcd+4:qcd+2+qcdN]...)
	}
	b[cod+12] ^= 2     // contexts are reset
	b[qcd+4] ^= 1 << 5 // a guard bit
	wrong, err := jpeg2000.Decode(b, jpeg2000.Options{})
	assert.False(t, err == nil && assert.ObjectsAreEqual(want, wrong), "without them")
	for name, out := range map[string][]byte{
		"behind": append(append(bytes.Clone(b[:sot]), own...), b[sot:]...),
		"before": append(append(bytes.Clone(b[:cod]), own...), b[cod:]...),
	} {
		got, err := jpeg2000.Decode(out, jpeg2000.Options{})
		require.NoError(t, err, name)
		assert.True(t, assert.ObjectsAreEqual(want, got), name)
	}
	in := append(append(bytes.Clone(b[:sot+12]), own...), b[sot+12:]...) // in the tile-part
	binary.BigEndian.PutUint32(in[sot+6:], uint32(len(in)-2-sot))
	got, err := jpeg2000.Decode(in, jpeg2000.Options{})
	require.NoError(t, err)
	assert.True(t, assert.ObjectsAreEqual(want, got), "in the tile-part")
}
