//go:build !linux

package wsi_test

import "testing"

func apart(t *testing.T, _ string) (said string, mib int) {
	t.Skip("memory is measured on Linux")
	return "", 0
}
