// Command segment is the library at its shortest: it embeds a picture, asks
// for the object under each of a few points, and writes the outlines.
//
//	go run ./examples/segment
//
// `slidesam segment` does the same for pictures and prompts of your own.
package main

import (
	"context"
	"flag"
	"fmt"
	"image/png"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/draw"
	"github.com/slidesam/sam/weights/bundled"
)

func main() {
	out := flag.String("out", "out", "`folder` for the results")
	flag.Parse()
	if err := run(context.Background(), *out, os.Stdout); err != nil {
		log.Fatal("segment: ", err)
	}
}

func run(ctx context.Context, out string, stdout io.Writer) error {
	m, err := sam.Bundled() // or sam.Load("sam_vit_b_01ec64.pth")
	if err != nil {
		return err
	}
	img := bundled.Picture() // any image.Image
	e, err := m.Embed(ctx, img)
	if err != nil {
		return err
	}
	// One prompt for each object: a point in a nucleus.
	var prompts []sam.Prompt
	for _, p := range [][2]float64{{838, 330}, {797, 438}, {584, 541}, {741, 546}, {282, 692}, {745, 318}, {101, 668}} {
		prompts = append(prompts, sam.Prompt{Points: []sam.Point{{X: p[0], Y: p[1], Label: sam.Foreground}}})
	}
	predictions, err := m.PredictBatch(ctx, e, prompts, sam.PredictOptions{Local: true})
	if err != nil {
		return err
	}

	canvas, err := draw.New(img)
	if err != nil {
		return err
	}
	var features []sam.Feature
	for i, p := range predictions {
		best := p.Best() // of three masks that differ in extent
		mask := p.Masks[best]
		fmt.Fprintf(stdout, "nucleus %d: %d pixels, predicted IoU %.2f\n", i, mask.Area(), p.IoUPred[best])
		canvas.Fill(mask, draw.Color(i), 0.3)
		canvas.Outline(mask, draw.Color(i), 2)
		if g := mask.Geometry(sam.Frame{}); g != nil {
			features = append(features, sam.Feature{Geometry: g, Measurements: []sam.Measurement{{Name: sam.MeasurePredictedIoU, Value: float64(p.IoUPred[best])}}})
		}
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	overlay, outlines := filepath.Join(out, "overlay.png"), filepath.Join(out, "masks.geojson")
	if err := atomicfile.Write(overlay, func(w io.Writer) error { return png.Encode(w, canvas.Image()) }); err != nil {
		return err
	}
	err = atomicfile.Write(outlines, func(w io.Writer) error {
		fw := sam.NewFeatureWriter(w)
		for _, f := range features {
			if err := fw.Write(f); err != nil {
				return err
			}
		}
		return fw.Close()
	})
	fmt.Fprintf(stdout, "%s: look at it\n%s: open it in QuPath\n", overlay, outlines)
	return err
}
