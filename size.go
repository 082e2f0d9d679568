package sam

import "fmt"

// Size is a picture's height and width in pixels.
type Size struct{ H, W int }

// String writes the size as people do, width first.
func (s Size) String() string { return fmt.Sprintf("%d x %d", s.W, s.H) }
