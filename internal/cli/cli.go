// Package cli is what slidesam's commands have in common: how they are listed,
// their exit codes, and the flags that choose a model.
//
// A command keeps its flags in a flag.FlagSet of its own, so that it can be
// run from a test with arguments and two writers.
//
//	os.Exit(cli.Main(ctx, os.Args, version, []cli.Command{segment.Command(), ...}, cli.Streams()))
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v3"
)

// Exit codes.
const (
	ExitOK      = 0
	ExitFailed  = 1 // the work could not be done
	ExitUsage   = 2 // flags that mean nothing
	ExitStopped = 3 // by a signal; where a command can go on, the same one does
	ExitPartial = 4 // done, but for parts of a slide, or slides of a cohort, that failed
)

// ErrPartial is wrapped by the error for a slide that was done but for parts
// that could not be read, and for a cohort that was done but for some slides.
var ErrPartial = errors.New("parts of the slide were left out")

// IO is what a command reads and writes besides files.
type IO struct {
	Stdout, Stderr io.Writer
	Env            func(string) string
}

// Streams is the process's own IO.
func Streams() IO { return IO{os.Stdout, os.Stderr, os.Getenv} }

// Command is one of the program's commands.
type Command struct {
	Name  string
	Usage string // one line
	Args  string // what follows the flags, empty: nothing
	// Flags returns the flags, for help and for the shell's completion.
	Flags func() *flag.FlagSet
	// Run does the work. Its arguments are what follows the command's name.
	Run func(ctx context.Context, args []string, stdio IO) error
}

// UsageError is an error in the flags.
type UsageError struct{ Err error }

// Error returns what is wrong.
func (u *UsageError) Error() string { return u.Err.Error() }

// Unwrap returns the error within.
func (u *UsageError) Unwrap() error { return u.Err }

// Usagef returns a UsageError.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// Parse parses arguments. Errors are UsageErrors, or flag.ErrHelp if help was
// asked for, which has been written to the set's output. A text that is given
// but empty, as a variable of the shell that nobody has set is, is an error: it
// would ask for the default, another picture or model than was meant. A flag for
// which it means something says so in its usage with the word "empty:".
func Parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return &UsageError{err}
	}
	var err error
	fs.Visit(func(f *flag.Flag) {
		g, ok := f.Value.(flag.Getter)
		if !ok || strings.Contains(f.Usage, "empty:") {
			return
		}
		if text, ok := g.Get().(string); ok && strings.TrimSpace(text) == "" {
			err = errors.Join(err, Usagef("-%s is empty: give a value, or leave the flag out; is a variable of the shell not set?", f.Name))
		}
	})
	return err
}

// Main runs the command that args, which begin with the program's name, ask
// for, and returns the exit code.
func Main(ctx context.Context, args []string, version string, commands []Command, stdio IO) int {
	root := &urfave.Command{
		Name: "slidesam", Usage: "Segment Anything for digital pathology", Version: version,
		EnableShellCompletion: true, Suggest: true, Writer: stdio.Stdout, ErrWriter: stdio.Stderr,
		ConfigureShellCompletionCommand: func(c *urfave.Command) { c.Hidden = false },
		ExitErrHandler:                  func(context.Context, *urfave.Command, error) {},
		OnUsageError:                    func(_ context.Context, _ *urfave.Command, err error, _ bool) error { return &UsageError{err} },
		Action: func(ctx context.Context, c *urfave.Command) error {
			if c.NArg() > 0 {
				return Usagef("no command %q; slidesam help lists those there are", c.Args().First())
			}
			return urfave.ShowRootCommandHelp(c)
		},
	}
	name := root.Name
	for _, k := range commands {
		root.Commands = append(root.Commands, &urfave.Command{
			Name: k.Name, Usage: k.Usage, ArgsUsage: k.Args, Flags: listed(k.Flags()), SkipFlagParsing: true, HideHelp: true, HideHelpCommand: true,
			Action: func(ctx context.Context, c *urfave.Command) error {
				name = k.Name
				return k.Run(ctx, c.Args().Slice(), stdio)
			},
		})
	}
	err := root.Run(ctx, args)
	var usage *UsageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return ExitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stdio.Stderr, "%s: %v\n", name, err)
		return ExitUsage
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintf(stdio.Stderr, "%s: stopped\n", name)
		return ExitStopped
	}
	fmt.Fprintf(stdio.Stderr, "%s: %v\n", name, err)
	if errors.Is(err, ErrPartial) {
		return ExitPartial
	}
	return ExitFailed
}

// listed are flags for help and completion.
func listed(fs *flag.FlagSet) []urfave.Flag {
	var out []urfave.Flag
	fs.VisitAll(func(f *flag.Flag) {
		_, usage := flag.UnquoteUsage(f)
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
			out = append(out, &urfave.BoolFlag{Name: f.Name, Usage: usage, HideDefault: true})
			return
		}
		out = append(out, &urfave.StringFlag{Name: f.Name, Usage: usage, DefaultText: f.DefValue, HideDefault: f.DefValue == ""})
	})
	return out
}
