package serve_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/serve"
)

// TestLoad has 16 clients click, all over the slide, for as long as SAM_LOAD
// says, such as 2m; a few seconds without it. Nothing fails and memory stays.
func TestLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	length := 5 * time.Second
	if v := os.Getenv("SAM_LOAD"); v != "" {
		var err error
		length, err = time.ParseDuration(v)
		require.NoError(t, err)
	}
	s := newServer(t, serve.Config{Demo: demo(), Annotations: t.TempDir(), CacheBytes: 64 << 20})
	c := newClient(t, s)
	live := httptest.NewServer(s)
	defer live.Close()
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var mu sync.Mutex
	var times []time.Duration
	clicks := func(length time.Duration) {
		end := time.Now().Add(length)
		var all sync.WaitGroup
		for i := range 16 {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			all.Go(func() {
				for time.Now().Before(end) {
					begun := time.Now()
					var a candidates
					err := ask(live.URL+c.slide+"/segment", map[string]any{"points": []any{map[string]any{"x": r.IntN(1024), "y": r.IntN(1024), "label": 1}}}, &a)
					if !assert.NoError(t, err) {
						return
					}
					mu.Lock()
					times = append(times, time.Since(begun))
					mu.Unlock()
				}
			})
		}
		all.Wait()
	}
	clicks(length / 4)
	before := heap()
	times = nil
	clicks(length)
	after := heap()
	slices.Sort(times)
	t.Logf("%d clicks of 16 clients: median %v, 99th percentile %v; heap %d MiB, then %d MiB", len(times), times[len(times)/2], times[len(times)*99/100], before>>20, after>>20)
	assert.Less(t, after, before+96<<20, "states and embeddings are bounded")
}

func TestLogsHoldNoNames(t *testing.T) {
	dir := t.TempDir()
	name := "DOE_JOHN_1950"
	require.NoError(t, os.WriteFile(dir+"/"+name+".svs", []byte("no slide"), 0o644))
	for _, named := range []bool{false, true} {
		var log bytes.Buffer
		s := newServer(t, serve.Config{Slides: []string{dir}, Token: token, LogNames: named, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		for _, path := range []string{"v1/slides", "v1/slides/" + name, "v1/nothing", "sam/weights/?type=" + name} {
			r := httptest.NewRequest("GET", "http://localhost/t/"+token+"/"+path, nil)
			s.ServeHTTP(httptest.NewRecorder(), r)
		}
		assert.NotEmpty(t, log.String())
		assert.NotContains(t, log.String(), name)
		assert.NotContains(t, log.String(), token)
	}
}

// TestSlowClients sends a body that does not go on: the server gives up, and
// answers others meanwhile.
func TestSlowClients(t *testing.T) {
	m, err := own()
	require.NoError(t, err)
	s := newServer(t, serve.Config{Model: m, Slow: 300 * time.Millisecond})
	live := httptest.NewServer(s)
	defer live.Close()
	conn, err := net.Dial("tcp", strings.TrimPrefix(live.URL, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /sam/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	require.NoError(t, err)
	resp, err := http.Get(live.URL + "/sam/version/")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Contains(t, string(answer), " 408 ")
}
