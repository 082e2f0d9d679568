package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// match checks the inputs' shapes against the wanted ones; -1 fits any size.
func match(in []tensor.Shape, want ...tensor.Shape) error {
	if len(in) != len(want) {
		return fmt.Errorf("%d inputs, want %d: %w", len(in), len(want), graph.ErrShape)
	}
	for i, w := range want {
		ok := len(in[i]) == len(w)
		for j := 0; ok && j < len(w); j++ {
			ok = w[j] == -1 || in[i][j] == w[j]
		}
		if !ok {
			return fmt.Errorf("input %d is %v, want %v: %w", i, in[i], w, graph.ErrShape)
		}
	}
	return nil
}
