package instance_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/instance"
)

func TestSettingsFrom(t *testing.T) {
	want := instance.Settings{ForegroundThreshold: 0.4, MinSize: 25, RunningStats: true, AsIs: true, DistanceSmoothing: -1}
	m, err := want.Entries()
	require.NoError(t, err)
	got, err := instance.SettingsFrom(m, [16]byte{1})
	require.NoError(t, err)
	assert.Equal(t, want, got)
	got, err = instance.SettingsFrom(nil, [16]byte{1})
	require.NoError(t, err)
	assert.Equal(t, instance.SettingsOf([16]byte{1}), got)
	for text, msg := range map[string]string{
		`{`: "unexpected EOF", `{"Threshold":1}`: "unknown field", `{"MinSize":-1}`: "least size of -1",
		`{"DistanceSmoothing":1e9}`: "sigma of 1e+09", `{"CentreThreshold":7}`: "a threshold of 7",
	} {
		_, err := instance.SettingsFrom(map[string]string{"slidesam.instances": text}, [16]byte{})
		assert.ErrorContains(t, err, msg)
		assert.ErrorContains(t, err, "metadata slidesam.instances")
	}
}

// FuzzSettingsFrom: whatever a file says, objects can be looked for by it.
func FuzzSettingsFrom(f *testing.F) {
	for _, text := range []string{`{}`, `{"MinSize":25,"AsIs":true}`, `{"ForegroundSmoothing":1e300}`, "null"} {
		f.Add(text)
	}
	maps := instance.Maps{H: 1, W: 2, Foreground: make([]float32, 2), Centre: make([]float32, 2), Boundary: make([]float32, 2)}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := instance.SettingsFrom(map[string]string{"slidesam.instances": text}, [16]byte{})
		if err == nil {
			_, err = instance.Segment(t.Context(), maps, s.Options())
			assert.NoError(t, err)
		}
	})
}
