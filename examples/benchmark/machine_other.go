//go:build !linux

package main

func peakMB() float64 { return 0 }

func cpuName() string { return "" }
