package histology

// sums are the sums over all rectangles of a plane that begin at its corner: a
// summed-area table.
type sums[T int32 | float64] struct {
	wide int // columns and one
	at   []T // [H+1, W+1]
}

// newSums sums up a plane of w x h values.
func newSums[T int32 | float64](w, h int, value func(x, y int) T) sums[T] {
	s := sums[T]{w + 1, make([]T, (w+1)*(h+1))}
	for y := range h {
		var row T
		for x := range w {
			row += value(x, y)
			s.at[(y+1)*s.wide+x+1] = s.at[y*s.wide+x+1] + row
		}
	}
	return s
}

// in returns the sum over columns x0 to x1-1 and rows y0 to y1-1.
func (s sums[T]) in(x0, y0, x1, y1 int) T {
	return s.at[y1*s.wide+x1] - s.at[y0*s.wide+x1] - s.at[y1*s.wide+x0] + s.at[y0*s.wide+x0]
}
