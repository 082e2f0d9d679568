package jpeg2000

import "fmt"

// Styles of code blocks (T.800, table A.19).
const (
	styleBypass  = 1 << iota // raw bits in the lower bit planes
	styleReset               // contexts anew with each pass
	styleEnd                 // each pass ends its segment
	styleCausal              // contexts know nothing of the four rows below
	stylePredict             // the ends can be checked; they are not here
	styleMarks               // a symbol ends each bit plane
)

// The first passes of a block are coded even if the others bypass the coder.
const codedPasses = 10

// maxPlanes is the most bit planes of a block: its coefficients, doubled, have a
// sign beside them in 32 bits.
const maxPlanes = 30

// segment is a piece of a block's data that ends by itself.
type segment struct {
	passes int
	data   []byte
}

// block is a code block: its place in the subband and what the packets brought.
type block struct {
	x0, y0, x1, y1 int
	empty          int // bit planes of zeros
	lengthBits     int
	passes         int
	room           int // passes that the last segment may still take
	segs           []segment
}

// segmentPasses returns how many passes a segment may hold that begins with a
// block's pass number n.
func segmentPasses(style uint8, n int) int {
	switch {
	case style&styleEnd != 0:
		return 1
	case style&styleBypass == 0:
		return 1 << 30
	case n < codedPasses:
		return codedPasses - n
	case n%3 == 1: // the two raw ones
		return 2
	}
	return 1
}

// decode decodes a block with planes bit planes, those of zeros not among them.
func (b *blockDecoder) decode(k *block, kind int, style uint8, planes int) error {
	if planes > maxPlanes {
		return fmt.Errorf("code block of %d bit planes, over %d: %w", planes, maxPlanes, ErrUnsupported)
	}
	if planes < 1 || k.passes > 3*planes-2 {
		return fmt.Errorf("code block of %d coding passes for %d bit planes: %w", k.passes, planes, ErrCorrupt)
	}
	b.begin(k.x1-k.x0, k.y1-k.y0, kind, style&styleCausal != 0)
	b.mq.reset()
	n := 0
	for _, s := range k.segs {
		raw := style&styleBypass != 0 && n >= codedPasses && n%3 != 0
		if raw {
			b.raw.start(s.data)
		} else {
			b.mq.start(s.data)
		}
		for range s.passes {
			plane := uint(planes - 1 - (n+2)/3)
			switch {
			case n%3 == 1 && raw:
				b.rawSignificance(plane)
			case n%3 == 1:
				b.significance(plane)
			case n%3 == 2 && raw:
				b.rawRefinement(plane)
			case n%3 == 2:
				b.refinement(plane)
			default:
				b.cleanup(plane)
				if style&styleMarks != 0 && !b.marker() {
					return fmt.Errorf("code block: segmentation symbol is missing: %w", ErrCorrupt)
				}
			}
			if style&styleReset != 0 {
				b.mq.reset()
			}
			n++
		}
	}
	return nil
}
