package serve_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"net"
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
)

// hugePNG is the beginning of a picture of 100,000 x 100,000 pixels.
func hugePNG() string {
	h := []byte("IHDR\x00\x01\x86\xa0\x00\x01\x86\xa0\x08\x02\x00\x00\x00")
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d")
	b = append(b, h...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(h))
	return base64.StdEncoding.EncodeToString(b)
}

const token = "a-token_of-24-characters"

// TestHostileRequests sends what no client means well with, each with the
// status it gets. Nothing ends in status 500.
func TestHostileRequests(t *testing.T) {
	m, err := own()
	require.NoError(t, err)
	outside, dir := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret.pth")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "link.pth")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "text.pth"), []byte("no checkpoint"), 0o600))
	open := newServer(t, serve.Config{Model: m, Weights: dir, MaxBody: 4 << 20, MaxPixels: 1 << 20, MaxPrompts: 8})
	wide := newServer(t, serve.Config{Model: m})
	closed := newServer(t, serve.Config{Model: m, Token: token, Addr: "0.0.0.0:0"})
	img := encoded(t, field())
	body := func(rest string) string { return `{"b64img":"` + img + `",` + rest + `}` }
	type headers map[string]string
	for _, tt := range []struct {
		name         string
		server       http.Handler
		method, path string
		body         string
		headers      headers
		want         int
	}{
		{"another site's name points here", open, "GET", "/sam/version/", "", headers{"Host": "evil.example:8000"}, 421},
		{"another site's page writes", open, "POST", "/sam/", body(`"bbox":[1,1,50,50]`), headers{"Sec-Fetch-Site": "cross-site"}, 403},
		{"another port's page writes", open, "POST", "/sam/", body(`"bbox":[1,1,50,50]`), headers{"Origin": "http://localhost:9000"}, 403},
		{"another site's page reads", open, "GET", "/sam/weights/", "", headers{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403},
		{"a link that cancels", open, "GET", "/sam/weights/cancel/", "", headers{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403},
		{"a form", open, "POST", "/sam/", "b64img=x", headers{"Content-Type": "application/x-www-form-urlencoded"}, 415},
		{"text that is JSON", open, "POST", "/sam/", body(`"bbox":[1,1,50,50]`), headers{"Content-Type": "text/plain"}, 415},
		{"no token", closed, "GET", "/sam/version/", "", nil, 401},
		{"a wrong token", closed, "GET", "/sam/version/", "", headers{"Authorization": "Bearer x"}, 401},
		{"a wrong token in the path", closed, "GET", "/t/x/sam/version/", "", nil, 401},
		{"half a token in the path", closed, "GET", "/t/" + token[:8] + "/sam/version/", "", nil, 401},
		{"the wrong method", open, "DELETE", "/sam/weights/", "", nil, 404},
		{"no body", open, "POST", "/sam/", "", nil, 422},
		{"no JSON", open, "POST", "/sam/", "{", nil, 422},
		{"a list", open, "POST", "/sam/", "[]", nil, 422},
		{"two bodies", open, "POST", "/sam/", "{} {}", nil, 422},
		{"deep JSON", open, "POST", "/sam/", strings.Repeat("[", 200_000), nil, 422},
		{"no picture", open, "POST", "/sam/", `{}`, nil, 422},
		{"no base64", open, "POST", "/sam/", `{"b64img":"***"}`, nil, 422},
		{"no picture in base64", open, "POST", "/sam/", `{"b64img":"AAAA"}`, nil, 422},
		{"a picture of 100,000 x 100,000", open, "POST", "/sam/", `{"b64img":"` + hugePNG() + `"}`, nil, 413},
		{"half a picture", open, "POST", "/sam/", `{"b64img":"` + img[:len(img)/8*4] + `","bbox":[1,1,9,9]}`, nil, 422},
		{"a large body", open, "POST", "/sam/", `{"b64img":"` + strings.Repeat("A", 5<<20) + `"}`, nil, 413},
		{"a box of three numbers", open, "POST", "/sam/", body(`"bbox":[1,2,3]`), nil, 422},
		{"a box beyond float64", open, "POST", "/sam/", body(`"bbox":[1,2,3,1e400]`), nil, 422},
		{"a box beyond the picture", open, "POST", "/sam/", body(`"bbox":[-1e300,-1e300,1e300,1e300]`), nil, 200},
		{"points without labels", open, "POST", "/sam/", body(`"point_coords":[[1,1]]`), nil, 422},
		{"a label of 7", open, "POST", "/sam/", body(`"point_coords":[[1,1]],"point_labels":[7]`), nil, 422},
		{"many points", open, "POST", "/sam/", body(`"point_coords":[[1,1],[1,1],[1,1],[1,1],[1,1],[1,1],[1,1],[1,1],[1,1]],"point_labels":[1,1,1,1,1,1,1,1,1]`), nil, 422},
		{"a mask", open, "POST", "/sam/", body(`"b64mask":"AAAA","bbox":[1,1,9,9]`), nil, 422},
		{"an unknown type", open, "POST", "/sam/", body(`"type":"../../etc/passwd"`), nil, 422},
		{"SAM 2", open, "POST", "/sam/", body(`"type":"sam2_l","bbox":[1,1,9,9]`), nil, 404},
		{"an unknown checkpoint", open, "POST", "/sam/", body(`"type":"vit_b","bbox":[1,1,9,9],"checkpoint_url":"file:///etc/passwd"`), nil, 404},
		{"a million points a side", open, "POST", "/sam/automask/", body(`"points_per_side":1000000`), nil, 422},
		{"many crops", open, "POST", "/sam/automask/", body(`"crop_n_layers":9`), nil, 422},
		{"crops without points", open, "POST", "/sam/automask/", body(`"points_per_side":2,"crop_n_layers":2,"crop_n_points_downscale_factor":4`), nil, 422},
		{"masks beyond memory", wide, "POST", "/sam/automask/", `{"b64img":"` + encoded(t, image.NewGray(image.Rect(0, 0, 8000, 8000))) + `","points_per_side":64,"pred_iou_thresh":-1}`, nil, 422},
		{"an unknown output", open, "POST", "/sam/automask/", body(`"output_type":"x"`), nil, 422},
		{"a list of an unknown type", open, "GET", "/sam/weights/?type=x", "", nil, 422},
		{"weights out of the folder", open, "POST", "/sam/weights/", `{"type":"vit_b","name":"a","url":"file://` + secret + `"}`, nil, 403},
		{"weights above the folder", open, "POST", "/sam/weights/", `{"type":"vit_b","name":"a","url":"../secret.pth"}`, nil, 403},
		{"weights through a link", open, "POST", "/sam/weights/", `{"type":"vit_b","name":"a","url":"link.pth"}`, nil, 403},
		{"weights that are text", open, "POST", "/sam/weights/", `{"type":"vit_b","name":"a","url":"text.pth"}`, nil, 422},
		{"weights from any host", open, "POST", "/sam/weights/", `{"type":"vit_b","name":"a","url":"https://evil.example/a.pth"}`, nil, 403},
		{"weights from the cloud's own address", open, "POST", "/sam/weights/", `{"type":"vit_b","name":"a","url":"http://169.254.169.254/latest"}`, nil, 403},
		{"weights over another protocol", open, "POST", "/sam/weights/", `{"type":"vit_b","name":"a","url":"gopher://huggingface.co/a"}`, nil, 403},
		{"weights with a password", open, "POST", "/sam/weights/", `{"type":"vit_b","name":"a","url":"https://a:b@huggingface.co/a.pth"}`, nil, 403},
		{"weights for SAM 2", open, "POST", "/sam/weights/", `{"type":"sam2_l","name":"a","url":"https://huggingface.co/a.pth"}`, nil, 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "http://localhost:8000"+tt.path, strings.NewReader(tt.body))
			if tt.method == "POST" {
				r.Header.Set("Content-Type", "application/json")
			}
			for k, v := range tt.headers {
				r.Header.Set(k, v)
			}
			if h := r.Header.Get("Host"); h != "" {
				r.Host = h
			}
			w := httptest.NewRecorder()
			tt.server.ServeHTTP(w, r)
			assert.Equal(t, tt.want, w.Code, "%.300s", w.Body)
			if w.Code != 200 {
				assert.Contains(t, w.Body.String(), `"detail":"`)
			}
			assert.NotContains(t, w.Body.String(), outside)
			assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			assert.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
		})
	}
	b, err := os.ReadFile(secret)
	require.NoError(t, err)
	assert.Equal(t, "secret", string(b))
}

func TestTokenLetsIn(t *testing.T) {
	m, err := own()
	require.NoError(t, err)
	s := newServer(t, serve.Config{Model: m, Token: token, Addr: "0.0.0.0:0"})
	for _, path := range []string{"/t/" + token + "/sam/version/", "/sam/version"} {
		r := httptest.NewRequest("GET", "http://192.168.1.7:8000"+path, nil)
		if path == "/sam/version" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		assert.Equal(t, http.StatusOK, w.Code)
	}
}

func TestAddressBeyondLoopbackNeedsAToken(t *testing.T) {
	for _, tt := range []struct {
		addr, token string
		ok          bool
	}{
		{"127.0.0.1:8000", "", true}, {"[::1]:8000", "", true}, {"localhost:0", "", true},
		{"0.0.0.0:8000", "", false}, {":8000", "", false}, {"192.168.1.7:1", "short", false}, {"10.0.0.1:1", token, true},
		{"127.0.0.1:1", "with/slash", false}, {"127.0.0.1", "", false},
	} {
		assert.Equal(t, tt.ok, serve.CheckAddr(tt.addr, tt.token) == nil, "%v", tt)
	}
}

func TestPrivateAddressesAreNotFetchedFrom(t *testing.T) {
	for _, a := range []string{
		"127.0.0.1:80", "10.1.2.3:443", "172.16.0.1:80", "192.168.0.1:80", "169.254.169.254:80", "0.0.0.0:80", "100.64.1.1:80", "224.0.0.1:80", "255.255.255.255:1",
		"[::1]:80", "[fc00::1]:80", "[fe80::1]:80", "[::ffff:127.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[2002:7f00:1::]:80",
	} {
		assert.Error(t, serve.CheckPublic(a), a)
	}
	assert.NoError(t, serve.CheckPublic("151.101.1.1:443"))
	assert.NoError(t, serve.CheckPublic("[2606:4700::1111]:443"))
}

func TestShutdownFinishesRequests(t *testing.T) {
	m, err := own()
	require.NoError(t, err)
	s := newServer(t, serve.Config{Model: m, Addr: "127.0.0.1:0"})
	ctx, stop := context.WithCancel(t.Context())
	addr, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- s.Run(ctx, func(a string) { addr <- a }) }()
	a := <-addr
	host, _, err := net.SplitHostPort(a)
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1", host)
	status := make(chan int, 1)
	go func() {
		resp, err := http.Post("http://"+a+"/sam/", "application/json", bytes.NewBufferString(`{"bbox":[110,55,165,106],"b64img":"`+encoded(t, field())+`"}`))
		if !assert.NoError(t, err) {
			status <- 0
			return
		}
		defer resp.Body.Close()
		status <- resp.StatusCode
	}()
	require.Eventually(t, func() bool { return serve.Embeddings(s) > 0 }, 30*time.Second, time.Millisecond)
	stop()
	assert.Equal(t, http.StatusOK, <-status, "the request under way is answered")
	assert.NoError(t, <-done)
	_, err = http.Get("http://" + a + "/sam/version/")
	assert.Error(t, err)
}

func FuzzPredictBody(f *testing.F) {
	m, err := own()
	require.NoError(f, err)
	img := encoded(f, tiny())
	f.Add(`{"b64img":"` + img + `","bbox":[1,1,9,9]}`)
	f.Add(`{"b64img":"` + img + `","point_coords":[[1,2.5]],"point_labels":[1],"multimask_output":true,"type":null}`)
	f.Add(`{"b64img":"` + hugePNG() + `"}`)
	f.Add(`{"type":"vit_b","checkpoint_url":"x","b64mask":""}`)
	fuzzRoute(f, newServer(f, serve.Config{Model: m, MaxPixels: 1 << 12}), "/sam/")
}

func FuzzAutomaskBody(f *testing.F) {
	m, err := own()
	require.NoError(f, err)
	img := encoded(f, tiny())
	f.Add(`{"b64img":"` + img + `","points_per_side":2,"output_type":"Multi-mask (all)"}`)
	f.Add(`{"b64img":"` + img + `","points_per_side":1,"crop_n_layers":0,"box_nms_thresh":0,"stability_score_offset":0}`)
	f.Add(`{"points_per_side":-1}`)
	fuzzRoute(f, newServer(f, serve.Config{Model: m, MaxPixels: 1 << 12}), "/sam/automask/")
}

func FuzzWeightsBody(f *testing.F) {
	m, err := own()
	require.NoError(f, err)
	f.Add(`{"type":"vit_b","name":"a","url":"file:///etc/passwd"}`)
	f.Add(`{"type":"vit_b","name":"a","url":"../../x.pth"}`)
	f.Add(`{"type":"vit_b","name":"a","url":"http://[::1]:80/x"}`)
	fuzzRoute(f, newServer(f, serve.Config{Model: m, Weights: f.TempDir(), WeightHosts: []string{}}), "/sam/weights/")
}

// fuzzRoute sends bodies to a route: no status of 500 and no panic.
func fuzzRoute(f *testing.F, s http.Handler, path string) {
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("POST", "http://localhost"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		assert.NotEqual(t, http.StatusInternalServerError, w.Code, "%s", w.Body)
	})
}
