package sam_test

import (
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
)

func TestOpenPicture(t *testing.T) {
	img, info, err := sam.OpenPictureWith("internal/picfile/testdata/exif_6.jpg", sam.PictureOptions{})
	require.NoError(t, err)
	assert.Equal(t, image.Rect(0, 0, 34, 45).Size(), img.Bounds().Size(), "upright")
	assert.Equal(t, sam.PictureInfo{Format: "jpeg", Orientation: 6}, info)

	deep := "internal/picfile/testdata/twelve.png"
	_, err = sam.OpenPicture(deep)
	require.ErrorIs(t, err, sam.ErrPictureFile)
	assert.ErrorContains(t, err, "-window 0,4095")
	_, info, err = sam.OpenPictureWith(deep, sam.PictureOptions{Window: "0,4095"})
	require.NoError(t, err)
	assert.Equal(t, []string{"samples from 0 to 4095 became 0 to 255"}, info.Warnings)
	_, _, err = sam.OpenPictureWith(deep, sam.PictureOptions{Window: "nonsense"})
	assert.ErrorContains(t, err, "sam: open picture: window")

	path := filepath.Join(t.TempDir(), "x.png")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, image.NewGray(image.Rect(0, 0, 20, 10))))
	require.NoError(t, f.Close())
	_, err = sam.OpenPicture(path)
	require.NoError(t, err, "an even picture is one")
	_, _, err = sam.OpenPictureWith(path, sam.PictureOptions{MaxPixels: 199})
	assert.ErrorContains(t, err, "over the limit of 199 pixels")
	_, err = sam.OpenPicture(t.TempDir())
	assert.ErrorContains(t, err, "a folder, want a file")
}
