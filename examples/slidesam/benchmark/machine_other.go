//go:build !linux

package benchmark

func peakMB() float64 { return 0 }

func cpuName() string { return "" }
