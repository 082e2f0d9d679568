package defaults_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/defaults"
	"github.com/slidesam/sam/weights"
)

var specs = []weights.Spec{{Name: "a", Shape: []int{2, 3}}, {Name: "b", Shape: []int{4}}}

func TestEntries(t *testing.T) {
	want := defaults.Values{MPP: 0.25, PredIoUThresh: -1, StabilityScoreThresh: 0.4}
	m, err := defaults.Entries(want, specs)
	require.NoError(t, err)
	v, ok, err := defaults.Of(m, []weights.Spec{specs[1], specs[0]})
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, want, v)
	_, ok, err = defaults.Of(nil, specs)
	require.NoError(t, err)
	assert.False(t, ok)
	for _, other := range [][]weights.Spec{specs[:1], {specs[0], {Name: "b", Shape: []int{5}}}, {specs[0], {Name: "c", Shape: []int{4}}}} {
		_, _, err = defaults.Of(m, other)
		assert.ErrorContains(t, err, "are for another architecture")
	}
}

// FuzzOf: whatever a file says, the values are ones that mean something.
func FuzzOf(f *testing.F) {
	m, err := defaults.Entries(defaults.Values{MPP: 0.25}, specs)
	require.NoError(f, err)
	for _, text := range []string{m["slidesam.defaults"], "{", "null", `{"Architecture":1}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, ok, err := defaults.Of(map[string]string{"slidesam.defaults": text}, specs)
		if err == nil {
			assert.True(t, ok)
			assert.True(t, v.MPP >= 0 && v.MPP <= 1000 && v.PredIoUThresh <= 1.5 && v.StabilityScoreThresh <= 1, "%+v", v)
		}
	})
}
