package weights

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/slidesam/sam/weights/internal/zipfile"
)

// Open reads the headers of a checkpoint file and maps its values.
//
// It reads .pth and .pt files, as torch.save has written them since PyTorch
// 1.6, .safetensors files, and .npz files, in any of the Layouts, and gives
// their tensors the names of Original. A model in several files is opened by its
// index, such as model.safetensors.index.json. The format is told from the
// content, not from the name. Nothing in the file is executed: objects of a
// pickle that are not tensors or containers are skipped. Opening reads no
// values: damage in them shows in Float32s. Pipes and devices are refused.
//
// An error wraps ErrFormat if the file is of another kind or damaged, and says
// what it is and what to do. The file should not be changed while it is open:
// reading what was cut off is an error that wraps ErrChanged where this package
// reads, and ends the program where the caller reads a slice of
// [Tensor.Float32s]; [Param.Use] guards that. [Checkpoint.Unchanged] tells
// afterwards.
func Open(path string) (*Checkpoint, error) { return openFile(path, normalize) }

// namer gives the tensors of a file the names of a network. opaque are its
// objects that are no tensors, by what they are.
type namer func(tensors map[string]*Tensor, opaque map[string]string, file *mapping) (*Checkpoint, error)

func openFile(path string, names namer) (*Checkpoint, error) {
	file, err := mapFile(path)
	if err != nil {
		if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
			cause := pe.Err // the path is named below
			if errors.Is(err, ErrFormat) {
				cause = formatError{cause}
			}
			err = cause
		}
		return nil, fmt.Errorf("weights: open %s: %w", path, err)
	}
	var c *Checkpoint
	err = guarded(func() error {
		if err := refusePart(path); err != nil {
			return err
		}
		c, err = read(file, names)
		return err
	})
	file.doneOpening()
	if err != nil {
		_ = file.close()
		return nil, fmt.Errorf("weights: open %s: %w", path, formatError{err})
	}
	return c, nil
}

// OpenBytes reads a checkpoint that is in memory, such as one embedded in the
// program, as Open reads a file. The checkpoint aliases data, which must not
// change; data at an odd address are copied when they are read.
func OpenBytes(data []byte) (*Checkpoint, error) {
	c, err := read(&mapping{data: data}, normalize)
	if err != nil {
		return nil, fmt.Errorf("weights: open %d bytes: %w", len(data), formatError{err})
	}
	return c, nil
}

// read finds the format of a file and reads it.
func read(file *mapping, names namer) (*Checkpoint, error) {
	from := readTensors
	if isIndex(file.data) {
		from = readParts
	}
	tensors, opaque, err := from(file)
	if err != nil {
		return nil, err
	}
	c, err := names(tensors, opaque, file)
	if err != nil {
		return nil, err
	}
	return c.noting(file.notes), nil
}

// readTensors returns the tensors of a file by their names in it, and what its
// other objects are. It sets the file's notes.
func readTensors(file *mapping) (tensors map[string]*Tensor, opaque map[string]string, err error) {
	b := file.data
	switch {
	case isSafetensors(b):
		tensors, file.notes, err = readSafetensors(file)
		return tensors, nil, err
	case zipfile.IsZip(b):
		entries, comment, err := zipfile.Read(file, len(b))
		if err != nil {
			return nil, nil, err
		}
		if file.notes, err = parseComment(comment); err != nil {
			return nil, nil, err
		}
		if isNPZ(entries) {
			tensors, err = readNPZ(file, entries)
			return tensors, nil, err
		}
		return readTorch(file, entries)
	}
	return nil, nil, unknownFile(b)
}
