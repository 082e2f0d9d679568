package wsi

import (
	"encoding/binary"
	"encoding/xml"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// plainText returns text that a scanner wrote as UTF-8. What is not valid UTF-8
// is UTF-16 if it has a byte order mark or every second byte is zero, else
// Latin-1, whatever it declares: declarations are wrong as often as right.
func plainText(s string) string {
	switch {
	case strings.HasPrefix(s, "\xef\xbb\xbf"):
		return plainText(s[3:])
	case strings.HasPrefix(s, "\xff\xfe"):
		return fromUTF16(s[2:], binary.LittleEndian)
	case strings.HasPrefix(s, "\xfe\xff"):
		return fromUTF16(s[2:], binary.BigEndian)
	case len(s) >= 4 && s[1] == 0 && s[3] == 0:
		return fromUTF16(s, binary.LittleEndian)
	case len(s) >= 4 && s[0] == 0 && s[2] == 0:
		return fromUTF16(s, binary.BigEndian)
	case utf8.ValidString(s):
		return s
	}
	out := make([]rune, len(s))
	for i := range len(s) {
		out[i] = rune(s[i])
	}
	return string(out)
}

func fromUTF16(s string, o binary.ByteOrder) string {
	if len(s)%2 == 1 { // the closing zero bytes of the field took one along
		s += "\x00"
	}
	units := make([]uint16, len(s)/2)
	for i := range units {
		units[i] = o.Uint16([]byte(s[2*i : 2*i+2]))
	}
	return string(utf16.Decode(units))
}

// newXML returns a decoder of XML that plainText has brought to UTF-8.
func newXML(s string) *xml.Decoder {
	d := xml.NewDecoder(strings.NewReader(plainText(s)))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	return d
}

// decimal parses a positive number, written with a point or a comma, with a
// sign of magnification or micrometres behind it or none; 0 if it is none.
func decimal(s string) float64 {
	s = strings.TrimSpace(s)
	for _, unit := range []string{"x", "X", "µm", "μm", "um"} {
		s = strings.TrimSpace(strings.TrimSuffix(s, unit))
	}
	if strings.Count(s, ",") == 1 && !strings.Contains(s, ".") {
		s = strings.Replace(s, ",", ".", 1)
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0) || v > 1e9 {
		return 0
	}
	return v
}
