// Command graph writes the graphs of a model's networks as DOT and SVG.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/atomicfile"
)

func main() {
	switch err := run(os.Args[1:], os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "graph:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("graph", flag.ContinueOnError)
	model := fs.String("model", "", "checkpoint `file`; default: the bundled model")
	network := fs.String("network", "", "image-encoder, prompt-encoder or mask-decoder; default: all three")
	weights := fs.Bool("weights", false, "draw the weights too")
	out := fs.String("out", "out", "`folder` for the drawings")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: checkpoints are given with -model", fs.Arg(0))
	}
	m, err := load(*model)
	if err != nil {
		return err
	}
	networks := []sam.Network{sam.ImageEncoder, sam.PromptEncoder, sam.MaskDecoder}
	if *network != "" {
		networks = []sam.Network{sam.Network(*network)}
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	for _, n := range networks {
		g, err := m.Graph(n)
		if err != nil {
			return err
		}
		d, err := newDrawing(string(n), g, *weights)
		if err != nil {
			return err
		}
		for ext, write := range map[string]func(io.Writer) error{"dot": d.dot, "svg": d.svg} {
			path := filepath.Join(*out, string(n)+"."+ext)
			if err := atomicfile.Write(path, write); err != nil {
				return err
			}
		}
		fmt.Fprintf(stdout, "%s: %d nodes, %d inputs and weights: %s\n", n, d.ops, d.leaves, filepath.Join(*out, string(n)+".{dot,svg}"))
	}
	return nil
}

func load(path string) (*sam.Model, error) {
	if path == "" {
		return sam.Bundled()
	}
	return sam.Load(path)
}
