package jpegtile

// ColorOf returns what the markers of a JPEG stream with three components say
// of its colours, as libjpeg reads them: a JFIF marker means YCbCr, else the
// transform of an Adobe marker counts. Auto: there is neither, or the stream
// breaks before its first scan.
//
// Source: jdapimin.c, default_decompress_parms (libjpeg).
func ColorOf(b []byte) Color {
	adobe := -1
	for p := 2; ; {
		m, seg, next, err := segment(b, p)
		if err != nil {
			break
		}
		if m == mSOS || m == mEOI {
			break
		}
		switch {
		case m == 0xe0 && len(seg) >= 14 && string(seg[:5]) == "JFIF\x00":
			return YCbCr
		case m == mAPP14 && len(seg) >= 12 && string(seg[:5]) == "Adobe":
			adobe = int(seg[11])
		}
		p = next
	}
	switch adobe {
	case 0:
		return RGB
	case 1:
		return YCbCr
	}
	return Auto
}
