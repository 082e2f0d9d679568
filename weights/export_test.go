package weights

// OpenRaw reads a file with the names that it has for its tensors.
func OpenRaw(data []byte) (*Checkpoint, error) {
	return read(&mapping{data: data}, func(tensors map[string]*Tensor, _ map[string]string, file *mapping) (*Checkpoint, error) {
		return newCheckpoint(tensors, Original, file), nil
	})
}
