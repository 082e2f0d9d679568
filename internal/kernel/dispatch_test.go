package kernel

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestImplementations says what this machine could not test. In CI a machine
// without AVX2 fails: the tests would pass without having run what users run.
func TestImplementations(t *testing.T) {
	var have []string
	for _, im := range impls() {
		have = append(have, im.name)
	}
	var have8 []string
	for _, im := range eightBits() {
		have8 = append(have8, im.name)
	}
	t.Logf("in use: %s; tested: %s; in 8 bits: %s", Name(), strings.Join(have, ", "), strings.Join(have8, ", "))
	if Name() != have[0] {
		t.Fatalf("in use: %s, want the best of %v", Name(), have)
	}
	if Name8() != have8[0] {
		t.Fatalf("in use for 8 bits: %s, want the best of %v", Name8(), have8)
	}
	lack := missing()
	if len(lack) == 0 {
		return
	}
	switch {
	case strings.Contains(os.Getenv("GODEBUG"), "cpu."):
		t.Logf("turned off or missing: %v", lack)
	case os.Getenv("CI") == "true" && runtime.GOARCH == "amd64" && slices.Contains(lack, "avx2"):
		t.Fatalf("this CPU cannot run %v", lack)
	default:
		t.Skipf("this CPU cannot run %v", lack)
	}
}
