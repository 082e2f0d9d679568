package program

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/serve"
	"github.com/slidesam/sam/internal/synth"
)

// server is what the flags ask for.
type server struct {
	cli.Model
	serve.Config
	hosts, weightHosts, out string
	json, verbose           bool
	cache                   int64
}

func serveCommand() cli.Command {
	return cli.Command{
		Name: "serve", Usage: "a viewer in the browser, and the server for QuPath's SAM extension", Args: "[SLIDE OR FOLDER]...",
		Flags: func() *flag.FlagSet { return new(server).flags() },
		Run: func(ctx context.Context, args []string, stdio cli.IO) error {
			return runServer(ctx, args, stdio)
		},
	}
}

func (v *server) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	v.Register(fs)
	v.RegisterMirror(fs)
	fs.StringVar(&v.Addr, "addr", serve.DefaultAddr, "`host:port` to listen on; beyond this machine a token is needed")
	fs.StringVar(&v.Token, "token", "", "`secret` that every request must have, 16 characters or more; auto: a new one")
	fs.StringVar(&v.hosts, "hosts", "", "`names` of this machine that browsers may use, with commas; addresses in numbers always work")
	fs.StringVar(&v.Weights, "weights", "", "`folder` of checkpoints that QuPath can choose from and register")
	fs.StringVar(&v.weightHosts, "weight-hosts", "", "`hosts` that checkpoints may be fetched from, with commas; default: Meta's, Hugging Face, micro-sam's and GitHub")
	fs.BoolVar(&v.AllowPrivate, "weights-private", false, "fetch checkpoints from private addresses as well")
	fs.StringVar(&v.Annotations, "annotations", "", "`folder` for annotations; default: beside each slide")
	fs.StringVar(&v.Jobs, "jobs", "", "`folder` that searches of whole slides work in; default: in the user's cache")
	fs.StringVar(&v.out, "out", "out", "`folder` for the demonstration's annotations")
	fs.Int64Var(&v.cache, "cache", 512, "`MiB` of embeddings that are kept")
	fs.BoolVar(&v.LogNames, "log-names", false, "log names of slides, which may be those of patients")
	fs.BoolVar(&v.verbose, "verbose", false, "log every request")
	fs.BoolVar(&v.json, "json", false, "log as JSON")
	return fs
}

// config is the flags as the server wants them.
func (v *server) config(args []string, stderr io.Writer) (serve.Config, error) {
	c := v.Config
	c.Slides, c.Version = args, version()
	if v.cache < 1 || v.cache > 1<<20 {
		return c, cli.Usagef("-cache %d, want 1 to %d", v.cache, 1<<20)
	}
	c.CacheBytes = v.cache << 20
	if c.Token == "auto" {
		c.Token = rand.Text()
	}
	if v.hosts != "" {
		c.Hosts = strings.Split(v.hosts, ",")
	}
	if v.weightHosts != "" {
		c.WeightHosts = strings.Split(v.weightHosts, ",")
	}
	level := slog.LevelInfo
	if v.verbose {
		level = slog.LevelDebug
	}
	c.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	if v.json {
		c.Log = slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level}))
	}
	if len(args) == 0 {
		if c.Annotations == "" {
			c.Annotations = filepath.Join(v.out, "annotations")
		}
		c.Demo = demoSlide()
	}
	if err := c.Check(); err != nil {
		return c, &cli.UsageError{Err: err}
	}
	for _, p := range c.Slides { // before a model is loaded, which takes seconds
		if _, err := os.Stat(p); err != nil {
			return c, fmt.Errorf("slides: %w", err)
		}
	}
	m, err := v.Load()
	if err != nil {
		return c, err
	}
	c.Log.Info("model loaded", "device", m.Device().String())
	c.Model, c.Bundled, c.ModelName = m, v.Model.Bundled(), "bundled"
	if !v.Model.Bundled() {
		c.ModelName = filepath.Base(v.Path)
	}
	if v.Precision != sam.FP32 {
		c.ModelName += ", " + v.Precision.String()
	}
	if v.Mirror {
		c.ModelName += ", mirrored"
	}
	return c, nil
}

// The demonstration: a field of a synthetic slide at 40x.
const (
	demoSeed = 2031
	demoSide = 2048
)

func demoSlide() *sam.Slide {
	s := synth.New(demoSeed, synth.Options{Width: demoSide, Height: demoSide, Solid: true})
	img, _ := s.Region(0, 0, demoSide, demoSide, s.MPP())
	return sam.SlideFromImage(img, s.MPP())
}

func runServer(ctx context.Context, args []string, stdio cli.IO) error {
	var v server
	fs := v.flags()
	fs.SetOutput(stdio.Stderr)
	if err := cli.Parse(fs, args); err != nil {
		return err
	}
	c, err := v.config(fs.Args(), stdio.Stderr)
	if err != nil {
		return err
	}
	s, err := serve.New(c)
	if err != nil {
		return err
	}
	err = s.Run(ctx, func(addr string) { greet(stdio.Stdout, addr, c.Token) })
	if e := s.Close(); err == nil {
		err = e
	}
	return err
}

// greet says where to look and what to tell QuPath.
func greet(w io.Writer, addr, token string) {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		addr = net.JoinHostPort("ADDRESS-OF-THIS-MACHINE", port)
	}
	base := "http://" + addr + "/"
	if token != "" {
		base += "t/" + token + "/"
	}
	fmt.Fprintf(w, "viewer:  %s\nQuPath:  %ssam/   (Extensions, SAM, Server URL)\n", base, base)
}
