package serve_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/serve"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

// checkpoint is a file as others publish them.
func checkpoint(t testing.TB) []byte {
	ck, err := bundled.Checkpoint()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, ck.Save(t.Context(), file, weights.ConvertOptions{}))
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return b
}

func TestRegisterByURL(t *testing.T) {
	m, err := own()
	require.NoError(t, err)
	content := checkpoint(t)
	sum := sha256.Sum256(content)
	release := make(chan struct{})
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/m.safetensors", "/download":
			_, _ = w.Write(content)
		case "/slow.pth":
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(make([]byte, 500_000))
			w.(http.Flusher).Flush()
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case "/broken.pth":
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(make([]byte, 1000))
		case "/text.pth":
			_, _ = w.Write([]byte("not a checkpoint"))
		case "/away.pth":
			http.Redirect(w, r, "http://evil.example/x.pth", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer mirror.Close()
	defer close(release)
	dir := t.TempDir()
	s := newServer(t, serve.Config{Model: m, Weights: dir, WeightHosts: []string{"127.0.0.1"}, AllowPrivate: true})
	post := func(name, url, sha string) *httptest.ResponseRecorder {
		return qupath(t, s, "POST", "/sam/weights/", map[string]string{"type": "vit_b", "name": name, "url": url, "sha256": sha})
	}
	files := func() int {
		list, err := os.ReadDir(dir)
		require.NoError(t, err)
		return len(list)
	}

	for _, tt := range []struct {
		name, url, sha string
		want           int
	}{
		{"another checksum", "/m.safetensors", strings.Repeat("0", 64), 422},
		{"no checksum", "/m.safetensors", "xyz", 422},
		{"breaks off", "/broken.pth", "", 502},
		{"text", "/text.pth", "", 422},
		{"missing", "/nothing.pth", "", 502},
		{"redirects to another host", "/away.pth", "", 403},
	} {
		w := post(tt.name, mirror.URL+tt.url, tt.sha)
		assert.Equal(t, tt.want, w.Code, "%s: %s", tt.name, w.Body)
	}
	assert.Zero(t, files(), "whole or not at all")

	// Cancelled half way, with progress.
	done := make(chan string, 1)
	go func() { done <- post("slow", mirror.URL+"/slow.pth", "").Body.String() }()
	require.Eventually(t, func() bool {
		var p struct {
			Message string
			Percent int
		}
		return json.Unmarshal(qupath(t, s, "GET", "/sam/progress/", nil).Body.Bytes(), &p) == nil && p.Percent == 50
	}, 20*time.Second, 5*time.Millisecond)
	assert.Equal(t, http.StatusTooManyRequests, post("second", mirror.URL+"/m.safetensors", "").Code)
	qupath(t, s, "GET", "/sam/weights/cancel/", nil)
	assert.Contains(t, <-done, "Cancelled to register slow")
	assert.Zero(t, files())

	// The thing itself: listed, used, and there after a restart.
	w := post("mine", mirror.URL+"/download", hex.EncodeToString(sum[:]))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	assert.Contains(t, w.Body.String(), "mine ("+mirror.URL+"/download) is registered.")
	assert.Contains(t, post("mine", mirror.URL+"/other", "").Body.String(), "with the name 'mine' already exists")
	assert.Contains(t, post("again", mirror.URL+"/download", "").Body.String(), "with the url")
	again := newServer(t, serve.Config{Model: m, Weights: dir})
	var list []struct{ Type, Name, URL string }
	require.NoError(t, json.Unmarshal(qupath(t, again, "GET", "/sam/weights/?type=vit_b", nil).Body.Bytes(), &list))
	require.Len(t, list, 2)
	assert.Equal(t, "mine", list[0].Name)
	fs := features(t, qupath(t, again, "POST", "/sam/", map[string]any{
		"type": "vit_b", "checkpoint_url": list[0].URL, "b64img": encoded(t, field()), "bbox": []int{110, 55, 165, 106},
	}))
	assert.Len(t, fs, 1)
}

func TestRegisterAFileOfTheFolder(t *testing.T) {
	m, err := own()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "vit_b"), 0o755))
	file := filepath.Join(dir, "vit_b", "mine.safetensors")
	require.NoError(t, os.WriteFile(file, checkpoint(t), 0o644))
	s := newServer(t, serve.Config{Model: m, Weights: dir})
	w := qupath(t, s, "POST", "/sam/weights/", map[string]string{"type": "vit_l", "name": "mine", "url": "file://" + file})
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	w = qupath(t, s, "GET", "/sam/weights?type=vit_l", nil)
	assert.Contains(t, w.Body.String(), `"name":"mine","url":"slidesam:file/vit_b/mine.safetensors"`)
}

// TestDisconnectStopsTheEncoder gives up while the picture is encoded.
func TestDisconnectStopsTheEncoder(t *testing.T) {
	m, err := own()
	require.NoError(t, err)
	s := newServer(t, serve.Config{Model: m})
	body, err := json.Marshal(map[string]any{"b64img": encoded(t, field()), "bbox": []int{110, 55, 165, 106}})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, "POST", "http://localhost/sam/", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	done := make(chan struct{})
	go func() { s.ServeHTTP(httptest.NewRecorder(), r); close(done) }()
	require.Eventually(t, func() bool { return serve.Embeddings(s) == 1 }, 20*time.Second, time.Millisecond)
	stop()
	<-done
	assert.Zero(t, serve.Cached(s), "nothing was finished")
}
