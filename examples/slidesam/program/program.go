// Package program is the command slidesam without its main function, for
// programs that are it and something more.
package program

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/slidesam/sam/examples/slidesam/benchmark"
	"github.com/slidesam/sam/examples/slidesam/cohort"
	"github.com/slidesam/sam/examples/slidesam/convert"
	"github.com/slidesam/sam/examples/slidesam/finetune"
	"github.com/slidesam/sam/examples/slidesam/graph"
	"github.com/slidesam/sam/examples/slidesam/refine"
	"github.com/slidesam/sam/examples/slidesam/segment"
	"github.com/slidesam/sam/examples/slidesam/slide"
	"github.com/slidesam/sam/examples/slidesam/zeroshot"
	"github.com/slidesam/sam/internal/cli"
)

func commands() []cli.Command {
	return []cli.Command{
		segment.Command(), slide.Command(), refine.Command(), cohort.Command(), serveCommand(), zeroshot.Command(), finetune.Command(), convert.Command(), graph.Command(), benchmark.Command(),
	}
}

// Main runs the program with the process's arguments and returns its exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	return cli.Main(ctx, os.Args, version(), commands(), cli.Streams())
}

// version is that of the module the program was built from.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		return b.Main.Version
	}
	return "devel"
}
