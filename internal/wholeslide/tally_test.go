package wholeslide_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/slidesam/sam/internal/wholeslide"
)

// TestHints: a run that found little says what to do. Issue 25.
func TestHints(t *testing.T) {
	for _, tt := range []struct {
		name    string
		tally   wholeslide.Tally
		objects int
		want    string // empty: no hint
	}{
		{"nothing prompted", wholeslide.Tally{}, 0, "nothing was prompted or found"},
		{"found without prompts", wholeslide.Tally{Masks: 9, Seen: 9}, 9, ""},
		{"all is well", wholeslide.Tally{Prompts: 10, Masks: 10, LowIoU: 4, Seen: 6}, 5, ""},
		{"most by one reason", wholeslide.Tally{Prompts: 10, Masks: 10, LowIoU: 6, Seen: 4}, 4, "lower the least predicted IoU (-iou)"},
		{"by another", wholeslide.Tally{Prompts: 10, Masks: 10, Size: 6, Seen: 4}, 4, "check the resolution"},
		{"sure of none", wholeslide.Tally{Prompts: 20, Masks: 20, LowIoU: 19, LowStability: 1}, 0, "sure of none of 20 masks: look at the slide"},
		{"none, for two reasons", wholeslide.Tally{Prompts: 20, Masks: 20, LowIoU: 10, LowStability: 10}, 0, ""},
		{"a finder that answered nothing", wholeslide.Tally{Prompts: 5}, 0, ""},
		{"larger than tiles", wholeslide.Tally{Prompts: 9, Masks: 9, Seen: 9, Severed: 5}, 4, "let tiles overlap more (-halo)"},
		{"some larger", wholeslide.Tally{Prompts: 9, Masks: 9, Seen: 9, Severed: 3}, 6, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.tally.Hint(tt.objects)
			if tt.want == "" {
				assert.Empty(t, got)
			}
			assert.Contains(t, got, tt.want)
		})
	}
	assert.Equal(t, "9 prompts gave 9 masks, 3 dropped because they end at a tile's side where its neighbour saw nothing of them, 1 joined along seams or dropped for a better one, 5 objects stayed",
		wholeslide.Tally{Prompts: 9, Masks: 9, Seen: 9, Severed: 3}.Describe(5))
	assert.Equal(t, "9 masks were found without prompts, 4 dropped by size, 5 objects stayed", wholeslide.Tally{Masks: 9, Size: 4, Seen: 5}.Describe(5))
}
