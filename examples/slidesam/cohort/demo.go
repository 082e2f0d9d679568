package cohort

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/synth"
)

// The demonstration: twenty fields of synthetic slides, of tumour and of
// normal tissue, and two files that are no slides any more.
const (
	demoSlides = 20
	demoSide   = 320
	demoMPP    = 0.5
	demoSeed   = 4001
)

// corrupt are the demonstration's damaged files: one cut short, one of another
// kind.
var corrupt = map[int]func(b []byte) []byte{
	6:  func(b []byte) []byte { return b[:len(b)/3] },
	13: func([]byte) []byte { return []byte("this was a slide once\n") },
}

// Demo writes twenty synthetic slides, two of them corrupt, and their sheet below
// dir, and returns the sheet.
func Demo(ctx context.Context, dir string) (string, error) {
	folder := filepath.Join(dir, "demo")
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return "", err
	}
	var lines bytes.Buffer
	fmt.Fprintln(&lines, "slide,id,mpp,group,patient")
	for i := range demoSlides {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		name, group := fmt.Sprintf("slide-%02d.png", i+1), []string{"tumour", "normal"}[i%2]
		fmt.Fprintf(&lines, "%s,S%02d,%g,%s,P%02d\n", name, i+1, demoMPP, group, i/2+1)
		b, err := demoField(demoSeed+uint64(i), group == "tumour")
		if err != nil {
			return "", err
		}
		if damage := corrupt[i]; damage != nil {
			b = damage(b)
		}
		if err := writeFile(folder, name, b); err != nil {
			return "", err
		}
	}
	return filepath.Join(folder, "cohort.csv"), writeFile(folder, "cohort.csv", lines.Bytes())
}

// demoField draws a field of a synthetic slide as PNG: of places in a fixed
// order the one with the most tumour, or the least.
func demoField(seed uint64, tumour bool) ([]byte, error) {
	const coarse, view = 8, 4096 // micrometres a pixel; level-0 pixels
	s := synth.New(seed, synth.Options{Width: view, Height: view, MPP: demoMPP, Solid: true})
	side := view * demoMPP / coarse
	_, truth := s.Region(0, 0, int(side), int(side), coarse)
	n := int(demoSide * demoMPP / coarse)
	x0, y0, best := 0, 0, -1
	for y := 0; y+n <= truth.H; y += n {
		for x := 0; x+n <= truth.W; x += n {
			count := 0
			for dy := range n {
				for dx := range n {
					if truth.Tumour[(y+dy)*truth.W+x+dx] == tumour {
						count++
					}
				}
			}
			if count > best {
				x0, y0, best = x, y, count
			}
		}
	}
	img, _ := s.Region(x0*coarse*1000/int(demoMPP*1000), y0*coarse*1000/int(demoMPP*1000), demoSide, demoSide, demoMPP)
	var b bytes.Buffer
	err := png.Encode(&b, img)
	return b.Bytes(), err
}

func writeFile(dir, name string, b []byte) error {
	return atomicfile.WriteIn(dir, name, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}
