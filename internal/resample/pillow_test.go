package resample_test

import (
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/resample"
)

// picture returns a counter-based picture.
func picture(s resample.Size) resample.RGB {
	return resample.RGB{Size: s, Pix: golden.PictureRGB(golden.Size(s), 7)}
}

func TestBilinearHasPillowsBits(t *testing.T) {
	cases, err := golden.Resizes()
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s %v to %v", c.Kind, c.Src, c.Dst), func(t *testing.T) {
			in := resample.RGB{Size: resample.Size(c.Src), Pix: c.Input()}
			got, err := resample.Bilinear(nil, in, resample.Size(c.Dst))
			require.NoError(t, err)
			stored, err := c.Out.Pick(got)
			require.NoError(t, err)
			assert.Equal(t, c.Out.Data, stored)
			assert.Equal(t, c.CRC, crc32.ChecksumIEEE(got))
		})
	}
}

func TestBilinearReusesDst(t *testing.T) {
	in, out := picture(resample.Size{H: 9, W: 14}), resample.Size{H: 5, W: 6}
	want, err := resample.Bilinear(nil, in, out)
	require.NoError(t, err)
	dst := make([]byte, 1000)
	got, err := resample.Bilinear(dst, in, out)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Same(t, &dst[0], &got[0])
}

func TestBilinearRefusesBadSizes(t *testing.T) {
	ok := resample.Size{H: 2, W: 2}
	for _, tt := range []struct {
		name string
		in   resample.RGB
		out  resample.Size
	}{
		{"empty picture", resample.RGB{}, ok},
		{"negative side", resample.RGB{Size: resample.Size{H: -1, W: 3}}, ok},
		{"empty result", picture(ok), resample.Size{H: 0, W: 3}},
		{"huge result", picture(ok), resample.Size{H: 1 << 40, W: 1 << 40}},
		{"pixels missing", resample.RGB{Size: ok, Pix: make([]byte, 11)}, ok},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := resample.Bilinear(nil, tt.in, tt.out)
			assert.ErrorIs(t, err, resample.ErrSize)
		})
	}
}

func TestBilinearProperties(t *testing.T) {
	sizes := rapid.Custom(func(t *rapid.T) resample.Size {
		return resample.Size{H: rapid.IntRange(1, 80).Draw(t, "h"), W: rapid.IntRange(1, 80).Draw(t, "w")}
	})
	t.Run("constant stays constant", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			in, out, v := sizes.Draw(t, "in"), sizes.Draw(t, "out"), rapid.Byte().Draw(t, "value")
			p := resample.RGB{Size: in, Pix: make([]byte, in.H*in.W*3)}
			for i := range p.Pix {
				p.Pix[i] = v
			}
			got, err := resample.Bilinear(nil, p, out)
			require.NoError(t, err)
			for i, g := range got {
				if g != v {
					t.Fatalf("byte %d: %d, want %d", i, g, v)
				}
			}
		})
	})
	t.Run("channels do not mix", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			in, out := sizes.Draw(t, "in"), sizes.Draw(t, "out")
			p := picture(in)
			want, err := resample.Bilinear(nil, p, out)
			require.NoError(t, err)
			turned := resample.RGB{Size: in, Pix: make([]byte, len(p.Pix))}
			for i := 0; i < len(p.Pix); i += 3 {
				turned.Pix[i], turned.Pix[i+1], turned.Pix[i+2] = p.Pix[i+1], p.Pix[i+2], p.Pix[i]
			}
			got, err := resample.Bilinear(nil, turned, out)
			require.NoError(t, err)
			for i := 0; i < len(got); i += 3 {
				if got[i] != want[i+1] || got[i+1] != want[i+2] || got[i+2] != want[i] {
					t.Fatalf("pixel %d: %v, want %v turned", i/3, got[i:i+3], want[i:i+3])
				}
			}
		})
	})
}

func TestLongestSide(t *testing.T) {
	for _, tt := range []struct {
		in, want resample.Size
		long     int
	}{
		{resample.Size{H: 480, W: 640}, resample.Size{H: 768, W: 1024}, 1024},
		{resample.Size{H: 300, W: 500}, resample.Size{H: 614, W: 1024}, 1024},
		{resample.Size{H: 1000, W: 1000}, resample.Size{H: 1024, W: 1024}, 1024},
		{resample.Size{H: 1484, W: 1380}, resample.Size{H: 1024, W: 952}, 1024},
		{resample.Size{H: 1, W: 1}, resample.Size{H: 64, W: 64}, 64},
		{resample.Size{H: 1, W: 3000}, resample.Size{H: 1, W: 1024}, 1024}, // the original rounds to 0 and fails
		{resample.Size{H: 3, W: 2048}, resample.Size{H: 2, W: 1024}, 1024}, // 1.5 rounds up
	} {
		assert.Equal(t, tt.want, resample.LongestSide(tt.in, tt.long), "%v", tt.in)
	}
}

func BenchmarkBilinear(b *testing.B) {
	for _, tt := range []struct{ in, out resample.Size }{
		{resample.Size{H: 1000, W: 1000}, resample.Size{H: 1024, W: 1024}},
		{resample.Size{H: 2967, W: 2220}, resample.Size{H: 1024, W: 766}},
		{resample.Size{H: 8192, W: 8192}, resample.Size{H: 1024, W: 1024}},
	} {
		b.Run(fmt.Sprintf("%v_to_%v", tt.in, tt.out), func(b *testing.B) {
			p, dst := picture(tt.in), make([]byte, tt.out.H*tt.out.W*3)
			b.SetBytes(int64(len(p.Pix)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := resample.Bilinear(dst, p, tt.out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleBilinear() {
	in := resample.RGB{Size: resample.Size{H: 1, W: 3}, Pix: []byte{0, 0, 0, 90, 90, 90, 255, 255, 255}}
	out, err := resample.Bilinear(nil, in, resample.Size{H: 1, W: 2})
	fmt.Println(out, err)
	// Output: [34 34 34 193 193 193] <nil>
}

func ExampleLongestSide() {
	fmt.Println(resample.LongestSide(resample.Size{H: 1484, W: 1380}, 1024))
	// Output: 1024x952
}
