package tiff

// rgba turns samples [h, w, spp] into RGBA. Samples of 16 bits are scaled to
// 8 with rounding, as libtiff does: (v + 128) / 257.
func (im *Image) rgba(raw []byte, w, h int) []byte {
	n := w * h
	if im.bits == 16 {
		raw = im.to8(raw)
	}
	out := make([]byte, 4*n)
	switch im.photo {
	case photoWhiteIsZero, photoBlackIsZero, photoPalette:
		im.gray(out, raw, n)
	default:
		spp := im.spp
		if spp == 3 {
			for i := range n {
				d, s := out[4*i:4*i+4:4*i+4], raw[3*i:3*i+3:3*i+3]
				d[0], d[1], d[2], d[3] = s[0], s[1], s[2], 255
			}
			break
		}
		for i := range n {
			d, s := out[4*i:4*i+4:4*i+4], raw[spp*i:]
			d[0], d[1], d[2], d[3] = s[0], s[1], s[2], 255
		}
	}
	im.applyAlpha(out, raw, n)
	return out
}

func (im *Image) gray(out, raw []byte, n int) {
	for i := range n {
		v := raw[im.spp*i]
		d := out[4*i : 4*i+4 : 4*i+4]
		d[3] = 255
		switch im.photo {
		case photoPalette:
			copy(d, im.palette[3*int(v):3*int(v)+3])
		case photoWhiteIsZero:
			d[0], d[1], d[2] = 255-v, 255-v, 255-v
		default:
			d[0], d[1], d[2] = v, v, v
		}
	}
}

// applyAlpha stores the alpha sample and premultiplies where the file has
// not: (c*a + 127) / 255, libtiff's rule.
func (im *Image) applyAlpha(out, raw []byte, n int) {
	if im.alpha < 0 {
		return
	}
	for i := range n {
		a := int(raw[im.spp*i+im.alpha])
		d := out[4*i : 4*i+4 : 4*i+4]
		d[3] = byte(a)
		if im.premul {
			continue
		}
		for c := range 3 {
			d[c] = byte((int(d[c])*a + 127) / 255)
		}
	}
}

func (im *Image) to8(raw []byte) []byte {
	out := make([]byte, len(raw)/2)
	for i := range out {
		out[i] = byte((int(im.f.order.Uint16(raw[2*i:])) + 128) / 257)
	}
	return out
}
