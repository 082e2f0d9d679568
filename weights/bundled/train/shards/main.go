// Command shards writes synthetic pictures with their truth for training.
//
//	go run ./weights/bundled/train/shards -out shards -seed 1000 -n 400
//
// Each shard is a set of npy files with a common prefix, [N, S, S] each:
// image (uint8, one more axis of 3), nuclei (uint16 labels), gland (uint8
// labels) and flags (uint8: bit 0 tumour, bit 1 tissue); index.json lists seed,
// place, mpp and JPEG quality of each picture. Equal arguments give equal files.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/slidesam/sam/internal/synth"
)

type entry struct {
	Seed    uint64  `json:"seed"`
	X       int     `json:"x"`
	Y       int     `json:"y"`
	MPP     float64 `json:"mpp"`
	Quality int     `json:"quality"`
	Nuclei  int     `json:"nuclei"`
	Glands  int     `json:"glands"`
}

func main() {
	out := flag.String("out", "shards", "folder to write to")
	seed := flag.Uint64("seed", 1000, "seed of the first slide")
	n := flag.Int("n", 100, "pictures")
	size := flag.Int("size", 640, "pixels per side")
	per := flag.Int("per", 50, "pictures per shard")
	coarse := flag.Float64("coarse", 0.3, "share of pictures at 0.8 to 2.2 micrometres per pixel; the others have 0.2 to 0.5")
	fixed := flag.Float64("mpp", 0, "one scale for all pictures instead of the mixture")
	flag.Parse()
	if err := run(*out, *seed, *n, *size, *per, *coarse, *fixed); err != nil {
		fmt.Fprintln(os.Stderr, "shards:", err)
		os.Exit(1)
	}
}

func run(dir string, seed uint64, n, size, per int, coarse, fixed float64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for first := 0; first < n; first += per {
		if err := shard(dir, first/per, seed+uint64(first), min(per, n-first), size, coarse, fixed); err != nil {
			return err
		}
		fmt.Printf("%d of %d pictures\n", min(first+per, n), n)
	}
	return nil
}

func shard(dir string, num int, seed uint64, n, size int, coarse, fixed float64) error {
	img := make([]byte, 0, n*size*size*3)
	nuc := make([]byte, 0, n*size*size*2)
	gland := make([]byte, 0, n*size*size)
	flags := make([]byte, 0, n*size*size)
	var index []entry
	for i := range n {
		p, t, e, err := picture(seed+uint64(i), size, coarse, fixed)
		if err != nil {
			return err
		}
		index = append(index, e)
		for k := range size * size {
			o := k/size*p.Stride + k%size*4
			img = append(img, p.Pix[o], p.Pix[o+1], p.Pix[o+2])
			nuc = append(nuc, byte(t.Nuclei[k]), byte(t.Nuclei[k]>>8))
			gland = append(gland, byte(t.Glands[k]))
			var f byte
			if t.Tumour[k] {
				f |= 1
			}
			if t.Tissue[k] {
				f |= 2
			}
			flags = append(flags, f)
		}
	}
	// The index comes last: a shard without one is not complete.
	for _, f := range []struct {
		name, kind string
		data       []byte
		last       string
	}{{"image", "|u1", img, ", 3"}, {"nuclei", "<u2", nuc, ""}, {"gland", "|u1", gland, ""}, {"flags", "|u1", flags, ""}} {
		path := filepath.Join(dir, fmt.Sprintf("%04d-%s.npy", num, f.name))
		if err := writeNPY(path, f.kind, fmt.Sprintf("(%d, %d, %d%s)", n, size, size, f.last), f.data); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(index, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d-index.json", num)), b, 0o644)
}

// picture draws one picture of one slide, at a place that is mostly tissue.
func picture(seed uint64, size int, coarse, fixed float64) (*image.RGBA, *synth.Truth, entry, error) {
	r := rand.New(rand.NewPCG(seed, 0x51AB))
	e := entry{Seed: seed, MPP: 0.2 * math.Exp(r.Float64()*math.Log(2.5)), Quality: 55 + r.IntN(42)}
	if r.Float64() < coarse {
		e.MPP = 0.8 * math.Exp(r.Float64()*math.Log(2.75))
	}
	if fixed > 0 {
		e.MPP = fixed
	}
	s := synth.New(seed, synth.Options{Artefacts: r.IntN(3) == 0})
	side := int(100000 * 0.25 / e.MPP)
	for try := 0; ; try++ {
		e.X, e.Y = r.IntN(side-size), r.IntN(side-size)
		// A look at 1/16 of the scale: enough tissue? Early on also ask for a gland or tumour.
		_, t := s.Region(e.X/16, e.Y/16, max(size/16, 1), max(size/16, 1), e.MPP*16)
		tissue, special := 0, 0
		for k := range t.Tissue {
			if t.Tissue[k] {
				tissue++
				if t.Tumour[k] || t.Glands[k] > 0 {
					special++
				}
			}
		}
		if all := len(t.Tissue); try > 200 || tissue*10 > all*6 && (try > 6 || special*8 > all) {
			break
		}
	}
	img, t := s.Region(e.X, e.Y, size, size, e.MPP)
	e.Nuclei, e.Glands = len(t.List), t.GlandN
	if len(t.List) > math.MaxUint16 || t.GlandN > math.MaxUint8 {
		return nil, nil, e, fmt.Errorf("seed %d: %d nuclei, %d glands: too many for the shard's labels", seed, len(t.List), t.GlandN)
	}
	img, err := synth.JPEG(img, e.Quality)
	return img, t, e, err
}

func writeNPY(path, kind, shape string, data []byte) error {
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", kind, shape)
	for (10+len(head)+1)%64 != 0 {
		head += " "
	}
	head += "\n"
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, "\x93NUMPY\x01\x00%c%c%s", byte(len(head)), byte(len(head)>>8), head)
	w.Write(data)
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
