package jpegtile

// The constants of the inverse DCT, 13 bits of fraction.
const (
	fix0298 = 2446
	fix0390 = 3196
	fix0541 = 4433
	fix0765 = 6270
	fix0899 = 7373
	fix1175 = 9633
	fix1501 = 12299
	fix1847 = 15137
	fix1961 = 16069
	fix2053 = 16819
	fix2562 = 20995
	fix3072 = 25172
)

// clampTable[i] is i-384 held to 0..255.
var clampTable [1024]byte

func init() {
	for i := range clampTable {
		clampTable[i] = byte(min(max(i-384, 0), 255))
	}
}

// clamp8 returns v+128 held to 0..255.
func clamp8(v int32) byte {
	if i := uint32(v + 512); i < 1024 {
		return clampTable[i]
	}
	if v < 0 {
		return 0
	}
	return 255
}

// idct writes the inverse DCT of blk (rows of eight) to eight rows of dst.
// last is the zigzag index of its last coefficient.
//
// The arithmetic is that of jidctint.c, so that the result is libjpeg's bit
// for bit: columns first with 2 extra bits, then rows.
func idct(dst []byte, stride int, blk *[64]int32, last int) {
	if last == 0 {
		v := clamp8((blk[0]*4 + 16) >> 5)
		for y := range 8 {
			row := dst[y*stride:][:8:8]
			for x := range row {
				row[x] = v
			}
		}
		return
	}
	for x := range 8 {
		b := blk[x:]
		_ = b[56]
		if b[8]|b[16]|b[24]|b[32]|b[40]|b[48]|b[56] == 0 {
			v := b[0] << 2
			b[0], b[8], b[16], b[24], b[32], b[40], b[48], b[56] = v, v, v, v, v, v, v, v
			continue
		}
		z1 := (b[16] + b[48]) * fix0541
		t2, t3 := z1-b[48]*fix1847, z1+b[16]*fix0765
		t0, t1 := (b[0]+b[32])<<13, (b[0]-b[32])<<13
		e0, e3, e1, e2 := t0+t3, t0-t3, t1+t2, t1-t2
		t0, t1, t2, t3 = b[56], b[40], b[24], b[8]
		z1 = -(t0 + t3) * fix0899
		z2 := -(t1 + t2) * fix2562
		z3, z4 := t0+t2, t1+t3
		z5 := (z3 + z4) * fix1175
		z3, z4 = z5-z3*fix1961, z5-z4*fix0390
		t0, t1, t2, t3 = t0*fix0298+z1+z3, t1*fix2053+z2+z4, t2*fix3072+z2+z3, t3*fix1501+z1+z4
		const half = 1 << 10
		b[0], b[56] = (e0+t3+half)>>11, (e0-t3+half)>>11
		b[8], b[48] = (e1+t2+half)>>11, (e1-t2+half)>>11
		b[16], b[40] = (e2+t1+half)>>11, (e2-t1+half)>>11
		b[24], b[32] = (e3+t0+half)>>11, (e3-t0+half)>>11
	}
	for y := range 8 {
		b := blk[8*y : 8*y+8 : 8*y+8]
		row := dst[y*stride:][:8:8]
		z1 := (b[2] + b[6]) * fix0541
		t2, t3 := z1-b[6]*fix1847, z1+b[2]*fix0765
		t0, t1 := (b[0]+b[4])<<13, (b[0]-b[4])<<13
		e0, e3, e1, e2 := t0+t3, t0-t3, t1+t2, t1-t2
		t0, t1, t2, t3 = b[7], b[5], b[3], b[1]
		z1 = -(t0 + t3) * fix0899
		z2 := -(t1 + t2) * fix2562
		z3, z4 := t0+t2, t1+t3
		z5 := (z3 + z4) * fix1175
		z3, z4 = z5-z3*fix1961, z5-z4*fix0390
		t0, t1, t2, t3 = t0*fix0298+z1+z3, t1*fix2053+z2+z4, t2*fix3072+z2+z3, t3*fix1501+z1+z4
		const half = 1 << 17
		row[0], row[7] = clamp8((e0+t3+half)>>18), clamp8((e0-t3+half)>>18)
		row[1], row[6] = clamp8((e1+t2+half)>>18), clamp8((e1-t2+half)>>18)
		row[2], row[5] = clamp8((e2+t1+half)>>18), clamp8((e2-t1+half)>>18)
		row[3], row[4] = clamp8((e3+t0+half)>>18), clamp8((e3-t0+half)>>18)
	}
}
