package kernel

// copyRows copies n rows of w elements that lie lds and ldd apart. Rows of the
// lengths that tiles and panels have cost a few instructions each: 16 bytes at
// a time need no call.
func copyRows(dst []float32, ldd int, src []float32, lds, n, w int) {
	type four = [4]float32
	switch {
	case n <= 0:
	case w == 6:
		for i := range n {
			d, s := (*[6]float32)(dst[i*ldd:]), (*[6]float32)(src[i*lds:])
			*(*four)(d[:4]) = *(*four)(s[:4])
			d[4], d[5] = s[4], s[5]
		}
	case w == 16:
		for i := range n {
			d, s := (*[16]float32)(dst[i*ldd:]), (*[16]float32)(src[i*lds:])
			*(*four)(d[:4]) = *(*four)(s[:4])
			*(*four)(d[4:8]) = *(*four)(s[4:8])
			*(*four)(d[8:12]) = *(*four)(s[8:12])
			*(*four)(d[12:]) = *(*four)(s[12:])
		}
	case w%4 == 0 && w <= 32:
		for i := range n {
			d, s := dst[i*ldd:][:w], src[i*lds:][:w]
			for len(d) >= 4 && len(s) >= 4 {
				*(*four)(d) = *(*four)(s)
				d, s = d[4:], s[4:]
			}
		}
	default:
		for i := range n {
			copy(dst[i*ldd:][:w], src[i*lds:])
		}
	}
}

// cutRows cuts k rows of n elements, ld apart, into pieces of w, which divides
// n: dst is [n/w, k, w]. It reads the rows in order.
func cutRows(dst, src []float32, ld, k, n, w int) {
	type four = [4]float32
	for p := range k {
		if n == 0 {
			return
		}
		row := src[p*ld:][:n]
		switch {
		case w == 6:
			for at := p * 6; len(row) >= 6; at += k * 6 {
				d, s := (*[6]float32)(dst[at:]), (*[6]float32)(row)
				*(*four)(d[:4]) = *(*four)(s[:4])
				d[4], d[5] = s[4], s[5]
				row = row[6:]
			}
		case w == 16:
			for at := p * 16; len(row) >= 16; at += k * 16 {
				d, s := (*[16]float32)(dst[at:]), (*[16]float32)(row)
				*(*four)(d[:4]) = *(*four)(s[:4])
				*(*four)(d[4:8]) = *(*four)(s[4:8])
				*(*four)(d[8:12]) = *(*four)(s[8:12])
				*(*four)(d[12:]) = *(*four)(s[12:])
				row = row[16:]
			}
		default:
			for at := p * w; len(row) >= w; at += k * w {
				copy(dst[at:][:w], row)
				row = row[w:]
			}
		}
	}
}
