//go:build !amd64 || purego || noasm

package kernel

// eightBits lists the implementations of products in 8 bits that this machine
// can run, best first.
func eightBits() []*eightBit { return []*eightBit{&generic8} }
