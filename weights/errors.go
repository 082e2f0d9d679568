package weights

import "errors"

// Errors that callers may want to tell apart with errors.Is.
var (
	// ErrNotFinite is wrapped when a weight is NaN or infinite.
	ErrNotFinite = errors.New("not a finite weight")
	// ErrMissing is wrapped when a tensor that a network needs is absent.
	ErrMissing = errors.New("missing")
	// ErrUnexpected is wrapped by Bind for a tensor that no field asks for.
	ErrUnexpected = errors.New("unexpected")
	// ErrShape is wrapped by Bind for a tensor of the wrong shape.
	ErrShape = errors.New("wrong shape")
	// ErrClosed is wrapped when a checkpoint is used after Close.
	ErrClosed = errors.New("checkpoint is closed")
	// ErrFormat is wrapped by Open when the file is not a checkpoint that can
	// be read: another kind of file, another model, or a damaged file.
	ErrFormat = errors.New("not a readable checkpoint")
)

// formatError marks an error as one about the file's content.
type formatError struct{ err error }

func (e formatError) Error() string        { return e.err.Error() }
func (e formatError) Unwrap() error        { return e.err }
func (e formatError) Is(target error) bool { return target == ErrFormat }
