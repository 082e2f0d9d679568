package golden_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"testing"

	"github.com/sbinet/npyio/npz"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/golden"
)

func crcFloats(x []float32) uint32 {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return crc32.ChecksumIEEE(b)
}

// counterFile is the description of counter.npz.
type counterFile struct {
	What  string
	Cases []struct {
		Kind string
		Size golden.Size
		Seed uint64
		CRC  uint32
	}
	Weights []struct {
		Name  string
		Shape []int
		Seed  uint64
		CRC   uint32
	}
}

func TestCounterBasedPictures(t *testing.T) {
	f, err := golden.Load("counter")
	require.NoError(t, err)
	var meta counterFile
	require.NoError(t, f.Meta(&meta))
	require.NotEmpty(t, meta.Cases)
	for _, c := range meta.Cases {
		t.Run(fmt.Sprintf("%s/%dx%d/%d", c.Kind, c.Size.H, c.Size.W, c.Seed), func(t *testing.T) {
			switch c.Kind {
			case "picture":
				assert.Equal(t, c.CRC, crc32.ChecksumIEEE(golden.PictureRGB(c.Size, c.Seed)))
			case "noise":
				assert.Equal(t, c.CRC, crc32.ChecksumIEEE(golden.NoiseRGB(c.Size, c.Seed)))
			case "mask":
				assert.Equal(t, c.CRC, crcFloats(golden.MaskLogits(c.Size, c.Seed)))
			default:
				t.Fatalf("unknown kind %q", c.Kind)
			}
		})
	}
	u, err := f.Float32s("uniform")
	require.NoError(t, err)
	assert.Equal(t, u.Data, golden.Uniform(64, 7))
}

func TestPictureIsOpaqueRGB(t *testing.T) {
	s := golden.Size{H: 3, W: 5}
	rgb := golden.PictureRGB(s, 9)
	m := golden.Picture(s, 9)
	require.Equal(t, 5, m.Bounds().Dx())
	require.Equal(t, 3, m.Bounds().Dy())
	c := m.NRGBAAt(4, 2)
	assert.Equal(t, rgb[(2*5+4)*3:][:3], []uint8{c.R, c.G, c.B})
	assert.EqualValues(t, 255, c.A)
}

func TestResizes(t *testing.T) {
	cases, err := golden.Resizes()
	require.NoError(t, err)
	require.Greater(t, len(cases), 30)
	for _, c := range cases {
		require.Equal(t, []int{c.Dst.H, c.Dst.W, 3}, c.Out.Shape)
		in := c.Input()
		require.Len(t, in, c.Src.H*c.Src.W*3)
		if c.Src != c.Dst {
			continue
		}
		// A resize to the same size is a copy.
		got, err := c.Out.Pick(in)
		require.NoError(t, err)
		assert.Equal(t, c.Out.Data, got, "%v", c.Src)
		assert.Equal(t, c.CRC, crc32.ChecksumIEEE(in))
	}
}

func TestInterpolations(t *testing.T) {
	one, two, err := golden.Interpolations()
	require.NoError(t, err)
	require.NotEmpty(t, one)
	require.NotEmpty(t, two)
	for _, c := range one {
		if c.Src != c.Dst {
			continue
		}
		assert.Equal(t, c.Out.Data, c.Input())
	}
	for _, c := range two {
		require.Equal(t, []int{1, c.Picture.H, c.Picture.W}, c.Out.Shape)
		require.Equal(t, 1, c.Mask.N)
		require.Len(t, c.Input(), c.Low*c.Low)
		if c.Out.Stride > 1 || c.Mask.RowStep > 1 {
			continue
		}
		above := make([]bool, len(c.Out.Data))
		area := 0
		for i, v := range c.Out.Data {
			if above[i] = v > 0; above[i] {
				area++
			}
		}
		differ, compared, err := c.Mask.Diff(0, above)
		require.NoError(t, err)
		assert.Zero(t, differ)
		assert.Equal(t, len(above), compared)
		assert.Equal(t, c.Area, area)
	}
}

func TestRLEs(t *testing.T) {
	cases, err := golden.RLEs()
	require.NoError(t, err)
	for _, c := range cases {
		m := c.Mask()
		area := 0
		for _, v := range m {
			if v {
				area++
			}
		}
		assert.Equal(t, c.Area, area, "%s %v", c.Kind, c.Size)
		if c.Counts == nil {
			continue
		}
		// Runs of a column-major scan, the first one of zeros.
		require.Len(t, c.Counts, c.Runs)
		k := 0
		for i, n := range c.Counts {
			for ; n > 0; n-- {
				require.Equal(t, i%2 == 1, m[k%c.Size.H*c.Size.W+k/c.Size.H], "%s %v pixel %d", c.Kind, c.Size, k)
				k++
			}
		}
		assert.Equal(t, len(m), k)
	}
}

func TestFilesAreSmallAndCurrent(t *testing.T) {
	names := golden.List()
	require.NotEmpty(t, names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			f, err := golden.Load(name)
			require.NoError(t, err)
			assert.Less(t, f.Bytesize(), 256<<10)
			assert.True(t, f.Has("meta"))
		})
	}
}

func TestErrors(t *testing.T) {
	_, err := golden.Load("absent")
	require.Error(t, err)
	assert.Contains(t, err.Error(), "golden: load absent")
	assert.Contains(t, err.Error(), "internal/golden/reference/make.py")

	f, err := golden.Load("counter")
	require.NoError(t, err)
	_, err = f.Float32s("absent")
	assert.ErrorContains(t, err, "golden: read counter: absent: no such array, have index meta uniform version")
	_, err = f.Bytes("uniform") // a float32 array
	assert.ErrorContains(t, err, "golden: read counter: uniform")
	_, err = f.Masks("uniform")
	assert.Error(t, err)
	assert.ErrorContains(t, f.Meta(new(struct{ What string })), "unknown field")

	u, err := f.Float32s("uniform")
	require.NoError(t, err)
	_, err = u.Pick(make([]float32, 63))
	assert.ErrorContains(t, err, "63 elements, want 64")
}

func TestOtherVersion(t *testing.T) {
	for _, tt := range []struct {
		name    string
		version []int64
		want    string
	}{
		{"newer", []int64{golden.Version + 1}, fmt.Sprintf("golden: load small_a: version [%d], want %d; rebuild it with internal/golden/reference/make.py (see the README there), job \"small\"", golden.Version+1, golden.Version)},
		{"none", nil, "version: no such array"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			w := npz.NewWriter(&b)
			if tt.version != nil {
				require.NoError(t, w.Write("version.npy", tt.version))
			}
			require.NoError(t, w.Write("other.npy", []float32{1}))
			require.NoError(t, w.Close())
			_, err := golden.Open("small_a", b.Bytes())
			assert.ErrorContains(t, err, tt.want)
		})
	}
	_, err := golden.Open("small_a", []byte("not a zip"))
	assert.ErrorContains(t, err, "golden: load small_a: ")
}

func Example() {
	f, err := golden.Load("counter")
	if err != nil {
		panic(err)
	}
	u, err := f.Float32s("uniform")
	if err != nil {
		panic(err)
	}
	got, err := u.Pick(golden.Uniform(64, 7))
	if err != nil {
		panic(err)
	}
	fmt.Println(u.Shape, got[0] == u.Data[0])
	// Output: [64] true
}

func ExamplePictureRGB() {
	fmt.Println(golden.PictureRGB(golden.Size{H: 1, W: 2}, 1))
	// Output: [109 34 148 113 43 149]
}
