package wholeslide

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/mask"
)

// TestObjectIDsOfEqualPixels: objects of the same pixels have names of their
// own as long as another may come; then they are forgotten.
func TestObjectIDsOfEqualPixels(t *testing.T) {
	m, err := mask.New(mask.Size{H: 9, W: 9}, func(x, y int) bool { return x > 3 && y > 4 })
	require.NoError(t, err)
	p := &scalePlan{run: "run"}
	o := newObjectIDs(p)
	var got []uuid.UUID
	for range 3 {
		id, err := o.of(m)
		require.NoError(t, err)
		assert.NotContains(t, got, id)
		got = append(got, id)
	}
	o.settle(5)
	assert.Len(t, o.seen, 1, "it begins in row 5")
	o.settle(6)
	assert.Empty(t, o.seen)
	id, err := newObjectIDs(p).of(m)
	require.NoError(t, err)
	assert.Equal(t, got[0], id)
	p.index = 1
	id, err = newObjectIDs(p).of(m)
	require.NoError(t, err)
	assert.NotContains(t, got, id, "another scale")
	// Held so that the names of users' objects stay: they depend on the run, the
	// scale and the pixels alone.
	assert.Equal(t, "e18a56d8-c380-5a43-ab34-297c672da8fe", got[0].String())
}
