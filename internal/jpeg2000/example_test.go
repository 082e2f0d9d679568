package jpeg2000_test

import (
	"fmt"
	"testing"

	"github.com/slidesam/sam/internal/jpeg2000"
	"github.com/slidesam/sam/internal/tiff/tifftest"
)

func ExampleReadHeader() {
	h, err := jpeg2000.ReadHeader(tifftest.J2K("wave-256x256"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.W, h.H, len(h.Components), h.Levels, h.MCT, h.Reversible)
	// Output: 256 256 3 2 true true
}

func ExampleDecodeRGBA() {
	b := tifftest.J2K("wave-256x256")
	for _, reduce := range []int{0, 2} {
		pix, w, h, err := jpeg2000.DecodeRGBA(b, jpeg2000.Options{Reduce: reduce})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(w, h, pix[:4])
	}
	// Output:
	// 256 256 [128 248 128 255]
	// 64 64 [131 250 130 255]
}

func ExampleDecode() {
	p, err := jpeg2000.Decode(tifftest.J2K("deep-32x32"), jpeg2000.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	q := p.Planes[0]
	fmt.Println(len(p.Planes), q.Bits, q.W, q.H, q.Pix[:3])
	// Output: 1 16 32 32 [0 2000 4000]
}

func BenchmarkDecodeRGBA(b *testing.B) {
	for _, name := range []string{"products-64x64", "wave-256x256"} {
		in := tifftest.J2K(name)
		for reduce := range 2 {
			b.Run(fmt.Sprintf("%s/reduce=%d", name, reduce), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(in)))
				for b.Loop() {
					if _, _, _, err := jpeg2000.DecodeRGBA(in, jpeg2000.Options{Reduce: reduce}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
