//go:build !unix

package regular

// noWait is nothing where files of that kind have no path.
const noWait = 0
