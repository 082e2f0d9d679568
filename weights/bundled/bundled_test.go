package bundled_test

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/synth"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

func TestCheckpoint(t *testing.T) {
	c, err := bundled.Checkpoint()
	require.NoError(t, err)
	defer c.Close()
	assert.Equal(t, weights.Original, c.Layout())
	n := 0
	for _, name := range c.Names() {
		x, err := c.Tensor(name)
		require.NoError(t, err)
		v, err := x.Float32s() // names any NaN or infinity
		require.NoError(t, err, name)
		n += len(v)
	}
	assert.Less(t, n, 6_000_000)
	st, err := os.Stat("model.safetensors")
	require.NoError(t, err)
	assert.LessOrEqual(t, st.Size(), int64(12<<20))
	shape, ok := c.Shape("image_encoder.patch_embed.proj.weight")
	require.True(t, ok)
	assert.Equal(t, []int{192, 3, 16, 16}, shape)
}

// TestDecoder holds both files to their bound together.
func TestDecoder(t *testing.T) {
	c, err := bundled.Decoder()
	require.NoError(t, err)
	defer c.Close()
	for _, name := range c.Names() {
		x, err := c.Tensor(name)
		require.NoError(t, err)
		_, err = x.Float32s() // names any NaN or infinity
		require.NoError(t, err, name)
	}
	shape, ok := c.Shape("base.block.1.weight")
	require.True(t, ok)
	assert.Equal(t, 128, shape[1])
	var sum int64
	for _, name := range []string{"model.safetensors", "instances.safetensors"} {
		st, err := os.Stat(name)
		require.NoError(t, err)
		sum += st.Size()
	}
	assert.LessOrEqual(t, sum, int64(12<<20))
}

func TestTruth(t *testing.T) {
	p, o := bundled.Picture(), bundled.Truth()
	assert.Equal(t, image.Rect(0, 0, o.W, o.H), p.Bounds())
	assert.Len(t, o.Nuclei, o.W*o.H)
	seen := map[int32]int{}
	tumour, tissue := 0, 0
	for i, k := range o.Nuclei {
		seen[k]++
		if o.Tumour[i] {
			tumour++
		}
		if o.Tissue[i] {
			tissue++
		}
		if k > 0 {
			assert.True(t, o.Tissue[i])
		}
	}
	assert.Equal(t, o.N+1, len(seen))
	assert.Positive(t, o.GlandN)
	assert.Positive(t, tumour)
	assert.Greater(t, tissue, tumour)
}

// The committed files are what the generator writes. Other architectures may
// fuse multiplications with additions and differ in the last bit.
func TestRebuilds(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the files were drawn on amd64")
	}
	img, tr := synth.New(2031, synth.Options{}).Region(81520, 15672, 1024, 1024, bundled.MPP)
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}))
	want, err := os.ReadFile("picture.jpg")
	require.NoError(t, err)
	assert.True(t, bytes.Equal(want, b.Bytes()), "picture.jpg: run go generate ./weights/bundled")
	o := bundled.Truth()
	assert.Equal(t, o.Nuclei, tr.Nuclei)
	assert.Equal(t, o.Glands, tr.Glands)
	assert.Equal(t, o.Tumour, tr.Tumour)
	assert.Equal(t, o.Tissue, tr.Tissue)
}

func ExampleCheckpoint() {
	c, err := bundled.Checkpoint()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	shape, _ := c.Shape("image_encoder.pos_embed")
	fmt.Println(shape)
	// Output: [1 64 64 192]
}

func ExamplePicture() {
	fmt.Println(bundled.Picture().Bounds())
	// Output: (0,0)-(1024,1024)
}

func ExampleTruth() {
	t := bundled.Truth()
	fmt.Println(t.N, "nuclei,", t.GlandN, "glands")
	// Output: 259 nuclei, 2 glands
}
