package wsi

import "github.com/slidesam/sam/internal/tiff"

// depthTiles and depthPixels bound what is decoded to learn the range of a slide's
// samples.
const (
	depthTiles  = 16
	depthPixels = 1 << 24
)

// darkest is what 4095 of 65535, the most of 12 bits, is in 8.
const darkest = (4095 + 128) / 257

// deepRaster is a level whose samples may have 16 bits.
type deepRaster interface {
	raster
	// depth says whether they have, and whether 0 is white.
	depth() (deep, inverted bool)
}

func (r tiffRaster) depth() (deep, inverted bool) { return r.Bits() == 16, r.WhiteIsZero() }

func (r planes) depth() (deep, inverted bool) { return tiffRaster{r[0]}.depth() }

func (r pictureRaster) depth() (deep, inverted bool) { return r.deep, false }

// checkDepth refuses slides of 16 bits that would be black, as cameras of 12 bits
// write them: it looks at tiles of the coarsest level until one is bright.
func (s *Slide) checkDepth() error {
	if len(s.rasts) == 0 {
		return nil
	}
	last, ok := s.rasts[len(s.rasts)-1].(deepRaster)
	if !ok {
		return nil
	}
	deep, inverted := last.depth()
	if !deep {
		return nil
	}
	cols, rows, tw, th := last.grid()
	n, seen := min(depthTiles, cols*rows, max(1, depthPixels/(tw*th))), 0
	for k := range n {
		i := k * (cols * rows) / n
		seg, err := last.tile(i%cols, i/cols)
		if err != nil {
			continue // whoever reads it is told
		}
		if brightest(seg, inverted) > darkest {
			return nil
		}
		seen++
	}
	if seen == 0 {
		return nil
	}
	return ErrDark
}

// brightest returns the largest sample of a tile, or with inverted what the
// smallest is short of 255.
func brightest(seg *tiff.Segment, inverted bool) byte {
	var flip, top byte
	if inverted {
		flip = 255
	}
	for i := 0; i+3 < len(seg.Pix); i += 4 {
		p := seg.Pix[i : i+4]
		top = max(top, p[0]^flip, p[1]^flip, p[2]^flip)
	}
	return top
}
