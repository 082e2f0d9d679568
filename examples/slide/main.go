// Command slide finds the nuclei of a whole slide with the library: memory
// does not grow with the slide, and a run that was stopped goes on.
//
//	go run ./examples/slide slide.svs
//
// `slidesam slide` has more to choose from: scales, regions, shards, sheets.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/slidesam/sam"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	out := flag.String("out", "out", "`folder` for the results")
	flag.Parse()
	if err := run(ctx, flag.Args(), *out, os.Stdout); err != nil {
		log.Fatal("slide: ", err)
	}
}

func run(ctx context.Context, args []string, out string, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("want one slide: go run ./examples/slide slide.svs")
	}
	s, err := sam.OpenSlide(args[0])
	if err != nil {
		return err
	}
	defer s.Close()
	m, err := sam.Bundled() // or sam.Load("sam_vit_b_01ec64.pth")
	if err != nil {
		return err
	}
	o := sam.SegmentOptions{
		Class: "Nucleus", Disjoint: true,
		// A point at each nucleus, by its stain, and one mask for each point.
		Find: sam.FindNuclei, FindName: "nuclei",
		Everything: sam.EverythingOptions{SingleMask: true, Local: true, BoxNMSThresh: 0.5, PredIoUThresh: 0.56, StabilityScoreThresh: 0.4},
		Progress: func(p sam.SegmentProgress) {
			fmt.Fprintf(stdout, "\rtile %d of %d, %d objects", p.Done, p.Total, p.Objects)
		},
	}
	if mpp, _ := s.MPP(); mpp > 0 {
		o.MPP = max(0.25, mpp/2) // micrometres per pixel that the model sees nuclei best at
	}
	res, err := m.SegmentSlide(ctx, s, out, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n%d nuclei in %s: open %s in QuPath\n", res.Objects, res.Dir, sam.GeoJSONFile)
	return nil
}
