package serve_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/serve"
)

// TestServerToKill is the server that TestKilledServerLosesNothing kills.
func TestServerToKill(t *testing.T) {
	dir := os.Getenv("SAM_SERVER_TO_KILL")
	if dir == "" {
		t.Skip("a part of TestKilledServerLosesNothing")
	}
	s := newServer(t, serve.Config{Demo: demo(), Annotations: dir, Jobs: dir, Addr: "127.0.0.1:0"})
	require.NoError(t, s.Run(t.Context(), func(addr string) { fmt.Println("address", addr) }))
}

// TestKilledServerLosesNothing kills a server with SIGKILL while it saves
// edits and runs a job. Every edit that was acknowledged is there, and the job
// goes on.
func TestKilledServerLosesNothing(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	var first job
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestServerToKill$")
		cmd.Env = append(os.Environ(), "SAM_SERVER_TO_KILL="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		addr := ""
		for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
			_, _ = fmt.Sscanf(lines.Text(), "address %s", &addr)
		}
		require.NotEmpty(t, addr)
		base := "http://" + addr + "/v1/slides"
		var list []struct{ ID string }
		require.NoError(t, ask(base, nil, &list))
		base += "/" + list[0].ID
		if round == 0 {
			require.NoError(t, ask(base+"/jobs", map[string]any{"kind": "nuclei", "region": []int{600, 200, 300, 300}}, &first))
		}
		kill := time.AfterFunc(time.Duration(300+170*round)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		for i := 0; ; i++ {
			var e edit
			if ask(base+"/annotations", map[string]any{"add": []any{feature(square(float64(i), float64(round), 5), "Tumor")}}, &e) != nil {
				break // it is dead
			}
			acknowledged[e.Added[0].ID.(string)] = true
		}
		kill.Stop()
		_ = cmd.Wait()
	}
	t.Logf("%d edits were acknowledged", len(acknowledged))
	require.Greater(t, len(acknowledged), 10)
	c := newClient(t, newServer(t, serve.Config{Demo: demo(), Annotations: dir, Jobs: dir}))
	have := map[string]bool{}
	for _, f := range c.annotations().Features {
		have[f.ID.(string)] = true
	}
	for id := range acknowledged {
		assert.True(t, have[id], id)
	}
	require.Eventually(t, func() bool {
		c.get("/v1/jobs/"+first.ID, &first)
		return first.State == "done"
	}, time.Minute, 50*time.Millisecond)
}

// ask sends a request to a live server.
func ask(url string, body, answer any) error {
	var resp *http.Response
	var err error
	if body == nil {
		resp, err = http.Get(url)
	} else {
		var b []byte
		if b, err = json.Marshal(body); err != nil {
			return err
		}
		resp, err = http.Post(url, "application/json", bytes.NewReader(b))
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("status %s", resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
