package main

import "image"

// window is a part of a picture that is embedded on its own, and the objects
// that are asked for there.
type window struct {
	image.Rectangle
	obj []*object
}

// windows covers b with squares of so many pixels a side that overlap by a
// quarter and more, or with b itself if side is 0 or b is not larger. Each
// object goes to the square that leaves most room around its box; where a
// square ends with the picture, room does not end.
func windows(b image.Rectangle, side int, obj []*object) []window {
	if side <= 0 {
		side = max(b.Dx(), b.Dy())
	}
	var out []window
	for _, y := range starts(b.Dy(), side) {
		for _, x := range starts(b.Dx(), side) {
			r := image.Rect(x, y, x+side, y+side).Add(b.Min).Intersect(b)
			out = append(out, window{Rectangle: r})
		}
	}
	for _, o := range obj {
		best, most := 0, -1<<62
		for i, w := range out {
			if k := room(o.box.Add(b.Min), w.Rectangle, b); k > most {
				best, most = i, k
			}
		}
		out[best].obj = append(out[best].obj, o)
	}
	return out
}

// starts returns where squares of so many pixels begin on a line of n.
func starts(n, side int) []int {
	if side >= n {
		return []int{0}
	}
	steps := (4*(n-side) + 3*side - 1) / (3 * side) // of at most three quarters of a square
	out := make([]int, steps+1)
	for i := range out {
		out[i] = i * (n - side) / steps
	}
	return out
}

// room is the least distance of box to a side of w that is not one of b's.
func room(box, w, b image.Rectangle) int {
	least := 1 << 62
	for _, s := range []struct {
		free bool
		d    int
	}{
		{w.Min.X > b.Min.X, box.Min.X - w.Min.X}, {w.Min.Y > b.Min.Y, box.Min.Y - w.Min.Y},
		{w.Max.X < b.Max.X, w.Max.X - box.Max.X}, {w.Max.Y < b.Max.Y, w.Max.Y - box.Max.Y},
	} {
		if s.free {
			least = min(least, s.d)
		}
	}
	return least
}

// part returns the pixels of img in r.
func part(img image.Image, r image.Rectangle) image.Image {
	if r == img.Bounds() {
		return img
	}
	return img.(interface {
		SubImage(r image.Rectangle) image.Image
	}).SubImage(r) // all that the image package decodes have it
}
