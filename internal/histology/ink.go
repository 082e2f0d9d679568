package histology

import (
	"math"
	"slices"
)

// Constants of ink: what is printed on a slide, drawn on it, or its edge.
const (
	inkNeutral   = 0.2  // colour of ink without one, of its darkness
	inkLeast     = 0.05 // darkness of a neutral pixel at least
	inkColoured  = 0.12 // and of one that has the colour of a marker
	inkDark      = 0.35 // strokes without colour that are not straight are darker
	inkEven      = 0.3  // standard deviation inside it at most, of its mean
	inkSlim      = 6    // times as long as thick at least
	inkThick     = 40   // parts of the picture's longer side that a stroke is thick at most
	inkAlone     = 2.5  // times the sides of its box and its thickness: more pixels are a net's
	inkLong      = 12   // parts of the picture's longer side that a stroke is long at least
	inkStraight  = 0.75 // of the pixels lie on its straight runs
	inkSide      = 4    // at least that part of a side of the picture is dark, if it shows a slide's edge
	inkHalo      = 2    // pixels around it that its blur reaches
	inkOfAColour = 0.5  // of all pixels of a marker's colour at least, or tissue has it
)

// ink returns the pixels of registration marks, edges of slides and coverslips,
// and strokes of markers.
//
// All of them are even inside, which no tissue is at any scale. Marks and edges
// have no colour, and are straight and slim or lie along the picture's edge. A
// picture without glass has none.
// Strokes are slim; those of a coloured marker are told from tissue by a colour
// that little else on the slide has.
func (f *field) ink() []bool {
	found := make([]bool, f.w*f.h)
	mark := func(part []int32) {
		for _, i := range part {
			x, y := int(i)%f.w, int(i)/f.w
			for j := max(y-inkHalo, 0); j <= min(y+inkHalo, f.h-1); j++ {
				for k := max(x-inkHalo, 0); k <= min(x+inkHalo, f.w-1); k++ {
					found[j*f.w+k] = true
				}
			}
		}
	}
	if !f.glass {
		return found
	}
	mark(f.edges())
	for _, part := range parts(f.where(func(i int) bool { return f.neutral(i) && !found[i] }), f.w, f.h) {
		s := f.shape(part)
		if s.even && s.slim && (s.straight || s.mean > inkDark) {
			mark(part)
		}
	}
	for _, colour := range []func(r, g, b float32) bool{
		func(r, g, b float32) bool { return g < 0.6*min(r, b) },            // green
		func(r, g, b float32) bool { return r > 1.7*g && b < 0.6*g },       // blue
		func(r, g, b float32) bool { return r < 0.35*g && b > 0.75*g },     // red
		func(r, g, b float32) bool { return r < 0.2*b && g < 0.45*b },      // yellow
		func(r, g, b float32) bool { return r > 2.2*max(g, b) && g < 2*b }, // turquoise
	} {
		var strokes [][]int32
		n, all := 0, 0
		for _, part := range parts(f.where(func(i int) bool {
			return f.dark[i] > inkColoured && colour(f.od[0][i], f.od[1][i], f.od[2][i])
		}), f.w, f.h) {
			all += len(part)
			if s := f.shape(part); s.even && s.slim && s.long*inkLong >= max(f.w, f.h) {
				strokes = append(strokes, part)
				n += len(part)
			}
		}
		if float64(n) < inkOfAColour*float64(all) {
			continue
		}
		for _, s := range strokes {
			mark(s)
		}
	}
	return found
}

func (f *field) where(is func(i int) bool) []bool {
	in := make([]bool, f.w*f.h)
	for i := range in {
		in[i] = is(i)
	}
	return in
}

// neutral reports whether a pixel is dark and has no colour.
func (f *field) neutral(i int) bool {
	return f.dark[i] > inkLeast && f.colour[i] < inkNeutral*f.dark[i]+f.limit.colour
}

// shape is what a part looks like.
type shape struct {
	mean     float32
	long     int  // pixels
	even     bool // inside, all pixels are equally dark
	slim     bool // a line or several, thin beside their length
	straight bool // its pixels lie on long runs along rows or columns, or on one line
}

func (f *field) shape(part []int32) shape {
	x0, y0, x1, y1 := f.w, f.h, 0, 0
	for _, i := range part {
		x, y := int(i)%f.w, int(i)/f.w
		x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x+1), max(y1, y+1)
	}
	w, h := x1-x0, y1-y0
	depth := depths(part, f.w, x0, y0, w, h)
	deepest := 0
	for _, d := range depth {
		deepest = max(deepest, int(d))
	}
	thick := 2*deepest - 1
	s := shape{long: max(w, h), slim: thick*inkThick <= max(f.w, f.h)+2*inkThick && max(w, h) >= inkSlim*thick && float64(len(part)) <= inkAlone*float64(thick*(w+h))}
	// Inside is the deeper half: the rim is blurred.
	n, sum, square := 0.0, 0.0, 0.0
	for _, i := range part {
		x, y := int(i)%f.w-x0, int(i)/f.w-y0
		if 2*int(depth[y*w+x]) > deepest {
			v := float64(f.dark[i])
			n, sum, square = n+1, sum+v, square+v*v
		}
	}
	mean := sum / n
	s.mean = float32(mean)
	s.even = math.Sqrt(max(square/n-mean*mean, 0)) < inkEven*mean
	s.straight = s.slim && isStraight(part, f.w, x0, y0, w, h, thick)
	return s
}

// depths returns how many times each pixel of the box outlives the loss of the
// outermost pixels, [h, w]; 0 outside the part. The picture's edge is none.
func depths(part []int32, stride, x0, y0, w, h int) []int32 {
	d := make([]int32, w*h)
	for _, i := range part {
		d[(int(i)/stride-y0)*w+int(i)%stride-x0] = int32(w + h)
	}
	at := func(x, y int) int32 {
		if x < 0 || y < 0 || x >= w || y >= h {
			return 0
		}
		return d[y*w+x]
	}
	for y := range h {
		for x := range w {
			if i := y*w + x; d[i] > 0 {
				d[i] = min(d[i], 1+min(at(x-1, y), at(x, y-1), at(x-1, y-1), at(x+1, y-1)))
			}
		}
	}
	for y := h - 1; y >= 0; y-- {
		for x := w - 1; x >= 0; x-- {
			if i := y*w + x; d[i] > 0 {
				d[i] = min(d[i], 1+min(at(x+1, y), at(x, y+1), at(x+1, y+1), at(x-1, y+1)))
			}
		}
	}
	return d
}

// edges returns the bands along the picture's edges that have no colour and one
// darkness: what lies beyond the slide.
func (f *field) edges() []int32 {
	var all []int32
	seen := make([]bool, f.w*f.h)
	for _, side := range []struct{ n, from, step int }{
		{f.w, 0, 1}, {f.w, (f.h - 1) * f.w, 1}, {f.h, 0, f.w}, {f.h, f.w - 1, f.w},
	} {
		var at []int
		var darks []float32
		for k := range side.n {
			if i := side.from + k*side.step; f.neutral(i) {
				at, darks = append(at, i), append(darks, f.dark[i])
			}
		}
		if len(at)*inkSide < side.n {
			continue
		}
		slices.Sort(darks)
		typical := darks[len(darks)/2]
		alike := func(i int) bool { return f.neutral(i) && max(f.dark[i]-typical, typical-f.dark[i]) <= inkEven*typical }
		var band []int32
		for _, i := range at {
			if alike(i) {
				band = append(band, int32(i))
			}
		}
		if 5*len(band) < 4*len(at) { // tissue, cut off by the edge
			continue
		}
		for k := 0; k < len(band); k++ {
			x, y := int(band[k])%f.w, int(band[k])/f.w
			for _, n := range [4][2]int{{x - 1, y}, {x + 1, y}, {x, y - 1}, {x, y + 1}} {
				if n[0] < 0 || n[1] < 0 || n[0] >= f.w || n[1] >= f.h {
					continue
				}
				if i := n[1]*f.w + n[0]; !seen[i] && alike(i) {
					seen[i] = true
					band = append(band, int32(i))
				}
			}
		}
		all = append(all, band...)
	}
	return all
}

// isStraight reports whether most pixels of a slim part lie on runs along rows
// or columns that are long beside its thickness, or all near one line.
func isStraight(part []int32, stride, x0, y0, w, h, thick int) bool {
	in := make([]bool, w*h)
	n, mx, my := float64(len(part)), 0.0, 0.0
	for _, i := range part {
		x, y := int(i)%stride-x0, int(i)/stride-y0
		in[y*w+x] = true
		mx, my = mx+float64(x)/n, my+float64(y)/n
	}
	long := make([]bool, w*h)
	runs := func(lines, length int, at func(line, k int) int) {
		for l := range lines {
			for from, k := 0, 0; k <= length; k++ {
				if k < length && in[at(l, k)] {
					continue
				}
				if k-from >= (inkSlim-2)*thick && 3*(k-from) >= length {
					for j := from; j < k; j++ {
						long[at(l, j)] = true
					}
				}
				from = k + 1
			}
		}
	}
	runs(h, w, func(l, k int) int { return l*w + k })
	runs(w, h, func(l, k int) int { return k*w + l })
	on := 0
	var xx, xy, yy float64
	for _, i := range part {
		x, y := int(i)%stride-x0, int(i)/stride-y0
		if long[y*w+x] {
			on++
		}
		dx, dy := float64(x)-mx, float64(y)-my
		xx, xy, yy = xx+dx*dx/n, xy+dx*dy/n, yy+dy*dy/n
	}
	minor := (xx+yy)/2 - math.Sqrt((xx-yy)*(xx-yy)/4+xy*xy) // variance across the main axis
	return float64(on) >= inkStraight*n || math.Sqrt(12*max(minor, 0)) <= 1.5*float64(thick)
}
