package program

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cli"
)

func call(ctx context.Context, stdout io.Writer, args ...string) int {
	return cli.Main(ctx, append([]string{"slidesam"}, args...), "v1", commands(), cli.IO{Stdout: stdout, Stderr: io.Discard, Env: func(string) string { return "" }})
}

func TestExitCodes(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		args []string
		want int
	}{
		{"help", t.Context(), []string{"help"}, cli.ExitOK},
		{"no command", t.Context(), nil, cli.ExitOK},
		{"version", t.Context(), []string{"--version"}, cli.ExitOK},
		{"help of a command", t.Context(), []string{"help", "slide"}, cli.ExitOK},
		{"-h of a command", t.Context(), []string{"slide", "-h"}, cli.ExitOK},
		{"completion", t.Context(), []string{"completion", "zsh"}, cli.ExitOK},
		{"another command", t.Context(), []string{"nothing"}, cli.ExitUsage},
		{"another flag", t.Context(), []string{"--nothing"}, cli.ExitUsage},
		{"another flag of a command", t.Context(), []string{"graph", "-nothing"}, cli.ExitUsage},
		{"flags that mean nothing", t.Context(), []string{"serve", "-cache", "-1"}, cli.ExitUsage},
		{"no files", t.Context(), []string{"convert"}, cli.ExitUsage},
		{"a number that means nothing", t.Context(), []string{"finetune", "-steps", "0"}, cli.ExitUsage},
		{"data of no kind", t.Context(), []string{"finetune", "-data", "x=a,b"}, cli.ExitUsage},
		{"a file that is not there", t.Context(), []string{"convert", "-quiet", "nothing.pth", t.TempDir() + "/x.npz"}, cli.ExitFailed},
		{"an address without a token", t.Context(), []string{"serve", "-addr", "0.0.0.0:0"}, cli.ExitUsage},
		{"slides that are not there", t.Context(), []string{"serve", "-addr", "127.0.0.1:0", "nowhere/"}, cli.ExitFailed},
		{"stopped", stopped, []string{"segment", "-out", t.TempDir()}, cli.ExitStopped},
	} {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.want, call(tt.ctx, io.Discard, tt.args...)) })
	}
}

func TestEveryCommandIsListedWithItsFlags(t *testing.T) {
	var out bytes.Buffer
	require.Zero(t, call(t.Context(), &out, "help"))
	for _, c := range commands() {
		assert.Contains(t, out.String(), c.Usage)
		var help bytes.Buffer
		require.Zero(t, call(t.Context(), &help, "help", c.Name))
		c.Flags().VisitAll(func(f *flag.Flag) { assert.Contains(t, help.String(), "--"+f.Name, c.Name) })
	}
}

// TestServe starts the server as a new user would and stops it.
func TestServe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- call(ctx, w, "serve", "-addr", "127.0.0.1:0", "-out", t.TempDir(), "-jobs", t.TempDir(), "-token", "auto")
		w.Close()
	}()
	line := make([]byte, 4096)
	n, err := r.Read(line)
	require.NoError(t, err)
	go func() { _, _ = io.Copy(io.Discard, r) }()
	url := regexp.MustCompile(`http://\S+`).FindString(string(line[:n]))
	for _, path := range []string{"", "sam/version/", "v1/slides"} {
		resp, err := http.Get(url + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, http.StatusOK, resp.StatusCode, path)
	}
	stop()
	select {
	case code := <-done:
		assert.Equal(t, cli.ExitOK, code)
	case <-time.After(30 * time.Second):
		t.Fatal("does not stop")
	}
}
