package benchmark

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// peakMB is the largest resident memory of the process so far, in 10^6
// bytes, 0 where the system does not say.
func peakMB() float64 {
	var kib float64
	eachLine("/proc/self/status", func(line string) bool {
		n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kib)
		return n != 1
	})
	return kib * 1024 / 1e6
}

// cpuName is the processor's name, empty where the system does not say.
func cpuName() string {
	name := ""
	eachLine("/proc/cpuinfo", func(line string) bool {
		key, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(key) != "model name" {
			return true
		}
		name = strings.TrimSpace(value)
		return false
	})
	return name
}

// eachLine gives f the lines of a file until f returns false.
func eachLine(path string, f func(line string) bool) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if !f(s.Text()) {
			return
		}
	}
}
