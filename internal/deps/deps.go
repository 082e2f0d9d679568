// Package deps keeps pinned requirements in go.mod until the code that uses
// them has landed. It is removed before the first release.
package deps

import (
	_ "github.com/ajroetker/go-jpeg2000"
	_ "github.com/chewxy/hm"
	_ "github.com/edsrzf/mmap-go"
	_ "github.com/gen2brain/jpegn"
	_ "github.com/jedib0t/go-pretty/v6/table"
	_ "github.com/nlpodyssey/safetensors"
	_ "github.com/paulmach/orb/geojson"
	_ "github.com/sbinet/npyio/npz"
	_ "github.com/schollz/progressbar/v3"
	_ "github.com/spf13/cobra"
	_ "github.com/stretchr/testify/require"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/tiff/lzw"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/cpu"
	_ "gonum.org/v1/gonum/stat"
	_ "gonum.org/v1/plot/plotter"
	_ "gonum.org/v1/plot/vg/vgimg"
	_ "gonum.org/v1/plot/vg/vgsvg"
	_ "gorgonia.org/gorgonia"
	_ "gorgonia.org/gorgonia/encoding/dot"
	_ "gorgonia.org/tensor"
	_ "pgregory.net/rapid"
)
