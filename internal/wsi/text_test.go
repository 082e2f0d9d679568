package wsi

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPlainText(t *testing.T) {
	for in, want := range map[string]string{
		"µm": "µm", "\xb5m": "µm", "\xef\xbb\xbf<OME>": "<OME>", "\xff\xfe<\x00\xb5\x00": "<µ", "\xfe\xff\x00<\x00\xb5": "<µ",
		"<\x00O\x00": "<O", "\x00<\x00O": "<O", "": "",
	} {
		assert.Equal(t, want, plainText(in), "%q", in)
	}
}

func TestDecimal(t *testing.T) {
	for in, want := range map[string]float64{"0.25": 0.25, " 0,25 ": 0.25, "1,234.5": 0, "1,2,3": 0, "-1": 0, "x": 0, "": 0, "NaN": 0, "1e300": 0} {
		assert.Equal(t, want, decimal(in), "%q", in)
	}
}

func TestAperioProperties(t *testing.T) {
	p := aperioProperties("Aperio Image Library\r\n1x1|AppMag=40|MPP = 0,5|Title = a=b")
	assert.Equal(t, []string{"40", "0,5", "a=b"}, []string{p["AppMag"], p["MPP"], p["Title"]})
}

func TestParseImageJ(t *testing.T) {
	j, ok := parseImageJ("ImageJ=1.53\nimages=3\nchannels=3\nmode=composite\nunit=\\u00B5m\n")
	assert.True(t, ok)
	assert.Equal(t, imageJ{channels: 3, slices: 1, frames: 1, composite: true, unit: `\u00b5m`}, j)
	assert.Equal(t, 1.0, imageJUnits[j.unit])
	_, ok = parseImageJ("Aperio")
	assert.False(t, ok)
}
