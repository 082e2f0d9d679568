package serve

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/slidesam/sam"
)

// Config says what a server serves and to whom. The zero value serves the
// bundled model on 127.0.0.1:8000, without slides.
type Config struct {
	// Addr is where to listen; empty means 127.0.0.1:8000. An address beyond
	// loopback needs a Token.
	Addr string
	// Token, if set, must come with every request: as `Authorization: Bearer
	// TOKEN`, or as the beginning of the path, /t/TOKEN/, for clients that
	// cannot send headers.
	Token string
	// Hosts are names that a Host header may have besides localhost and
	// addresses in numbers.
	Hosts []string

	// Model is what the viewer uses and what /sam/ answers with when no
	// checkpoint is asked for; nil means the bundled model.
	Model *sam.Model
	// Bundled says that Model is the bundled one, mirrored for instance: its
	// masks are cut to what their prompt is on.
	Bundled bool
	// ModelName is shown to people; empty means "bundled".
	ModelName string
	// Weights is a folder of checkpoints; empty: none but Model.
	Weights string
	// WeightHosts are the hosts that checkpoints may be fetched from. A name
	// that begins with a dot stands for all names that end in it. nil means
	// DefaultWeightHosts, an empty list none.
	WeightHosts []string
	// AllowPrivate allows checkpoints from private and loopback addresses.
	AllowPrivate bool

	// Slides are folders of slides, or slides.
	Slides []string
	// Demo is a slide without a file; its annotations need a folder.
	Demo *sam.Slide
	// Annotations is the folder for annotations; empty: beside each slide.
	Annotations string
	// Jobs is the folder that jobs on whole slides work in; empty: a folder of
	// the user's cache.
	Jobs string

	// Limits; 0 means the default.
	CacheBytes  int64 // of embeddings, 512 MiB
	ModelBytes  int64 // of loaded checkpoints, 4 GiB
	MaxBody     int64 // of a request, 96 MiB
	MaxPixels   int   // of a picture that is sent, 64 Mi
	MaxPrompts  int   // points in one request, 1024
	MaxWaiting  int   // requests that wait for the model, 64
	MaxJobs     int   // jobs that are not done, 16
	MaxDownload int64 // of a checkpoint, 8 GiB

	// Slow is how long a client may take to send a request; 0 means a minute.
	Slow time.Duration

	// Log is told what happened; nil: nothing. Names of slides are left out
	// unless LogNames is set: they often hold those of patients.
	Log      *slog.Logger
	LogNames bool
	// Version is what /sam/version/ says.
	Version string
}

// DefaultAddr is where the server listens if nothing else is said.
const DefaultAddr = "127.0.0.1:8000"

// DefaultWeightHosts are the hosts that publish Segment Anything checkpoints:
// Meta's, Hugging Face's, and those of micro-sam and patho-sam.
var DefaultWeightHosts = []string{
	"dl.fbaipublicfiles.com", "huggingface.co", ".huggingface.co", ".hf.co",
	"owncloud.gwdg.de", "uk1s3.embassy.ebi.ac.uk", "zenodo.org", "github.com", "release-assets.githubusercontent.com",
}

// fill puts defaults in the place of zero values and checks the rest.
func (c *Config) fill() error {
	c.Addr = cmp.Or(c.Addr, DefaultAddr)
	c.ModelName = cmp.Or(c.ModelName, "bundled")
	c.Version = cmp.Or(c.Version, "devel")
	c.CacheBytes = cmp.Or(c.CacheBytes, 512<<20)
	c.ModelBytes = cmp.Or(c.ModelBytes, 4<<30)
	c.MaxBody = cmp.Or(c.MaxBody, 96<<20)
	c.MaxPixels = cmp.Or(c.MaxPixels, 64<<20)
	c.MaxPrompts = cmp.Or(c.MaxPrompts, 1024)
	c.MaxWaiting = cmp.Or(c.MaxWaiting, 64)
	c.MaxJobs = cmp.Or(c.MaxJobs, 16)
	c.Slow = cmp.Or(c.Slow, time.Minute)
	c.MaxDownload = cmp.Or(c.MaxDownload, 8<<30)
	if c.WeightHosts == nil {
		c.WeightHosts = DefaultWeightHosts
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Jobs == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("no folder for jobs: %w; give one", err)
		}
		c.Jobs = filepath.Join(cache, "slidesam", "jobs")
	}
	if c.Demo != nil && c.Annotations == "" {
		return errors.New("a slide without a file needs a folder for its annotations")
	}
	for _, v := range []int64{c.CacheBytes, c.ModelBytes, c.MaxBody, int64(c.MaxPixels), int64(c.MaxPrompts), int64(c.MaxWaiting), int64(c.MaxJobs), c.MaxDownload} {
		if v < 0 {
			return fmt.Errorf("limit of %d, want 0 or more", v)
		}
	}
	return checkAddr(c.Addr, c.Token)
}

// Check returns the error that New would return for an address, a token or a
// limit, without loading a model.
func (c Config) Check() error {
	if err := c.fill(); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// minToken is the least length of a token beyond loopback, so that it cannot
// be guessed.
const minToken = 16

// checkAddr returns an error for an address that others can reach without a
// token.
func checkAddr(addr, token string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: %w", addr, err)
	}
	for _, r := range token {
		if !tokenRune(r) {
			return fmt.Errorf("token has %q, want letters, digits, - and _", r)
		}
	}
	if isLoopback(host) {
		return nil
	}
	if len(token) < minToken {
		return fmt.Errorf("address %s can be reached from other machines: give a token of %d characters or more, or listen on %s", addr, minToken, DefaultAddr)
	}
	return nil
}

func tokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// hostAllowed reports whether name is one of hosts, where one that begins with
// a dot stands for all that end in it.
func hostAllowed(name string, hosts []string) bool {
	return slices.ContainsFunc(hosts, func(h string) bool {
		return name == h || len(h) > 1 && h[0] == '.' && len(name) > len(h) && name[len(name)-len(h):] == h
	})
}
