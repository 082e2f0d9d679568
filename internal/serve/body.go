package serve

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // pictures that clients may send
	_ "image/jpeg"
	_ "image/png"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	_ "golang.org/x/image/bmp" // pictures that clients may send
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"
)

// smallBody is what a request without a picture may have.
const smallBody = 1 << 20

// readJSON reads the body of a request into v. Large bodies wait until there
// is memory for them; leave gives it back.
func (s *Server) readJSON(r *http.Request, limit int64, v any) (leave func(), err error) {
	leave = func() {}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return leave, refuse(http.StatusUnsupportedMediaType, "the body is of type %q, want application/json", r.Header.Get("Content-Type"))
	}
	limit = min(limit, s.c.MaxBody)
	n := r.ContentLength
	if n > limit {
		return leave, refuse(http.StatusRequestEntityTooLarge, "the request is of %d bytes, want at most %d", n, limit)
	}
	if n < 0 {
		n = limit
	}
	if n > smallBody {
		if leave, err = s.bodies.enter(r.Context(), n); err != nil {
			return func() {}, err
		}
	}
	defer func() {
		if err != nil {
			leave()
			leave = func() {}
		}
	}()
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return leave, refuse(http.StatusRequestTimeout, "the request took too long to come")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return leave, refuse(http.StatusBadRequest, "the request ends before its end")
	case err != nil:
		return leave, err
	}
	return leave, parseJSON(b, v)
}

// parseJSON reads one JSON value.
func parseJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(v); err != nil {
		return refuse(http.StatusUnprocessableEntity, "the body is not what is asked for: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return refuse(http.StatusUnprocessableEntity, "the body goes on after its JSON value")
	}
	return nil
}

// decodePicture reads a picture in base64, with or without the beginning of a
// data URL. Its size is looked at before anything is allocated for it.
func decodePicture(ctx context.Context, b64 string, maxPixels int) (image.Image, error) {
	if b64 == "" {
		return nil, refuse(http.StatusUnprocessableEntity, "b64img is missing: want a picture in base64")
	}
	if rest, ok := strings.CutPrefix(b64, "data:"); ok {
		_, b64, _ = strings.Cut(rest, ",")
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(b64)) // drops line ends
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "b64img is not base64: %v", err)
	}
	c, format, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "b64img is not a picture that can be read (PNG, JPEG, TIFF, GIF, BMP, WebP): %v", err)
	}
	if c.Width < 1 || c.Height < 1 {
		return nil, refuse(http.StatusUnprocessableEntity, "b64img is a picture without pixels")
	}
	if c.Height > maxPixels/c.Width {
		return nil, refuse(http.StatusRequestEntityTooLarge, "b64img has %d x %d pixels, want at most %d", c.Width, c.Height, maxPixels)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	img, err := decodeSafely(b)
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "b64img is a damaged %s picture: %v", format, err)
	}
	return img, nil
}

// decodeSafely decodes a picture; a decoder that panics on a damaged one
// counts as an error.
func decodeSafely(b []byte) (img image.Image, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot be decoded: %v", p)
		}
	}()
	img, _, err = image.Decode(bytes.NewReader(b))
	return img, err
}
