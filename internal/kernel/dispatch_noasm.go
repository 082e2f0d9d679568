//go:build (!amd64 && !arm64) || purego || noasm

package kernel

// impls lists the implementations that this machine can run, best first.
func impls() []*impl { return []*impl{&generic} }

// missing lists the implementations of this architecture that the machine
// cannot run.
func missing() []string { return nil }
