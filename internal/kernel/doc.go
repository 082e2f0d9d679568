// Package kernel holds the float32 kernels under the networks: matrix
// products, attention, normalisation and activations on plain slices.
//
// Matrices are row-major. Shapes in comments are written [rows, columns].
// Weights are packed once, with Pack, into the layout that the running
// machine's inner loops want, and are then used only in that form:
//
//	w := kernel.Pack(weight, 2304, 768)
//	kernel.Gemm(qkv, 2304, tokens, 768, 4096, w, kernel.Epilogue{Bias: bias})
//
// Every kernel exists as portable Go; on amd64 (AVX2 with FMA, AVX-512) and
// arm64 (NEON) assembly takes its place, chosen when the program starts. The
// build tags purego and noasm leave the assembly out, and GODEBUG=cpu.avx2=off
// turns it off for one run.
//
// Products in 8 bits, Pack8 and Gemm8, have implementations of their own: AVX2
// and AVX-512 VNNI on amd64, and Go, which on other processors is slower than
// their float32 kernels. All give the same integers.
//
// The order in which an output element is summed up depends on the inner
// dimension and on the implementation only: not on the number of rows, the
// row's place among them, or the number of goroutines. The same input thus
// gives the same bits with any GOMAXPROCS and any batch.
//
// Functions check the lengths of their slices and panic if they do not fit
// the sizes given: that is a mistake in the calling package, never in a
// user's file. Functions are safe for concurrent use on separate outputs.
package kernel
