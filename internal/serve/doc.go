// Package serve is slidesam's HTTP server: the interface that QuPath's SAM
// extension speaks to, a native one for scripts, and the viewer.
//
// Routes under /sam/ are those of samapi, so that an unmodified QuPath works
// with it; where samapi gives wrong scores, shifted outlines or an internal
// error, this server gives the right answer or a reason. Routes under /v1/ are
// described by openapi.json. Everything else is the viewer, whose files are
// in the binary.
//
//	s, err := serve.New(serve.Config{Slides: []string{"slides"}, Model: m})
//	...
//	defer s.Close()
//	err = s.Run(ctx) // http://127.0.0.1:8000/ until ctx is done
//
// The server listens on loopback unless told otherwise, and elsewhere only
// with a token. It reads and writes inside the folders that it was given and
// nowhere else. Input is bounded and never ends in status 500: whatever is
// wrong with a request has a status from 400 to 431, or 503 when the server has
// too much to do, and a reason in the field detail.
//
// Coordinates of the native interface are pixels of the slide's finest level,
// x right, y down, (0, 0) the corner of the first pixel. Coordinates under /sam/
// are those of the picture that was sent.
package serve
