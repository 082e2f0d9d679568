package weights

import (
	"errors"
	"fmt"
	"io/fs"
)

// Open reads the headers of a checkpoint file and maps its values.
//
// It reads .safetensors files of any of the Layouts, and gives their
// tensors the names of Original. The format is told from the content, not from
// the name. Opening reads no values: damage in them shows in Float32s.
//
// An error wraps ErrFormat if the file is of another kind or damaged, and says
// what it is and what to do. The file must not be changed while it is open.
func Open(path string) (*Checkpoint, error) {
	file, err := mapFile(path)
	if err != nil {
		if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
			err = pe.Err // the path is named below
		}
		return nil, fmt.Errorf("weights: open %s: %w", path, err)
	}
	c, err := read(file)
	if err != nil {
		_ = file.close()
		if !errors.Is(err, ErrFormat) {
			err = fmt.Errorf("%w: %w", err, ErrFormat)
		}
		return nil, fmt.Errorf("weights: open %s: %w", path, err)
	}
	return c, nil
}

// read finds the format of a file and reads it.
func read(file *mapping) (*Checkpoint, error) {
	var tensors map[string]*Tensor
	var err error
	switch b := file.data; {
	case isSafetensors(b):
		tensors, err = readSafetensors(file)
	default:
		return nil, errors.New("unknown kind of file")
	}
	if err != nil {
		return nil, err
	}
	return newCheckpoint(tensors, Original, file), nil
}
