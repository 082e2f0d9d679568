package sam

import (
	"errors"
	"fmt"
	"image"
	"sync"

	"github.com/slidesam/sam/internal/picture"
)

// Errors about embeddings that belong to something else.
var (
	// ErrOtherModel is returned for an embedding that another model made.
	ErrOtherModel = errors.New("the embedding is another model's")
	// ErrOtherPicture is returned for an embedding of another picture.
	ErrOtherPicture = errors.New("the embedding is another picture's")
)

// Embedding is what the image encoder makes of a picture. It is immutable:
// keep it, share it among goroutines, save it with [Embedding.WriteTo].
type Embedding struct {
	fingerprint [16]byte
	digest      [32]byte // of the picture that Embed was given
	views       []*view  // of the picture as it is, and of its mirror images
	grid        int
	channels    int
	picture     Size // of the caller's picture
	input       Size // of the picture after resizing, before padding

	transpose sync.Once
	planes    []float32 // [Channels, Grid, Grid], made by Tensor
}

// view is the embedding of a picture turned over in one way.
type view struct {
	data []float32 // [Grid*Grid, Channels], channels last

	mu   sync.Mutex
	side *imageSide    // made by the first prediction
	busy chan struct{} // closed when the goroutine that makes side is done
}

// Tensor returns the embedding as Meta's code shapes it, [C, H, W]; a
// mirrored model's is that of the picture as it is. The caller must not change it.
func (e *Embedding) Tensor() (data []float32, shape [3]int) {
	e.transpose.Do(func() {
		e.planes = planes(e.views[0].data, e.channels)
	})
	return e.planes, [3]int{e.channels, e.grid, e.grid}
}

// planes returns [C, N] of [N, C].
func planes(data []float32, channels int) []float32 {
	out := make([]float32, len(data))
	n := len(data) / channels
	for c := range channels {
		for i := range n {
			out[c*n+i] = data[i*channels+c]
		}
	}
	return out
}

// PictureSize is the size of the picture that was embedded: the frame of
// prompts and masks.
func (e *Embedding) PictureSize() Size { return e.picture }

// Fingerprint is that of the model that made the embedding.
func (e *Embedding) Fingerprint() [16]byte { return e.fingerprint }

// Of returns an error that wraps [ErrOtherPicture] unless img is the picture that
// was embedded, pixel by pixel: it tells whether an embedding that was read from
// a file belongs to a picture.
func (e *Embedding) Of(img image.Image) error {
	p, err := picture.New(img)
	switch {
	case err != nil:
		return fmt.Errorf("sam: embedding: %w", err)
	case p.Digest() != e.digest:
		return fmt.Errorf("sam: embedding of a picture of %d x %d pixels, not of this one of %d x %d: %w", e.picture.W, e.picture.H, p.Bounds().W, p.Bounds().H, ErrOtherPicture)
	}
	return nil
}

// fits returns an error unless this model made the embedding.
func (m *Model) fits(e *Embedding) error {
	switch {
	case e == nil:
		return errors.New("no embedding: call Embed first")
	case e.fingerprint != m.fingerprint:
		return fmt.Errorf("%w: embed the picture with this model", ErrOtherModel)
	}
	return nil
}
