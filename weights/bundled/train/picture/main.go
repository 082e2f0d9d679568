// Command picture draws the bundled picture and its truth with internal/synth.
//
//	go run ./weights/bundled/train/picture -out weights/bundled
package main

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"

	"github.com/slidesam/sam/internal/synth"
)

// The place: fat with a vessel, a gland, the border of a tumour, lymphocytes.
const (
	seed = 2031
	x, y = 81520, 15672
	side = 1024
	mpp  = 0.25
)

func main() {
	out := flag.String("out", ".", "folder to write to")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	img, t := synth.New(seed, synth.Options{}).Region(x, y, side, side, mpp)
	nuclei := image.NewGray16(img.Bounds())
	regions := image.NewGray(img.Bounds())
	for i := range t.Nuclei {
		nuclei.SetGray16(i%side, i/side, color.Gray16{Y: uint16(t.Nuclei[i])})
		v := uint8(t.Glands[i]) << 2
		if t.Tumour[i] {
			v |= 1
		}
		if t.Tissue[i] {
			v |= 2
		}
		regions.SetGray(i%side, i/side, color.Gray{Y: v})
	}
	if len(t.List) > 65535 || t.GlandN > 63 {
		return fmt.Errorf("%d nuclei, %d glands: too many for the files", len(t.List), t.GlandN)
	}
	enc := png.Encoder{CompressionLevel: png.BestCompression}
	for _, f := range []struct {
		name string
		enc  func(b *bytes.Buffer) error
	}{
		{"picture.jpg", func(b *bytes.Buffer) error { return jpeg.Encode(b, img, &jpeg.Options{Quality: 90}) }},
		{"nuclei.png", func(b *bytes.Buffer) error { return enc.Encode(b, nuclei) }},
		{"regions.png", func(b *bytes.Buffer) error { return enc.Encode(b, regions) }},
	} {
		var b bytes.Buffer
		if err := f.enc(&b); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.name), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("%d nuclei, %d glands\n", len(t.List), t.GlandN)
	return nil
}
