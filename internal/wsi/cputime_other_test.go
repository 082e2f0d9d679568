//go:build !unix

package wsi_test

import "time"

// processTime is not known.
func processTime() time.Duration { return 0 }
