package serve

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"time"
)

// webFiles is the viewer as web/build.mjs makes it.
//
//go:embed web/dist
var webFiles embed.FS

// webRoutes adds the viewer's files.
func (s *Server) webRoutes() error {
	dist, err := fs.Sub(webFiles, "web/dist")
	if err != nil {
		return err
	}
	list, err := fs.ReadDir(dist, ".")
	if err != nil {
		return err
	}
	for _, f := range list {
		b, err := fs.ReadFile(dist, f.Name())
		if err != nil {
			return err
		}
		pattern := "GET /" + f.Name()
		if f.Name() == "index.html" {
			pattern = "GET /{$}"
		}
		sum := sha256.Sum256(b)
		tag := `"` + hex.EncodeToString(sum[:8]) + `"`
		s.handle(pattern, func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("ETag", tag)
			if path.Ext(f.Name()) == ".js" {
				w.Header().Set("Content-Type", "text/javascript; charset=utf-8") // whatever the system says
			}
			http.ServeContent(w, r, f.Name(), time.Time{}, bytes.NewReader(b))
			return nil
		})
	}
	s.handle("/", func(http.ResponseWriter, *http.Request) error {
		return refuse(http.StatusNotFound, "nothing is served here; the viewer is at /, QuPath's URL is /sam/")
	})
	return nil
}
