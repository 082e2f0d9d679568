package sam

import (
	"fmt"

	"github.com/slidesam/sam/weights/bundled"
)

// Bundled returns the small pathology model inside the binary. It runs
// through the same code as every other checkpoint; its card is
// weights/bundled/README.md. It is for nuclei in H&E, see [Model.Defaults].
func Bundled() (*Model, error) {
	ck, err := bundled.Checkpoint()
	if err != nil {
		return nil, fmt.Errorf("sam: bundled model: %w", err)
	}
	defer ck.Close()
	m, err := fromCheckpoint(ck)
	if err != nil {
		return nil, fmt.Errorf("sam: bundled model: %w", err)
	}
	return m, nil
}
