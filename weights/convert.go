package weights

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/slidesam/sam/internal/atomicfile"
)

// ConvertOptions say how a checkpoint is written. The zero value writes float32
// and reports nothing.
type ConvertOptions struct {
	// DType is the type of the values in the file: Float32 or Float16. Values
	// are rounded to the nearest half; one too large for it is an error.
	DType DType
	// Progress, if set, is called with the bytes of values written so far and
	// their total, at most once for each mebibyte and once at the end.
	Progress func(done, total int64)
}

// Convert reads a checkpoint, of any format and layout that Open reads, and
// writes it in Meta's naming. The end of dst's name is the format:
//
//	.safetensors   as Hugging Face's library writes it
//	.npz           as numpy.savez writes it, float16 as '<f2'
//	.pth, .pt      a plain state dict that torch.load(weights_only=True) reads
//
// A file written is complete or not there: it is written beside dst, then
// renamed. dst may exist, and may be src. Cancelling ctx stops within a
// mebibyte. Weights that are NaN or infinite are an error, as in Float32s.
func Convert(ctx context.Context, src, dst string, o ConvertOptions) error {
	if _, err := writerFor(dst); err != nil { // before reading anything
		return fmt.Errorf("weights: convert: %w", err)
	}
	c, err := Open(src)
	if err != nil {
		return err
	}
	f, err := c.write(ctx, dst, o)
	// Some systems do not let a file be replaced while it is mapped.
	if cerr := c.Close(); err == nil {
		err = cerr
	}
	if err = commit(f, err); err != nil {
		return fmt.Errorf("weights: convert %s to %s: %w", src, dst, err)
	}
	return nil
}

// Save writes a checkpoint, of a file or in memory, as Convert does.
func (c *Checkpoint) Save(ctx context.Context, dst string, o ConvertOptions) error {
	f, err := c.write(ctx, dst, o)
	if err = commit(f, err); err != nil {
		return fmt.Errorf("weights: save %s: %w", dst, err)
	}
	return nil
}

// writerFor returns the function that writes the format dst's name asks for.
func writerFor(dst string) (func(io.Writer, *encoder) error, error) {
	switch ext := strings.ToLower(filepath.Ext(dst)); ext {
	case ".safetensors":
		return writeSafetensors, nil
	case ".npz":
		return writeNPZ, nil
	case ".pth", ".pt":
		return writeTorch, nil
	default:
		return nil, fmt.Errorf("format %q is unknown: end the name in .safetensors, .npz or .pth", ext)
	}
}

// write writes a checkpoint to a file that is not yet in its place. The file is
// nil if it could not be begun.
func (c *Checkpoint) write(ctx context.Context, dst string, o ConvertOptions) (*atomicfile.File, error) {
	write, err := writerFor(dst)
	if err != nil {
		return nil, err
	}
	e, err := newEncoder(ctx, c, o)
	if err != nil {
		return nil, err
	}
	f, err := atomicfile.Create(dst)
	if err != nil {
		return nil, err
	}
	return f, write(f, e)
}

// commit puts a file in its place, or drops it if err is not nil.
func commit(f *atomicfile.File, err error) error {
	if f == nil {
		return pathless(err)
	}
	if err != nil {
		return pathless(errors.Join(err, f.Close()))
	}
	return pathless(f.Commit())
}

// pathless removes the temporary file's name from an error.
func pathless(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	if le := (*os.LinkError)(nil); errors.As(err, &le) {
		return le.Err
	}
	return err
}
