package cli

import "strings"

// Line is a command as a shell takes it: what is more than plain letters is
// quoted.
func Line(name string, args ...string) string {
	out := []string{name}
	for _, a := range args {
		plain := a != ""
		for _, r := range a {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@_-+=:,./", r) {
				plain = false
			}
		}
		if !plain {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out = append(out, a)
	}
	return strings.Join(out, " ")
}
