// Package graph is the command that writes the graphs of a model's networks as DOT and SVG.
package graph

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/cli"
)

// job is what the flags ask for.
type job struct {
	cli.Model
	network, out string
	weights      bool
}

// Command is graph.
func Command() cli.Command {
	return cli.Command{
		Name: "graph", Usage: "the networks' graphs as DOT and SVG",
		Flags: func() *flag.FlagSet { return new(job).flags() },
		Run:   func(_ context.Context, args []string, stdio cli.IO) error { return run(args, stdio.Stdout) },
	}
}

func (j *job) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("graph", flag.ContinueOnError)
	j.Register(fs)
	fs.StringVar(&j.network, "network", "", "image-encoder, prompt-encoder or mask-decoder; default: all three")
	fs.BoolVar(&j.weights, "weights", false, "draw the weights too")
	fs.StringVar(&j.out, "out", "out", "`folder` for the drawings")
	return fs
}

func run(args []string, stdout io.Writer) error {
	var j job
	fs := j.flags()
	if err := cli.Parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return cli.Usagef("unknown argument %q: checkpoints are given with -model", fs.Arg(0))
	}
	networks := []sam.Network{sam.ImageEncoder, sam.PromptEncoder, sam.MaskDecoder}
	if j.network != "" {
		if !slices.Contains(networks, sam.Network(j.network)) {
			return cli.Usagef("-network %q, want one of %q", j.network, networks)
		}
		networks = []sam.Network{sam.Network(j.network)}
	}
	m, err := j.Load()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(j.out, 0o755); err != nil {
		return err
	}
	for _, n := range networks {
		g, err := m.Graph(n)
		if err != nil {
			return err
		}
		d, err := newDrawing(string(n), g, j.weights)
		if err != nil {
			return err
		}
		for ext, write := range map[string]func(io.Writer) error{"dot": d.dot, "svg": d.svg} {
			path := filepath.Join(j.out, string(n)+"."+ext)
			if err := atomicfile.Write(path, write); err != nil {
				return err
			}
		}
		fmt.Fprintf(stdout, "%s: %d nodes, %d inputs and weights: %s\n", n, d.ops, d.leaves, filepath.Join(j.out, string(n)+".{dot,svg}"))
	}
	return nil
}
