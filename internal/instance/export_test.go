package instance

// WholeSegment is the post-processing over a whole map at once.
var WholeSegment = wholeSegment

// SquaredDistances is the distance transform.
var SquaredDistances = squaredDistances

// Smooth returns a map under the filter of a sigma; everywhere, since a
// threshold below all values makes every pixel foreground.
func Smooth(x []float32, h, w int, sigma float64) []float32 {
	f := newFilter(h, w, Options{ForegroundThreshold: -1, DistanceSmoothing: sigma}, boundary)
	var out []float32
	for y := range h {
		row := x[y*w : (y+1)*w]
		_ = f.add([maps][]float32{row, row, row}, func(r *smoothRow) error {
			out = append(out, r.smooth[boundary]...)
			return nil
		})
	}
	return out
}
