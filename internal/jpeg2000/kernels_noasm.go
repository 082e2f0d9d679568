//go:build !amd64 || purego || noasm

package jpeg2000

// implementations lists the kernels that this machine can run, best first.
func implementations() []*kernels { return []*kernels{&generic} }

// missing lists the implementations of this architecture that the machine cannot
// run.
func missing() []string { return nil }
