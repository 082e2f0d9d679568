package mask_test

import (
	"fmt"

	"github.com/slidesam/sam/internal/mask"
)

func Example() {
	m, err := mask.New(mask.Size{H: 3, W: 4}, func(x, y int) bool { return x > y })
	fmt.Println(m.Area(), m.Bounds(), m.RLE().Counts, err)
	// Output: 6 (1,0)-(4,3) [3 1 2 2 1 3] <nil>
}
