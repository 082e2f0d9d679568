package kernel_test

import (
	"fmt"

	"github.com/slidesam/sam/internal/kernel"
)

// A linear layer: weights are packed once, then used for any number of rows.
func Example() {
	weight := []float32{1, 2, 3, 4, 5, 6} // [2, 3]
	w := kernel.Pack(weight, 2, 3)
	x := []float32{1, 0, 0, 0, 1, 1} // [2, 3]
	y := make([]float32, 4)
	kernel.Gemm(y, 2, x, 3, 2, w, kernel.Epilogue{Bias: []float32{10, 20}})
	fmt.Println(y)
	// Output: [11 24 15 31]
}

func ExampleLayerNorm() {
	x := []float32{1, 3}
	kernel.LayerNorm(x, x, []float32{1, 1}, []float32{0, 0}, 1, 2, 0)
	fmt.Println(x)
	// Output: [-1 1]
}

func ExampleAttention() {
	q := []float32{0}
	k := []float32{5, 7}
	v := []float32{1, 3}
	y := make([]float32, 1)
	kernel.Attention(y, q, k, v, 1, 1, 1, 2) // equal scores: the mean
	fmt.Println(y)
	// Output: [2]
}

func ExampleParallel() {
	squares := make([]int, 5)
	kernel.Parallel(len(squares), func(i int) { squares[i] = i * i })
	fmt.Println(squares)
	// Output: [0 1 4 9 16]
}
