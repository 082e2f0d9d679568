package sam_test

import (
	"os"
	"testing"

	"github.com/slidesam/sam"
)

func BenchmarkLoad(b *testing.B) {
	path := os.Getenv("SAM_WEIGHTS")
	if path == "" {
		b.Skip("set SAM_WEIGHTS to a checkpoint")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sam.Load(path); err != nil {
			b.Fatal(err)
		}
	}
}
