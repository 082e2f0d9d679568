package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/slidesam/sam/internal/atomicfile"
)

// namesFile lists what was registered, beside the checkpoints.
const namesFile = "slidesam-weights.json"

// registered is what was said when a checkpoint was registered.
type registered struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	Source string `json:"url"`
	SHA256 string `json:"sha256,omitempty"`
}

// readNames returns what was registered, by name of file.
func (m *models) readNames() (map[string]registered, error) {
	out := map[string]registered{}
	if m.root == nil {
		return out, nil
	}
	b, err := m.root.ReadFile(namesFile)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", namesFile, err)
	}
	return out, nil
}

// register adds an entry. One caller at a time.
func (m *models) register(file string, r registered) error {
	all, err := m.readNames()
	if err != nil {
		return err
	}
	all[file] = r
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(m.dir, namesFile), func(w io.Writer) error { _, err := w.Write(b); return err })
}
