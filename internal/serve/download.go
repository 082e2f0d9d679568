package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/slidesam/sam/internal/atomicfile"
)

// downloads registers checkpoints, one at a time.
type downloads struct {
	c      Config
	models *models
	client *http.Client
	progress

	mu   sync.Mutex
	stop context.CancelCauseFunc // nil: none is under way
}

// errCancelled is the cause of a registration that was cancelled by request.
var errCancelled = errors.New("cancelled")

func newDownloads(c Config, m *models) *downloads {
	d := &downloads{c: c, models: m}
	dialer := &net.Dialer{Timeout: 20 * time.Second}
	if !c.AllowPrivate {
		// The address is looked at after the name was resolved, for every
		// connection: no name and no redirection leads inside.
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return checkPublic(address) }
	}
	d.client = &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 20 * time.Second, ResponseHeaderTimeout: time.Minute, DisableKeepAlives: true},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= 10 {
				return refuse(http.StatusUnprocessableEntity, "the URL redirects ten times")
			}
			return d.checkURL(r.URL)
		},
	}
	if c.AllowPrivate { // a proxy is such an address as a rule
		d.client.Transport.(*http.Transport).Proxy = http.ProxyFromEnvironment
	}
	d.end()
	return d
}

// checkPublic returns an error for an address that is not on the internet.
func checkPublic(address string) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := a.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return refuse(http.StatusForbidden, "the URL leads to an address that is not public")
	}
	return nil
}

// reserved are ranges that netip has no name for: carriers' own, 6to4 and
// NAT64, which carry other addresses, and those for documents and tests.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001:db8::/32"),
}

func (d *downloads) checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return refuse(http.StatusForbidden, "URL of scheme %q, want http or https", u.Scheme)
	case u.User != nil:
		return refuse(http.StatusForbidden, "a URL with a password is not fetched")
	case !hostAllowed(strings.ToLower(u.Hostname()), d.c.WeightHosts):
		return refuse(http.StatusForbidden, "checkpoints are not fetched from %s; allow the host when starting the server", u.Hostname())
	}
	return nil
}

// cancel stops what is under way.
func (d *downloads) cancel() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		d.stop(errCancelled)
	}
}

// registration is what POST weights/ asks for.
type registration struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	URL    string `json:"url"`
	SHA256 string `json:"sha256"` // not samapi's
}

// register makes a checkpoint known and returns what to tell the client.
func (d *downloads) register(ctx context.Context, r registration) (string, error) {
	if d.models.root == nil {
		return "", refuse(http.StatusForbidden, "the server was started without a folder for checkpoints")
	}
	r.Name, r.URL, r.SHA256 = strings.TrimSpace(r.Name), strings.TrimSpace(r.URL), strings.ToLower(strings.TrimSpace(r.SHA256))
	switch {
	case slices.Contains(otherTypes, r.Type):
		return "", refuse(http.StatusNotFound, "%s is another architecture, which is not served here", r.Type)
	case !slices.Contains(samTypes, r.Type):
		return "", refuse(http.StatusUnprocessableEntity, "type %q, want one of %s", r.Type, strings.Join(samTypes, ", "))
	case r.Name == "" || len(r.Name) > 200 || r.URL == "" || len(r.URL) > 4000:
		return "", refuse(http.StatusUnprocessableEntity, "name and url are needed, of at most 200 and 4000 characters")
	}
	known, err := d.models.list(r.Type)
	if err != nil {
		return "", err
	}
	named, err := d.models.readNames()
	if err != nil {
		return "", err
	}
	for _, w := range known {
		switch {
		case w.Name == r.Name:
			return fmt.Sprintf("Model file with the name '%s' already exists. Skip registration.", r.Name), nil
		case w.URL == r.URL || w.file != "" && named[w.file].Source == r.URL:
			return fmt.Sprintf("Model file with the url '%s' already exists. Skip registration.", r.URL), nil
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	d.mu.Lock()
	if d.stop != nil {
		d.mu.Unlock()
		return "", busy(http.StatusTooManyRequests, "another checkpoint is being registered; wait for it or cancel it")
	}
	d.stop = stop
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.stop = nil
		d.mu.Unlock()
		d.end()
	}()
	if u, err := url.Parse(r.URL); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		err = d.fetch(ctx, r, u)
		if errors.Is(context.Cause(ctx), errCancelled) {
			return fmt.Sprintf("Cancelled to register %s (%s).", r.Name, r.URL), nil
		}
		if err != nil {
			return "", fetchError(err)
		}
	} else if err := d.adopt(r); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s (%s) is registered.", r.Name, r.URL), nil
}

// fetchError tells a failure of the other server from one of this one.
func fetchError(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) && refusalOf(err) == nil {
		return refuse(http.StatusBadGateway, "the URL cannot be fetched: %v", ue.Err)
	}
	return err
}

// adopt registers a file that is in the folder already.
func (d *downloads) adopt(r registration) error {
	file := strings.TrimPrefix(strings.TrimPrefix(r.URL, fileURL), "file://")
	if strings.Contains(file, "://") {
		return refuse(http.StatusForbidden, "want an http or https URL, or a file of the folder of checkpoints")
	}
	if filepath.IsAbs(file) {
		dir, err := filepath.Abs(d.models.dir)
		if err != nil {
			return err
		}
		if file, err = filepath.Rel(dir, file); err != nil {
			return refuse(http.StatusForbidden, "the file is not in the folder of checkpoints")
		}
	}
	file = filepath.ToSlash(filepath.Clean(file))
	if !filepath.IsLocal(file) {
		return refuse(http.StatusForbidden, "the file is not in the folder of checkpoints")
	}
	info, err := d.models.root.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return refuse(http.StatusNotFound, "no such file in the folder of checkpoints")
	case err != nil: // a link out of the folder
		return refuse(http.StatusForbidden, "the file is not in the folder of checkpoints")
	case !info.Mode().IsRegular() || !isCheckpointName(file):
		return refuse(http.StatusUnprocessableEntity, "want a .pth, .pt, .safetensors or .npz file")
	}
	if _, err := kindOf(filepath.Join(d.models.dir, filepath.FromSlash(file))); err != nil {
		return refuse(http.StatusUnprocessableEntity, "the file is not a checkpoint of Segment Anything that can be read")
	}
	return d.models.register(file, registered{Type: r.Type, Name: r.Name, Source: r.URL, SHA256: r.SHA256})
}

// fetch copies a checkpoint into the folder, whole or not at all.
func (d *downloads) fetch(ctx context.Context, r registration, u *url.URL) error {
	if err := d.checkURL(u); err != nil {
		return err
	}
	want := r.SHA256
	if sum, ok := strings.CutPrefix(u.Fragment, "sha256="); ok && want == "" {
		want = strings.ToLower(sum)
	}
	if b, err := hex.DecodeString(want); err != nil || want != "" && len(b) != sha256.Size {
		return refuse(http.StatusUnprocessableEntity, "sha256 is not 64 hexadecimal digits")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "the URL cannot be fetched")
	}
	d.set("connecting", 0)
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refuse(http.StatusBadGateway, "the URL answers with %s", resp.Status)
	}
	if resp.ContentLength > d.c.MaxDownload {
		return refuse(http.StatusRequestEntityTooLarge, "the checkpoint has %d bytes, want at most %d", resp.ContentLength, d.c.MaxDownload)
	}
	return d.store(r, u, resp, want)
}

func (d *downloads) store(r registration, u *url.URL, resp *http.Response, want string) error {
	name := fileName(r, u)
	out := filepath.Join(d.models.dir, name)
	if _, err := d.models.root.Lstat(name); err == nil {
		return refuse(http.StatusConflict, "the folder has a file for this URL already, which is not registered or of another type")
	}
	sum := sha256.New()
	err := atomicfile.Write(out, func(w io.Writer) error {
		n, err := io.Copy(io.MultiWriter(w, sum), &meteredReader{r: io.LimitReader(resp.Body, d.c.MaxDownload+1), total: resp.ContentLength, d: d})
		switch {
		case err != nil:
			return refuse(http.StatusBadGateway, "the URL broke off after %d bytes", n)
		case n > d.c.MaxDownload:
			return refuse(http.StatusRequestEntityTooLarge, "the checkpoint has more than %d bytes", d.c.MaxDownload)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); want != "" && got != want {
			return refuse(http.StatusUnprocessableEntity, "the file has the SHA-256 %s, want %s", got, want)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := kindOf(out); err != nil {
		return errors.Join(refuse(http.StatusUnprocessableEntity, "the file at the URL is not a checkpoint of Segment Anything that can be read"), os.Remove(out))
	}
	return d.models.register(name, registered{Type: r.Type, Name: r.Name, Source: r.URL, SHA256: hex.EncodeToString(sum.Sum(nil))})
}

// fileName is the name of a URL's file in the folder: letters and digits of
// its last part, and a hash of the whole, as many end in "download".
func fileName(r registration, u *url.URL) string {
	base := strings.Map(func(c rune) rune {
		if tokenRune(c) || c == '.' {
			return c
		}
		return '_'
	}, path.Base(u.Path))
	ext := path.Ext(base)
	if !isCheckpointName(base) {
		ext = ".pth"
	}
	stem := strings.Trim(strings.TrimSuffix(base, path.Ext(base)), ".")
	h := sha256.Sum256([]byte(r.Type + " " + r.URL))
	return fmt.Sprintf("%.60s-%x%s", stem, h[:4], ext)
}

// meteredReader tells how much has come.
type meteredReader struct {
	r     io.Reader
	n     int64
	total int64 // -1: unknown
	d     *downloads
}

// Read reads, and tells.
func (m *meteredReader) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	percent, of := -1, "?"
	if m.total > 0 {
		percent, of = int(m.n*100/m.total), fmt.Sprint(m.total>>20)
	}
	m.d.set(fmt.Sprintf("%d of %s MiB", m.n>>20, of), percent)
	return n, err
}
