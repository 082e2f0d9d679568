// Command embed writes the embeddings of the pictures in a folder, so that a
// decoder can be trained without the encoder.
//
//	go run ./weights/bundled/train/embed -wait 1200 frames
//
// Beside each NAME.png it writes NAME.npy, float32 [C, Grid, Grid], if that is
// not there yet. With -wait it goes on until there are so many.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/atomicfile"
)

func main() {
	path := flag.String("model", "", "checkpoint; none: the bundled one")
	wait := flag.Int("wait", 0, "embeddings to wait for; 0: those of the pictures that are there")
	flag.Parse()
	if err := run(context.Background(), *path, flag.Arg(0), *wait); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path, dir string, wait int) error {
	if dir == "" {
		return errors.New("no folder given")
	}
	m, err := load(path)
	if err != nil {
		return err
	}
	for {
		all, err := filepath.Glob(filepath.Join(dir, "*.png"))
		if err != nil {
			return err
		}
		done := 0
		for _, png := range all {
			to := strings.TrimSuffix(png, ".png") + ".npy"
			if _, err := os.Stat(to); err == nil {
				done++
				continue
			}
			if err := embed(ctx, m, png, to); err != nil {
				return fmt.Errorf("%s: %w", png, err)
			}
			done++
		}
		if done >= wait {
			fmt.Println(done, "embeddings")
			return nil
		}
		time.Sleep(time.Second)
	}
}

func load(path string) (*sam.Model, error) {
	if path == "" {
		return sam.Bundled()
	}
	return sam.Load(path)
}

func embed(ctx context.Context, m *sam.Model, png, to string) error {
	img, err := sam.OpenPicture(png)
	if err != nil {
		return err
	}
	e, err := m.Embed(ctx, img)
	if err != nil {
		return err
	}
	data, shape := e.Tensor()
	return atomicfile.Write(to, func(w io.Writer) error { return writeNPY(w, data, shape) })
}

// writeNPY writes an array in NumPy's format, version 1.
func writeNPY(w io.Writer, data []float32, shape [3]int) error {
	head := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d, %d), }", shape[0], shape[1], shape[2])
	head += strings.Repeat(" ", 63-(10+len(head))%64) + "\n"
	if _, err := fmt.Fprintf(w, "\x93NUMPY\x01\x00%c%c%s", byte(len(head)), byte(len(head)>>8), head); err != nil {
		return err
	}
	return binary.Write(w, binary.LittleEndian, data)
}
