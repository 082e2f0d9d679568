package sam

import (
	"fmt"
	"image"

	"github.com/slidesam/sam/internal/picfile"
)

// ErrPictureFile is wrapped by the error of OpenPicture about a file's content:
// no picture, damaged, over the limit, or of samples that need a window.
var ErrPictureFile = picfile.ErrFormat

// PictureOptions changes how a picture file is read.
type PictureOptions struct {
	// MaxPixels is the most pixels that are read, since a picture is decoded
	// whole; 0 means 1<<27, which takes 512 MiB. A pixel of more than four
	// bytes counts as two. What the file states is checked before memory is
	// taken. Larger ones are for [OpenSlide].
	MaxPixels int64
	// Window is the range of 16-bit samples that becomes 0 to 255: "min,max",
	// or percentiles of all samples, as in "1%,99%". "" keeps the high byte, as
	// Pillow does, and refuses pictures of 12 bits or fewer, which would be
	// black.
	Window string
}

// PictureInfo says how a picture file was read, for people to see.
type PictureInfo struct {
	Format      string   // "png", "jpeg", "tiff", "bmp" or "gif"
	Orientation int      // of EXIF or TIFF that was undone, 2 to 8; 1 for none
	Warnings    []string // what is odd and was passed over
}

// OpenPicture reads a picture file: PNG, JPEG, every TIFF that [OpenSlide]
// reads and those of faxes and masks, BMP, GIF.
//
// The picture is upright: the orientation that EXIF (of JPEG and PNG) or TIFF
// states is applied, as OpenCV does for Meta's own programs. Prompts and masks
// are in the frame of the picture that is returned. [OpenSlide] shows pictures
// as they are stored.
//
// Pixels are those of Pillow to the bit, but for fully transparent ones of GIF
// files, which are black; 16-bit TIFF files of which 0 is white, which Pillow does
// not invert; and progressive JPEG files that end without their finest
// coefficients, which libjpeg smooths.
//
// The error wraps [ErrPictureFile] if the content is at fault. Pipes and
// devices are refused.
func OpenPicture(path string) (image.Image, error) {
	img, _, err := OpenPictureWith(path, PictureOptions{})
	return img, err
}

// OpenPictureWith is OpenPicture with options, and says how the picture was
// read.
func OpenPictureWith(path string, o PictureOptions) (image.Image, PictureInfo, error) {
	in := picfile.Options{MaxPixels: o.MaxPixels}
	if o.Window != "" {
		w, err := picfile.ParseWindow(o.Window)
		if err != nil {
			return nil, PictureInfo{}, fmt.Errorf("sam: open picture: %w", err)
		}
		in.Window = w
	}
	img, info, err := picfile.Open(path, in)
	if err != nil {
		return nil, PictureInfo(info), fmt.Errorf("sam: open picture: %w", err)
	}
	return img, PictureInfo(info), nil
}
