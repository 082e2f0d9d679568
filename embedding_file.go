package sam

import (
	"errors"
	"fmt"
	"io"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/embedfile"
	"github.com/slidesam/sam/internal/regular"
)

// ErrEmbeddingFile is returned for a file that holds no whole embedding.
var ErrEmbeddingFile = errors.New("not a whole embedding file")

// WriteTo writes the embedding in float32, with the model's fingerprint, the
// digest of the picture and a checksum. It implements [io.WriterTo].
func (e *Embedding) WriteTo(w io.Writer) (int64, error) {
	return e.write(w, embedfile.Float32)
}

// WriteFloat16 writes the embedding in half the bytes: values are rounded to
// float16, which moves them by at most 2^-11 of their magnitude.
func (e *Embedding) WriteFloat16(w io.Writer) (int64, error) {
	return e.write(w, embedfile.Float16)
}

func (e *Embedding) write(w io.Writer, t embedfile.Type) (int64, error) {
	n, err := e.encode(w, t)
	if err != nil {
		return n, fmt.Errorf("sam: write embedding: %w", err)
	}
	return n, nil
}

func (e *Embedding) encode(w io.Writer, t embedfile.Type) (int64, error) {
	var data []float32 // of all views, one after the other, as further channels
	for _, v := range e.views {
		data = append(data, planes(v.data, e.channels)...)
	}
	shape := [3]int{len(e.views) * e.channels, e.grid, e.grid}
	return embedfile.Write(w, &embedfile.Embedding{
		Fingerprint: e.fingerprint, Shape: shape, Picture: embedfile.Size(e.picture), Input: embedfile.Size(e.input), Digest: e.digest, Data: data,
	}, t)
}

// Save writes the embedding to a file in float32, or in float16 if half is
// set. The file is whole or not there.
func (e *Embedding) Save(path string, half bool) error {
	t := embedfile.Float32
	if half {
		t = embedfile.Float16
	}
	err := atomicfile.Write(path, func(w io.Writer) error {
		_, err := e.encode(w, t)
		return err
	})
	if err != nil {
		return fmt.Errorf("sam: save embedding %s: %w", path, err)
	}
	return nil
}

// ReadEmbedding reads what [Embedding.WriteTo] or [Embedding.WriteFloat16]
// wrote. It returns an error that wraps [ErrEmbeddingFile] if the content is
// damaged, and one that wraps [ErrOtherModel] if another model made it.
// [Embedding.Of] tells whether it is of a picture.
func (m *Model) ReadEmbedding(r io.Reader) (*Embedding, error) {
	e, err := m.readEmbedding(r)
	if err != nil {
		return nil, fmt.Errorf("sam: read embedding: %w", err)
	}
	return e, nil
}

func (m *Model) readEmbedding(r io.Reader) (*Embedding, error) {
	f, err := embedfile.Read(r)
	if errors.Is(err, embedfile.ErrFormat) {
		return nil, fmt.Errorf("%w: %w", ErrEmbeddingFile, err)
	}
	if err != nil {
		return nil, err
	}
	c := m.encoder
	switch {
	case f.Fingerprint != m.fingerprint:
		return nil, fmt.Errorf("%w: embed the picture with this model", ErrOtherModel)
	case f.Shape != [3]int{len(m.mirrors) * c.Channels(), c.Grid(), c.Grid()} || Size(f.Input) != inputSize(Size(f.Picture), c.ImageSize()):
		return nil, fmt.Errorf("%w: shape %v of a picture of %v does not fit the model", ErrEmbeddingFile, f.Shape, Size(f.Picture))
	}
	e := &Embedding{fingerprint: f.Fingerprint, digest: f.Digest, grid: c.Grid(), channels: c.Channels(), picture: Size(f.Picture), input: Size(f.Input)}
	n := e.grid * e.grid
	for all := f.Data; len(all) > 0; all = all[n*e.channels:] {
		data := make([]float32, n*e.channels)
		for k := range e.channels {
			for i := range n {
				data[i*e.channels+k] = all[k*n+i]
			}
		}
		e.views = append(e.views, &view{data: data})
	}
	return e, nil
}

// LoadEmbedding reads the file that [Embedding.Save] wrote; see
// [Model.ReadEmbedding].
func (m *Model) LoadEmbedding(path string) (*Embedding, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("sam: read embedding: %w", err)
	}
	defer f.Close()
	e, err := m.readEmbedding(f)
	if err != nil {
		return nil, fmt.Errorf("sam: read embedding %s: %w", path, err)
	}
	return e, nil
}
