package eval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"image"
	"os"
	"path/filepath"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/picture"
)

// reader is a model that can read embeddings back, as *sam.Model can.
type reader interface {
	LoadEmbedding(path string) (*sam.Embedding, error)
}

// embed embeds a picture, or reads its embedding from dir. The file's name is a
// hash of the model's fingerprint and the pixels, so that nothing else can be
// taken for it; a file that cannot be read, or is of another picture, is written
// again.
func embed(ctx context.Context, m Model, img image.Image, dir string) (*sam.Embedding, error) {
	rd, ok := m.(reader)
	if dir == "" || !ok {
		return m.Embed(ctx, img)
	}
	name, err := pixelHash(m, img)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name+".embedding")
	if e, err := rd.LoadEmbedding(path); err == nil && e.Of(img) == nil {
		return e, nil
	}
	e, err := m.Embed(ctx, img)
	if err != nil {
		return nil, err
	}
	return e, e.Save(path, false)
}

func pixelHash(m Model, img image.Image) (string, error) {
	p, err := picture.New(img)
	if err != nil {
		return "", err
	}
	fp, digest := m.Fingerprint(), p.Digest()
	sum := sha256.Sum256(append(fp[:], digest[:]...))
	return hex.EncodeToString(sum[:16]), nil
}
